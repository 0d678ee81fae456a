"""What came of a compression, as measured: a table of the model before, compiled, and after.

Runs in the kernel that holds the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from .measuring import Latency, Layer, Metric, Sizes


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One contender's, as far as it was measured: a compiled model has the sizes of the one it was made from."""

    name: str
    sizes: Sizes | None = None
    metric: Metric | None = None
    latencies: Sequence[Latency] = ()
    layers: Sequence[Layer] = ()


@dataclass(frozen=True, kw_only=True)
class CompressionReport:
    """The compressed model and the figures. The first row is the model as it was: ratios refer to it."""

    model: Any
    rows: Sequence[Figures]
    steps: Sequence[str]
    seconds: float
    notes: Sequence[str] = ()

    @property
    def before(self) -> Figures:
        """The model as it was."""
        return self.rows[0]

    @property
    def after(self) -> Figures:
        """The compressed one."""
        return self.rows[-1]

    def table(self) -> list[list[str]]:
        """Header and rows, in words."""
        batches = [each.batch for each in self.before.latencies]
        head = ["", "metric (95 %)", "non-zero", "memory", "disk", "zipped", "packed"]
        head += [f"ms at batch {batch} (quartiles)" for batch in batches]
        return [head, *(self._row(row) for row in self.rows)]

    def _row(self, row: Figures) -> list[str]:
        cells = [row.name, str(row.metric or "")]
        first = self.before.sizes
        if row.sizes is None or first is None:
            cells += [""] * 5
        else:
            cells.append(f"{row.sizes.nonzero:,} of {row.sizes.parameters:,}")
            for name in ("memory", "disk", "zipped", "packed"):
                size = getattr(row.sizes, name)
                cells.append(f"{size:,} B ({first.memory / size:.1f}×)" if size else "")
        for mine, base in zip(row.latencies, self.before.latencies, strict=False):
            cells.append(f"{mine.median:.3g} ({mine.low:.3g}…{mine.high:.3g}), {base.median / mine.median:.2f}×")
        return cells + [""] * (len(self.before.latencies) - len(row.latencies))

    def layers(self) -> list[list[str]]:
        """Header and rows: each array of the compressed model. Their names may differ from those before."""
        rows = [
            [each.name, "×".join(map(str, each.shape)), f"{each.nonzero:,}", f"{each.values:,}"]
            for each in self.after.layers
        ]
        return [["array", "shape", "non-zero", "different values"], *rows]

    def __str__(self) -> str:
        table = self.table()
        widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
        ]
        return "\n".join([*lines, *self._words()])

    def _repr_html_(self) -> str:
        words = "".join(f"<p>{escape(each)}</p>" for each in self._words())
        layers = f"<details><summary>Each array</summary>{_html(self.layers())}</details>" if self.after.layers else ""
        return f"{_html(self.table())}{words}{layers}"

    def _words(self) -> list[str]:
        words = [
            f"{' → '.join(self.steps)}, in {self.seconds:.0f} s. × is against the first row: its memory, its time."
        ]
        if self.before.latencies:
            one = self.before.latencies[0]
            words.append(f"Times: {one.rounds} rounds after {one.warm_up} to warm up, {one.threads} threads, in turn.")
        for mine, base in zip(self.after.latencies, self.before.latencies, strict=False):
            if mine.median > base.median:
                words.append(f"It is slower than before at batch {mine.batch}.")
        before, after = self.before.metric, self.after.metric
        if before and after and after.high is not None and after.high < before.value:
            words.append("Its metric is lower than before by more than chance.")
        return [*words, *self.notes]


def _html(table: list[list[str]]) -> str:
    head, *rows = table
    cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"
