"""Measures every figure beside its peers and prints the table: `python -m benchmarks.run` (`make bench`).

What was measured with peers is kept in benchmarks/figures.json, and the README shows all that is kept.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from . import (
    cold,
    compress_figures,
    cuts,
    imports,
    lines,
    metrics,
    precision,
    progress,
    reconnect,
    resume,
    sidebar,
    sidebar_list,
    sidebar_pixels,
    transfer,
    transfer_cut,
    tune,
    warm,
)
from ._bed import ROOT, Bed, Failed
from ._peers import Peers
from ._table import Row, keep, kept, table, write_readme

FIGURES: dict[str, Callable[[Bed], list[Row]]] = {
    "warm": warm.loopback,
    "far": warm.far,
    "cold": cold.cold,
    "lines": lines.lines,
    "progress": progress.progress,
    "cuts": cuts.cuts,
    "reconnect": reconnect.reconnect,
    "transfer": transfer.loopback,
    "transfer-far": transfer.far,
    "transfer-cut": transfer_cut.cut,
    "pushed": transfer.pushed,
    "files": transfer.files,
    "metrics": metrics.metrics,
    "precision": precision.precision,
    "resume": resume.resume,
    "tune": tune.tune,
    "imports": imports.imports,
    "server": sidebar.server,
    "list": sidebar_list.listed,
    "pixels": sidebar_pixels.pixels,
    **compress_figures.figures(None),
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help="only these; an unknown name shows all")
    parser.add_argument("--quick", action="store_true", help="tiny counts: shows that it works, measures nothing")
    parser.add_argument("--no-peers", action="store_true", help="measure without what other packages do")
    parser.add_argument("--data-dir", type=Path, help="the folder of MNIST's four files; scikit-learn's digits without")
    parser.add_argument("--venv", type=Path, default=ROOT / "build" / "peers", help="environment of the peers")
    asked = parser.parse_args(argv)
    FIGURES.update(compress_figures.figures(asked.data_dir))
    if unknown := set(asked.figures) - set(FIGURES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are: {', '.join(FIGURES)}")
    peers = Peers(asked.venv, wanted=not asked.no_peers)
    peers.install()
    measured: dict[str, list[Row]] = {}
    failed = []
    for name in asked.figures or FIGURES:
        began = time.monotonic()
        with Bed(peers, quick=asked.quick) as bed:
            try:
                measured[name] = FIGURES[name](bed)
            except Failed as error:
                row = Row(figure=name, goal="", ours=f"could not be measured: {error}", peer="", met=False)
                measured[name] = [row]
                failed.append(name)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    print(table([row for rows in measured.values() for row in rows], asked.quick))
    if not (asked.quick or asked.no_peers):
        keep({name: rows for name, rows in measured.items() if name not in failed})
        write_readme(ROOT / "README.md", kept(FIGURES))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
