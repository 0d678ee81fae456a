"""500 MB through cuts, up and down: how many bytes travel twice."""

from __future__ import annotations

import time

from ._bed import Bed
from ._table import Row, span
from .transfer import noise

_SIZE, _QUICK = 500, 4  # MB
_CUTS = 3


def cut(bed: Bed) -> list[Row]:
    size = (_QUICK if bed.quick else _SIZE) * 1_000_000
    path = noise(bed.new_folder() / "data", size)
    proxy = bed.proxy()
    ours = bed.ours("ssh", proxy, script="carry")
    rows = []
    for way in ("up", "down"):
        before = proxy.figures
        ours.post(way, path=str(path))
        for number in range(1, _CUTS + 1):
            while getattr(proxy.figures, way) - getattr(before, way) < number * size // (_CUTS + 1):
                time.sleep(0.002)
            proxy.cut()
        answer = ours.result(600)
        twice = getattr(proxy.figures, way) - getattr(before, way) - size
        words = f"{span(answer['took'])}, {twice / 1e6:.1f} MB more than the data, ciphers and frames included"
        rows.append(
            Row(
                figure=f"{size // 1_000_000} MB {way}, the link cut {_CUTS} times", ours=words,
                goal="nothing twice but what was under way", peer="scp begins anew at each cut",
                met=twice < 0.01 * size + _CUTS * (16 << 20),
            )
        )  # fmt: skip
    bed.close()
    return rows
