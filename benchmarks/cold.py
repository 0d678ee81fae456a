"""The first cell on a host that has python3, sshd and ipykernel, and nothing of ours: from nothing to its reply."""

from __future__ import annotations

import time

from ._bed import Bed, Failed
from ._table import Row, Sample, in_turn


def cold(bed: Bed) -> list[Row]:
    def ours() -> float:
        """In a process that has imported lepton_jupyter, as a notebook has; paramiko's import is in the time."""
        contender = bed.ours("ssh", start=False)
        seconds = contender.ask("start", folder=contender.folder, target="ssh")["seconds"]
        bed.close(contender)
        return float(seconds)

    def kernel() -> float:
        contender = bed.plain(start=False)
        seconds = contender.ask("start")["seconds"]
        bed.close(contender)
        return float(seconds)

    def ssh() -> float:
        began = time.perf_counter()
        done = bed.sshd.ssh("true")
        if done.returncode:
            raise Failed(f"ssh host true: {done.stderr.strip()}")
        return time.perf_counter() - began

    took = in_turn({"ours": ours, "ssh": ssh, "kernel": kernel}, 1 if bed.quick else 9, warm_up=0 if bed.quick else 1)
    both = Sample(values=tuple(a + b for a, b in zip(took["ssh"].values, took["kernel"].values, strict=True)))
    ratio = took["ours"].median / both.median
    return [
        Row(
            figure="cold cell: new connection, agent sent, kernel started, first reply (`ssh`, loopback)",
            goal="≤ 1.5 × (`ssh host true` + start of a local ipykernel)",
            ours=str(took["ours"]),
            peer=f"{both} = {took['ssh']} + {took['kernel']}",
            ratio=f"{ratio:.2f}",
            met=ratio <= 1.5,
        )
    ]
