"""A link that breaks in the middle of a cell: which of its outputs are there in the end, and how often."""

from __future__ import annotations

import collections
import re
import time
from collections.abc import Callable

from tests.fakes.proxy import Proxy

from ._bed import Bed, Contender, Failed
from ._table import Row


def cuts(bed: Bed) -> list[Row]:
    count, cut = (30, 1.0) if bed.quick else (120, 4.0)
    code = (
        "import time\nfrom IPython.display import display\nshown = display('step -', display_id=True)\n"
        f"for i in range({count}):\n"
        "    print('line', i, flush=True)\n    shown.update(f'step {i}')\n    time.sleep(0.1)\n"
    )

    def ours() -> tuple[Contender, list[Proxy]]:
        proxy = bed.proxy()
        return bed.ours("ssh", proxy), [proxy]

    def sshpyk() -> tuple[Contender, list[Proxy]]:
        proxy = bed.proxy()
        return bed.sshpyk(proxy, watch=1.0), [proxy]

    makers: dict[str, Callable[[], tuple[Contender, list[Proxy]]]] = {
        "ours": ours,
        "sshpyk": sshpyk,
        "ipyparallel": bed.ipyparallel,
    }
    patience = 5 if bed.quick else 30  # seconds that a cell may last longer than it should
    said, lost = {}, {}
    for name, make in makers.items():
        try:
            contender, proxies = make()
            said[name], lost[name] = _one(contender, proxies, code, count, cut, patience)
        except Failed as error:
            said[name] = str(error)
        bed.close()
    theirs = "; ".join(
        said[name] if name not in lost else f"{bed.peers.version(name)}: {said[name]}"
        for name in ("sshpyk", "ipyparallel")
    )
    return [
        Row(
            figure=f"link cut for {cut:.0f} s within {count // 10} s of {count} printed lines and display updates",
            goal="0 lost, 0 twice, last state exact", ours=said["ours"], peer=theirs, met=lost.get("ours") == 0,
        )
    ]  # fmt: skip


def _one(
    contender: Contender, proxies: list[Proxy], code: str, count: int, cut: float, patience: float
) -> tuple[str, int]:
    """What became of the outputs, in words, and how many of them are wrong."""
    contender.post_cell(code, timeout=count / 10 + cut + patience)
    time.sleep(count / 30)
    for proxy in proxies:
        proxy.refuse()
        proxy.cut()
    time.sleep(cut)
    for proxy in proxies:
        proxy.accept()
    answer = contender.result(count / 10 + cut + patience + 30)
    seen = collections.Counter(int(number) for number in re.findall(r"line (\d+)\n", answer["text"]))
    lost = sum(seen[number] == 0 for number in range(count))
    twice = sum(times > 1 for times in seen.values())
    last = answer["displays"][-1] if answer["displays"] else "nothing"
    right = last == repr(f"step {count - 1}")
    words = f"{lost} of {count} lines lost, {twice} twice; display shows {'its last state' if right else last}"
    return words + ("" if answer["ended"] else "; the cell never ended"), lost + twice + (not right)
