"""After a cut: how long from the moment the link is back until the first output that was missed is shown."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.fakes.proxy import Proxy

from ._bed import Bed, Contender, Failed
from ._table import Row, span

_DELAY = 25.0  # milliseconds each way
_RTT = 2 * _DELAY / 1000


def reconnect(bed: Bed) -> list[Row]:
    lengths = (1.0,) if bed.quick else (1.0, 4.0, 10.0)
    kinds = [(f"reset, refused for {s:.0f} s", lambda p, s=s: p.cut_for(s), s) for s in lengths]
    kinds += [(f"black hole of {s:.0f} s", lambda p, s=s: p.stall_for(s), s) for s in lengths]
    makers: dict[str, Callable[[Proxy], Contender]] = {
        "ours": lambda proxy: bed.ours("ssh", proxy),
        "sshpyk": lambda proxy: bed.sshpyk(proxy, watch=1.0),
    }
    rounds = 1 if bed.quick else 3
    took: dict[tuple[str, str], list[float]] = {}
    why = {}
    for name, make in makers.items():
        try:
            proxy = bed.proxy(_DELAY)
            contender = make(proxy)
            for _ in range(rounds):
                for kind, harm, seconds in kinds:
                    took.setdefault((name, kind), []).append(_one(contender, proxy, harm, seconds))
        except Failed as error:
            why[name] = str(error)
        bed.close()
    rows = []
    for kind, _, _ in kinds:
        ours, theirs = took.get(("ours", kind)), took.get(("sshpyk", kind))
        peer = f"{bed.peers.version('sshpyk')}: {_words(theirs)}" if theirs else why.get("sshpyk", "not measured")
        rows.append(
            Row(
                figure=f"{kind}: from the link's return to the next output shown, round trip {_RTT * 1e3:.0f} ms",
                goal="≤ 1 s + 2 RTT", ours=_words(ours) if ours else why["ours"], peer=peer,
                met=ours is not None and max(ours) <= 1 + 2 * _RTT,
            )
        )  # fmt: skip
    return rows


def _one(contender: Contender, proxy: Proxy, harm: Callable[[Proxy], None], seconds: float) -> float:
    """Seconds from the link's return to the first output after it; infinite when there was none."""
    lasts = seconds + 6
    contender.post_cell(
        f"import time\nfor i in range({int(lasts * 20)}):\n    print('line', i, flush=True)\n    time.sleep(0.05)",
        timeout=lasts + 10,
    )
    time.sleep(1.5)
    harm(proxy)
    healed = time.monotonic()
    answer = contender.result(lasts + 60)
    return min((when - healed for when, _ in answer["arrivals"] if when > healed), default=float("inf"))


def _words(values: list[float]) -> str:
    shown = ["never" if value == float("inf") else span(value) for value in sorted(values)]
    return f"{shown[0]}…{shown[-1]}" if len(shown) > 1 else shown[0]
