"""What was measured, as numbers and as the README's table. Runs in the benchmark's own process."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

MARK = "<!-- figures: written by `make bench` -->"
END = "<!-- /figures -->"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """Repeated measurements of one thing, in seconds unless `unit` says otherwise."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def __str__(self) -> str:
        """The median and where the middle half of the measurements lies."""
        if len(self.values) < 2:
            return span(self.median)
        low, _, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return f"{span(self.median)} ({span(low)}–{span(high)})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of the table. `met` is None when the figure has no goal, or could not be measured."""

    figure: str
    goal: str
    ours: str
    peer: str
    ratio: str = ""
    met: bool | None = None


def span(seconds: float) -> str:
    """A duration with three digits that mean something."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.0f} ms" if seconds >= 0.1 else f"{seconds * 1e3:.1f} ms"


def against(ours: Sample, peer: Sample) -> float:
    """The ratio of the medians."""
    return ours.median / peer.median


def in_turn(contenders: Mapping[str, Callable[[], float]], rounds: int, warm_up: int = 2) -> dict[str, Sample]:
    """Each contender once, then each once more, and so on, so that the machine's moods fall on all alike."""
    values: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(-warm_up, rounds):
        for name, measure in contenders.items():
            seconds = measure()
            if number >= 0:
                values[name].append(seconds)
    return {name: Sample(values=tuple(found)) for name, found in values.items()}


def machine() -> str:
    """The machine in words, without its name."""
    try:
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        system = f"{platform.system()} {platform.release()}"
    python = ".".join(map(str, sys.version_info[:3]))
    return f"{os.cpu_count()} cores ({platform.machine()}), Python {python}, {system}"


#: What was measured last, by the name of the figure that was asked for; the README shows it.
KEPT = Path(__file__).parent / "figures.json"


def keep(measured: Mapping[str, Sequence[Row]]) -> None:
    """Put these into KEPT, in the place of what was measured under their names before."""
    kept = json.loads(KEPT.read_text("utf-8"))
    today = time.strftime("%Y-%m-%d")
    kept |= {name: {"measured": today, "rows": [asdict(row) for row in rows]} for name, rows in measured.items()}
    KEPT.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", "utf-8")


def kept(names: Iterable[str]) -> str:
    """The table of what is kept, in the order of `names`; each row with its day."""
    found = json.loads(KEPT.read_text("utf-8"))
    groups = [(found[name]["measured"], [Row(**row) for row in found[name]["rows"]]) for name in names if name in found]
    lines = [
        f"Measured on {machine()}, each row on its day (`make bench`).",
        *_ABOUT,
        "",
        "| figure | to reach | ours | peer | ratio | | measured |",
        "|---|---|---|---|---|---|---|",
        *(_line(row, day) for day, rows in groups for row in rows),
    ]
    return "\n".join(lines) + "\n"


def table(rows: Sequence[Row], quick: bool) -> str:
    """The rows in Markdown, under a line that says when and where."""
    kind = "a smoke test with tiny counts, not to be quoted" if quick else "`make bench`"
    lines = [
        f"Measured {time.strftime('%Y-%m-%d')} on {machine()} ({kind}).",
        *_ABOUT,
        "",
        "| figure | to reach | ours | peer | ratio | |",
        "|---|---|---|---|---|---|",
        *(_line(row) for row in rows),
    ]
    return "\n".join(lines) + "\n"


_ABOUT = (
    "Times are medians, in brackets the middle half of the measurements; ours and the peer took turns in one run,",
    "and the ratio is that of the medians.",
)


def _line(row: Row, *more: str) -> str:
    met = {True: "met", False: "**not met**", None: ""}[row.met]
    cells = (row.figure, row.goal, row.ours, row.peer, row.ratio, met, *more)
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def write_readme(path: Path, text: str) -> None:
    """Put the table between the marks of the README's section Figures."""
    readme = path.read_text("utf-8")
    place = re.compile(f"{re.escape(MARK)}\n(.*?{re.escape(END)}\n)?", re.DOTALL)
    if not place.search(readme):
        raise SystemExit(f"{path} has no line {MARK!r}")
    new = place.sub(lambda found: f"{MARK}\n{text}{END}\n", readme, count=1)
    path.write_text(new, "utf-8")
