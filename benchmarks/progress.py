"""A progress bar that moves 20 times a second: is its last state exact, and what does relaying it cost."""

from __future__ import annotations

import psutil

from ._bed import Bed, Contender
from ._table import Row

_BAR = "{i:6d}/{count} |{bar:<40}|"


def progress(bed: Bed) -> list[Row]:
    seconds = 2 if bed.quick else 60
    count = 20 * seconds
    code = (
        f"import time\nbegan = time.perf_counter()\nfor i in range(1, {count} + 1):\n"
        f"    print('\\r' + {_BAR!r}.format(i=i, count={count}, bar='#' * (40 * i // {count})), end='', flush=True)\n"
        f"    time.sleep(max(0, began + i / 20 - time.perf_counter()))\n"
    )
    last = _BAR.format(i=count, count=count, bar="#" * 40)
    ours = {target: bed.ours(target) for target in ("local", "ssh")}
    plain = bed.plain()
    rows, peer = [], ""
    share, exact = _run(plain, [psutil.Process(plain.pid)], code, last)
    peer = f"client of a local ipykernel {share:.1%}, last state {exact}"
    for target, contender in ours.items():
        relay = [process for who, process in bed.family(contender).items() if who != "kernel"]
        share, exact = _run(contender, relay, code, last)
        rows.append(
            Row(
                figure=f"progress bar, 20 Hz for {seconds} s, `{target}`: CPU of client, attach and agent",
                goal="last state exact, ≤ 2 % of one core", ours=f"{share:.1%}, last state {exact}", peer=peer,
                met=share <= 0.02 and exact == "exact",
            )
        )  # fmt: skip
    bed.close()
    return rows


def _run(contender: Contender, relay: list[psutil.Process], code: str, last: str) -> tuple[float, str]:
    before = sum(_cpu(process) for process in relay)
    answer = contender.cell(code)
    share = (sum(_cpu(process) for process in relay) - before) / answer["seconds"]
    return share, "exact" if answer["text"].split("\r")[-1] == last else "WRONG"


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
