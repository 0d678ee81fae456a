"""Tables that read well in a notebook and in a terminal, whatever the cells hold.

Runs in the notebook's kernel and the command line; needs no IPython. Names of jobs and words from hosts are text here:
control characters (colours, cursor moves, line breaks, reversed writing) are made visible or dropped, HTML is escaped.
The HTML brings no colours of its own, so it follows the front end's theme.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
import time
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..config import nearest
from ..errors import ConfigError
from ..job import Job, JobId, JobState
from ..outputs.words import clock, duration, escaped, visible
from ..targets._base import Finding

_GAP = "  "
_NARROWEST = 8
_TD = "text-align:left"  # front ends align cells to the right, which suits numbers only


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows of plain text under a header. `text()` for terminals, `_repr_html_` for notebooks."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""  # a line below the table
    empty: str = "Nothing here."  # said instead of a table without rows
    wrap: bool = False  # in a narrow terminal, break long cells into lines rather than cut them
    classes: Sequence[str] = field(default_factory=tuple)  # CSS classes, one per row

    def text(self, width: int = 0) -> str:
        """The table in lines of at most `width` columns (0 = as wide as it needs); what is cut ends in ``…``."""
        if not self.rows:
            return "\n".join(filter(None, (self.empty, self.note)))
        rows = [[visible(cell) for cell in row] for row in (self.columns, *self.rows)]
        widths = _fit([max(map(columns_of, column)) for column in zip(*rows, strict=True)], width)
        lines = [line for row in rows for line in self._lines(row, widths)]
        rule = _GAP.join("─" * size for size in widths)
        return "\n".join([lines[0], rule, *lines[1:], *([self.note] if self.note else [])])

    def __str__(self) -> str:
        return self.text(terminal_width())

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """IPython's hook: the same text wherever HTML cannot be shown."""
        printer.text(str(self))

    def _repr_html_(self) -> str:
        """Jupyter's hook."""
        note = f"<p>{escaped(self.note)}</p>" if self.note else ""
        if not self.rows:
            return f"<p>{escaped(self.empty)}</p>{note}"
        head = "".join(f'<th scope="col" style="{_TD}">{escaped(column)}</th>' for column in self.columns)
        body = []
        for number, row in enumerate(self.rows):
            css = f' class="{escaped(self.classes[number])}"' if number < len(self.classes) else ""
            body.append(f"<tr{css}>" + "".join(f'<td style="{_TD}">{escaped(cell)}</td>' for cell in row) + "</tr>")
        return (
            '<table class="lepton-table" style="border-collapse: collapse">'
            f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>{note}"
        )

    def _lines(self, row: Sequence[str], widths: Sequence[int]) -> list[str]:
        if self.wrap:
            cells = [
                textwrap.wrap(cell, size, break_on_hyphens=False) or [""]
                for cell, size in zip(row, widths, strict=True)
            ]
        else:
            cells = [[_cut(cell, size)] for cell, size in zip(row, widths, strict=True)]
        height = max(map(len, cells))
        padded = [cell + [""] * (height - len(cell)) for cell in cells]
        return [
            _GAP.join(_pad(part, size) for part, size in zip(parts, widths, strict=True)).rstrip()
            for parts in zip(*padded, strict=True)
        ]


def jobs_table(jobs: Sequence[Job], *, total: int = 0, unwatched: Collection[JobId] = ()) -> Table:
    """One row per job. `total`: how many there are in all, said when the table has fewer.

    `unwatched`: jobs that nobody follows, so that their rows may be old; it is said how to learn more.
    """

    def cause(job: Job) -> str:
        if job.job_id in unwatched:
            return f"as last seen; ask with: lepton_attach {job.job_id}"
        first, *more = job.cause.strip().splitlines() or [""]
        return first + " …" * bool(more)  # an exception may have said a whole page

    more = f"{len(jobs)} of {total:,} jobs; --all shows every one." if total > len(jobs) else ""
    return Table(
        columns=("job", "state", "title", "target", "started", "took", "cause"),
        rows=[
            (job.job_id, job.state.value, job.spec.title, job.spec.target, clock(job.started), _span(job), cause(job))
            for job in jobs
        ],
        classes=[f"lepton-{job.state.value.lower()}" for job in jobs],
        note=more,
        empty="No jobs yet. %%lepton_train in the first line of a cell makes one.",
    )


def states_named(text: str) -> list[JobState]:
    """The states in "running,new"; all for "". Raises ConfigError, which lists them."""
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    known = {state.value.lower(): state for state in JobState}
    for word in words:
        if word not in known:
            raise ConfigError(f"{word!r} is no state of a job", hint=nearest(word, known))
    return [known[word] for word in words]


def findings_table(findings: Sequence[Finding]) -> Table:
    """One row per finding of a probe; a sign, not a colour, tells what is well."""
    return Table(
        columns=("", "what", "found", "what to do"),
        rows=[
            ("✓" if found.ok is True else "✗" if found.ok is False else "–", found.subject, found.value, found.cure)
            for found in findings
        ],
        wrap=True,
    )


def terminal_width() -> int:
    """The width of the terminal that stdout is; 0 (no limit) where it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


def columns_of(text: str) -> int:
    """How many columns of a terminal `text` takes: wide characters two, combining ones none."""
    return sum(
        0
        if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Cf")
        else 2
        if unicodedata.east_asian_width(char) in "WF"
        else 1
        for char in text
    )


def _span(job: Job) -> str:
    if job.started is None:
        return ""
    if job.ended is not None:
        return duration(job.ended - job.started)
    return "" if job.state is JobState.NEW or job.state.final else duration(time.time() - job.started) + " …"


def _fit(widths: list[int], limit: int) -> list[int]:
    """Make the widest columns narrower until all fit, none below a readable minimum."""
    widths = list(widths)
    while limit and sum(widths) + len(_GAP) * (len(widths) - 1) > limit and max(widths) > _NARROWEST:
        widths[widths.index(max(widths))] -= 1
    return widths


def _cut(text: str, size: int) -> str:
    if columns_of(text) <= size:
        return text
    while columns_of(text) > size - 1:
        text = text[:-1]
    return text + "…"


def _pad(text: str, size: int) -> str:
    return text + " " * (size - columns_of(text))
