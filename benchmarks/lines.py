"""Very many printed lines: how long until all are there, and what memory each process took at its peak."""

from __future__ import annotations

import hashlib
from pathlib import Path

import psutil

from ._bed import Bed, Contender, Failed
from ._table import Row, against, in_turn


def lines(bed: Bed) -> list[Row]:
    count = 2_000 if bed.quick else 100_000
    code = f"for i in range({count}):\n    print('line', i)"
    wanted = hashlib.sha256("".join(f"line {i}\n" for i in range(count)).encode()).hexdigest()
    contenders = {"plain": bed.plain(), "local": bed.ours("local"), "ssh": bed.ours("ssh")}

    def measure(contender: Contender) -> float:
        answer = contender.cell(code)
        if answer["sha256"] != wanted:
            raise Failed(f"{contender.name} did not show every line once and in order")
        return float(answer["seconds"])

    took = in_turn(
        {name: (lambda one=one: measure(one)) for name, one in contenders.items()},  # type: ignore[misc]
        1 if bed.quick else 7, warm_up=0 if bed.quick else 1,
    )  # fmt: skip
    families = {name: bed.family(contenders[name]) for name in ("local", "ssh")}
    plain = psutil.Process(contenders["plain"].pid)
    memory = {
        name: ", ".join(f"{who} {_peak(one)}" for who, one in family.items()) for name, family in families.items()
    }
    memory["plain"] = ", ".join(
        f"{who} {_peak(one)}" for who, one in (("client", plain), ("kernel", plain.children()[0]))
    )
    bed.close()
    rows = []
    for target in ("local", "ssh"):
        ratio = against(took[target], took["plain"])
        rows.append(
            Row(
                figure=f"{count:,} printed lines, `{target}`; peak memory",
                goal="≤ 1.2 × local ipykernel; memory bounded",
                ours=f"{took[target]}; {memory[target]}", peer=f"local ipykernel {took['plain']}; {memory['plain']}",
                ratio=f"{ratio:.2f}", met=ratio <= 1.2,
            )
        )  # fmt: skip
    return rows


def _peak(process: psutil.Process) -> str:
    """The largest resident memory so far; without /proc what it is now."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return f"{process.memory_info().rss >> 20} MiB now"
    kilobytes = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return f"{kilobytes >> 10} MiB"
