"""What came of a study: the best values, a table of the trials, pictures. Runs in the kernel that ran the trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any

from . import plots
from .space import Space, Value
from .study import Study, Tried

#: Rows of the table that is shown at once.
_ROWS = 10


@dataclass(frozen=True, kw_only=True)
class Result:
    """A study as it is now. `trials` in the order they began."""

    study: str
    metric: str
    maximize: bool
    space: Space
    trials: Sequence[Tried]
    best: Tried | None
    importance: Mapping[str, float] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @classmethod
    def of(cls, study: Study, notes: Sequence[str] = ()) -> Result:
        trials, best = study.tried(), study.best()
        metric = next((each.metric for each in trials if each.metric), "metric")
        return cls(
            study=study.name,
            metric=best.metric if best else metric,
            maximize=study.plan.maximize,
            space=study.plan.space,
            trials=trials,
            best=best,
            importance=study.importance(),
            notes=notes,
        )

    def ranked(self) -> list[Tried]:
        """The best first, then those that did not come to their end."""
        sign = -1 if self.maximize else 1
        return sorted(self.trials, key=lambda each: (each.value is None, sign * (each.value or 0), each.number))

    def table(self, rows: int | None = None) -> list[list[str]]:
        """Header and rows, in words."""
        head = ["trial", self.metric, *self.space, "took", ""]
        return [head, *(self._row(each) for each in self.ranked()[:rows])]

    def _row(self, each: Tried) -> list[str]:
        said = each.error if each.state == "failed" else each.state if each.state != "complete" else ""
        values = [shown(each.params.get(name)) if name in each.params else "" for name in self.space]
        value = "" if each.value is None else f"{each.value:.5g}"
        return [str(each.number + 1), value, *values, f"{each.seconds:.3g} s", said[:100]]

    def rows(self) -> list[dict[str, Any]]:
        """Plain values of each trial, for a table of the user's own."""
        return [
            {"trial": each.number + 1, self.metric: each.value, **each.params, "state": each.state,
             "seconds": round(each.seconds, 3), "error": each.error} for each in self.trials
        ]  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        return {
            "study": self.study,
            "metric": self.metric,
            "direction": "maximize" if self.maximize else "minimize",
            "space": {name: str(domain) for name, domain in self.space.items()},
            "best": None if self.best is None else {"value": self.best.value, "params": dict(self.best.params)},
            "importance": dict(self.importance),
            "trials": [asdict(each) for each in self.trials],
            "notes": list(self.notes),
        }

    def words(self) -> list[str]:
        """What came out, in sentences."""
        count = {state: sum(each.state == state for each in self.trials) for state in ("complete", "pruned", "failed")}
        rest = [f"{number} {state}" for state, number in count.items() if number and state != "complete"]
        said = [f"{len(self.trials)} trials" + (f", {' and '.join(rest)}" if rest else "")]
        if self.best is not None:
            values = ", ".join(f"{name} = {shown(value)}" for name, value in self.best.params.items())
            said.append(
                f"the best {self.metric} is {self.best.value:.5g}, with {values} (trial {self.best.number + 1})"
            )
            first = self.trials[0] if self.trials and self.trials[0].number == 0 else None
            if first is not None and first.value is not None and first is not self.best:
                said.append(f"the first trial had {first.value:.5g}")
        if self.importance:
            shares = ", ".join(f"{name} {value:.0%}" for name, value in self.importance.items())
            said.append(f"what matters: {shares}")
        trained = [f"In the best trial: {note}." for note in (self.best.notes if self.best else ())]
        return ["; ".join(said) + ".", *trained, *self.notes]

    def __str__(self) -> str:
        table = self.table(_ROWS)
        widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
        ]
        return "\n".join([*self.words(), *lines])

    def _repr_html_(self) -> str:
        names = list(self.space)
        words = "".join(f"<p>{escape(each)}</p>" for each in self.words())
        parts = [words, plots.history(self.trials, self.metric, self.maximize), plots.importance(self.importance)]
        parts += [plots.parallel(self.trials, self.space, self.metric, self.maximize) if names else ""]
        parts += [_html(self.table(_ROWS))]
        if len(self.trials) > _ROWS:
            parts.append(f"<details><summary>All {len(self.trials)} trials</summary>{_html(self.table())}</details>")
        return "".join(parts)


def shown(value: Value) -> str:
    """A value of a trial, short."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _html(table: list[list[str]]) -> str:
    head, *rows = table
    cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"
