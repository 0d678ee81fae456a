"""What came of a compression, as measured: figures of the model before, compiled and after, and what else was tried.

Runs in the kernel that holds the model; the report travels to the notebook without it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any

from . import plotting
from .measuring import Latency, Layer, Metric, Sizes


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One contender's, as far as it was measured: a compiled model has the sizes of the one it was made from.

    `macs`: multiply-accumulates for one example; `speed`: how many times as fast as the model before, over all batches
    (the geometric mean), where the automatic mode judged it.
    """

    name: str
    sizes: Sizes | None = None
    metric: Metric | None = None
    latencies: Sequence[Latency] = ()
    layers: Sequence[Layer] = ()
    macs: int | None = None
    speed: float | None = None


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One pipeline that the automatic mode tried, and what came of it; `why` is empty for one within the tolerance."""

    name: str
    why: str
    seconds: float
    metric: float | None = None
    zipped: int | None = None
    speed: float | None = None


@dataclass(frozen=True, kw_only=True)
class CompressionReport:
    """The compressed model and the figures. The first row is the model as it was: ratios refer to it.

    After the automatic mode, `pareto` are those of all that was tried of which none is smaller, faster and better all
    at once than another, each named by its steps; `tried` is everything, in the order of trying.
    """

    model: Any = field(repr=False)
    rows: Sequence[Figures]
    steps: Sequence[str]
    seconds: float
    notes: Sequence[str] = ()
    pareto: Sequence[Figures] = ()
    tried: Sequence[Tried] = ()
    #: The metric in words; and that of `pareto` and `tried`, where it was another that chose.
    judged: str = "metric"
    chose: str = ""
    tolerance: float | None = None

    @property
    def before(self) -> Figures:
        """The model as it was."""
        return self.rows[0]

    @property
    def after(self) -> Figures:
        """The compressed one."""
        return self.rows[-1]

    @property
    def compiled(self) -> Figures | None:
        """The model as it was, compiled, if that was measured."""
        return next((row for row in self.rows[1:-1] if row.name == "compiled"), None)

    def table(self) -> list[list[str]]:
        """Header and rows, in words."""
        return self._table(self.rows, self.judged)

    def front(self) -> list[list[str]]:
        """The same of `pareto`: what one gets for giving up something else."""
        return self._table(self.pareto, self.chose or self.judged)

    def _table(self, rows: Sequence[Figures], judged: str) -> list[list[str]]:
        head = ["", f"{judged} (95 %)", "non-zero", "MACs", "memory", "disk", "zipped", "packed"]
        head += [f"ms at batch {each.batch} (quartiles)" for each in self.before.latencies]
        return [head, *(self._row(row) for row in rows)]

    def _row(self, row: Figures) -> list[str]:
        cells = [row.name, str(row.metric or "")]
        first = self.before.sizes
        cells.append(f"{row.sizes.nonzero:,} of {row.sizes.parameters:,}" if row.sizes else "")
        cells.append("" if row.macs is None else f"{row.macs:,}")
        for name in ("memory", "disk", "zipped", "packed"):
            size = getattr(row.sizes, name, 0)
            cells.append(
                f"{size:,} B ({first.memory / size:.1f}×)" if size and first else f"{size:,} B" if size else ""
            )
        for base in self.before.latencies:
            mine = at(row, base.batch)
            cells.append(
                f"{mine.median:.3g} ({mine.low:.3g}…{mine.high:.3g}), {base.median / mine.median:.2f}×" if mine else ""
            )
        return cells

    def layers(self) -> list[list[str]]:
        """Header and rows: each array of the compressed model. Their names may differ from those before."""
        rows = [
            [each.name, "×".join(map(str, each.shape)), f"{each.nonzero:,}", f"{each.values:,}"]
            for each in self.after.layers
        ]
        return [["array", "shape", "non-zero", "different values"], *rows]

    def trials(self) -> list[list[str]]:
        """Header and rows: all that was tried, and why it was not taken."""
        rows = [
            [
                each.name,
                "" if each.metric is None else f"{each.metric:.4f}",
                "" if each.zipped is None else f"{each.zipped:,} B",
                "" if each.speed is None else f"{each.speed:.2f}×",
                f"{each.seconds:.1f} s",
                each.why or "within the tolerance",
            ]
            for each in self.tried
        ]
        return [["tried", self.chose or self.judged, "zipped", "speed", "took", "what came of it"], *rows]

    def to_json(self) -> dict[str, Any]:
        """Everything but the model, as JSON can say it: bytes, milliseconds, seconds; null for what is not known."""
        made: dict[str, Any] = _plain(
            {
                "rows": [asdict(row) for row in self.rows],
                "pareto": [asdict(row) for row in self.pareto],
                "tried": [asdict(each) for each in self.tried],
                "steps": self.steps,
                "seconds": self.seconds,
                "notes": self.notes,
                "judged": self.judged,
                "chose": self.chose,
                "tolerance": self.tolerance,
            }
        )
        return made

    def __str__(self) -> str:
        parts = [_text(self.table()), *self._words()]
        if self.pareto:
            parts += ["", "Of all that was tried, what nothing else beats in everything:", _text(self.front())]
        if self.tried:
            parts += ["", _text(self.trials())]
        return "\n".join(parts)

    def _repr_html_(self) -> str:
        words = "".join(f"<p>{escape(each)}</p>" for each in self._words())
        parts = [_html(self.table()), words, plotting.gains(list(_gains(self.before, self.after)))]
        if self.pareto:
            front = [(row.name, row.sizes.zipped, row.speed, row.metric.value)
                     for row in self.pareto if row.sizes and row.speed and row.metric]  # fmt: skip
            others = [(each.name, each.zipped, each.speed, each.metric)
                      for each in self.tried if each.zipped and each.speed and each.metric is not None]  # fmt: skip
            parts.append(plotting.front(front, others, chosen=" → ".join(self.steps),
                                        judged=self.chose or self.judged))  # fmt: skip
            parts.append(_details("What nothing else beats in everything", self.front()))
        if self.tried:
            parts.append(_details(f"All {len(self.tried)} that were tried", self.trials()))
        if self.after.layers:
            parts.append(_details("Each array", self.layers()))
        return "".join(parts)

    def _words(self) -> list[str]:
        words = [
            f"{' → '.join(self.steps) or 'Nothing done'}, in {self.seconds:.0f} s. "
            "× is against the first row: its memory, its time."
        ]
        if self.before.latencies:
            one = self.before.latencies[0]
            threads = f"{one.threads} thread{'s' * (one.threads != 1)}"
            words.append(f"Times: {one.rounds} rounds after {one.warm_up} to warm up, {threads}, in turn.")
        for other, named in ((self.before, "before"), (self.compiled, "the compiled model")):
            pairs = [
                (mine, base) for base in (other.latencies if other else ()) if (mine := at(self.after, base.batch))
            ]
            words += [
                f"It is slower than {named} at batch {mine.batch}." for mine, base in pairs if mine.median > base.median
            ]
            if pairs and other is not self.before:
                ratios = " and ".join(f"{base.median / mine.median:.2f}× at batch {mine.batch}" for mine, base in pairs)
                words.append(f"Against {named} its speed is {ratios}.")
        sizes = [row.sizes for row in (self.before, self.after)]
        if sizes[0] and sizes[1] and min(sizes[1].zipped, sizes[1].disk) > min(sizes[0].zipped, sizes[0].disk):
            words.append("Its file is larger than before.")
        return [*words, *self._about_metric(), *self.notes]

    def _about_metric(self) -> list[str]:
        before, after = self.before.metric, self.after.metric
        if not before or not after or after.value >= before.value:
            return []
        words = f"Its {self.judged} is lower than before"
        if after.high is None:
            words += f" by {before.value - after.value:.4g}."
        else:
            words += " by more than chance." if after.high < before.value else ", which may be chance."
        if self.tolerance is not None and before.value - after.value > self.tolerance:
            words += f" That is more than the tolerance of {self.tolerance}."
        return [words]


def at(row: Figures, batch: int) -> Latency | None:
    """The row's time at this batch, if it was measured."""
    return next((each for each in row.latencies if each.batch == batch), None)


def _gains(before: Figures, after: Figures) -> Iterator[tuple[str, float]]:
    if before.sizes and after.sizes:
        for name in ("memory", "disk", "zipped", "packed"):
            was, now = getattr(before.sizes, name), getattr(after.sizes, name)
            if was and now:
                yield f"{name}, smaller", was / now
    if before.macs and after.macs:
        yield "MACs, fewer", before.macs / after.macs
    for base in before.latencies:
        for mine in after.latencies:
            if mine.batch == base.batch and mine.median > 0 and base.median > 0:
                yield f"batch {base.batch}, faster", base.median / mine.median


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _text(table: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
    )


def _details(title: str, table: list[list[str]]) -> str:
    return f"<details><summary>{escape(title)}</summary>{_html(table)}</details>"


def _html(table: list[list[str]]) -> str:
    head, *rows = table
    cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"
