"""A cell that does nothing, on a kernel that lives: what our road adds, on loopback and at a round trip of 50 ms."""

from __future__ import annotations

from ._bed import Bed, Echo, Failed
from ._table import Row, Sample, against, in_turn, span

_DELAY = 25.0  # milliseconds each way


def loopback(bed: Bed) -> list[Row]:
    contenders = {"plain": bed.plain(), "local": bed.ours("local"), "ssh": bed.ours("ssh")}
    notes = {}
    for name, make in (("sshpyk", bed.sshpyk), ("ipyparallel", lambda: bed.ipyparallel()[0])):
        try:
            contenders[name] = make()
        except Failed as error:
            notes[name] = str(error)
    took = in_turn({name: one.seconds for name, one in contenders.items()}, 3 if bed.quick else 150)
    bed.close()
    peer = f"local ipykernel {took['plain']}"
    others = "; ".join(
        f"{bed.peers.version(n)} {took[n]}" if n in took else notes[n] for n in ("sshpyk", "ipyparallel")
    )
    rows = []
    for target, peers in (("local", peer), ("ssh", f"{peer}; {others}")):
        ratio = against(took[target], took["plain"])
        rows.append(
            Row(
                figure=f"warm no-op cell, target `{target}`, loopback", goal="≤ 1.3 × local ipykernel",
                ours=str(took[target]), peer=peers, ratio=f"{ratio:.2f}", met=ratio <= 1.3,
            )
        )  # fmt: skip
    return rows


def far(bed: Bed) -> list[Row]:
    echo = Echo(bed, _DELAY)
    contenders = {
        "echo": echo.seconds,
        "plain": bed.plain().seconds,
        "ours": bed.ours("ssh", bed.proxy(_DELAY)).seconds,
    }
    why = ""
    try:
        contenders["sshpyk"] = bed.sshpyk(bed.proxy(_DELAY)).seconds
    except Failed as error:
        why = str(error)
    took = in_turn(contenders, 3 if bed.quick else 100)
    echo.close()
    bed.close()

    def over(sample: Sample) -> str:
        return f"{sample} = RTT + {span(sample.median - took['echo'].median)}"

    peer = f"{bed.peers.version('sshpyk')} {over(took['sshpyk'])}" if "sshpyk" in took else why
    return [
        Row(
            figure=f"warm no-op cell, `ssh`, round trip {span(took['echo'].median)}",
            goal="≤ RTT + 8 ms",
            ours=over(took["ours"]),
            peer=f"{peer}; a local ipykernel takes {took['plain']}",
            ratio=f"{against(took['ours'], took['sshpyk']):.2f}" if "sshpyk" in took else "",
            met=took["ours"].median - took["echo"].median <= 0.008,
        )
    ]
