"""By what models are chosen and judged: the user's own metric, data for that alone, or a part that is held out.

Runs in the kernel that holds the model. The best of many by some examples is so partly by luck, which other examples do
not share: where there are enough of them, those that are reported have neither trained nor chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError
from . import defaults
from .answering import in_kind
from .examples import arrays, split
from .frameworks._base import Array

Evaluate = Callable[[Any], float | Sequence[float] | Array]

#: With fewer examples than this to choose by, and as many to judge by, chance would do both.
FEWEST = 100


@dataclass(frozen=True, kw_only=True)
class Judging:
    """The metric that the automatic mode chooses by, and the one that is reported, `judged` in words."""

    chooses: Evaluate | None = None
    reports: Evaluate | None = None
    judged: str = "metric"
    notes: tuple[str, ...] = ()


def judging(
    model: Any,
    parts: tuple[Array, ...] | None,
    means: defaults.Answers | None,
    *,
    evaluate: Evaluate | None,
    test: Any,
    seed: int,
    choosing: bool,
) -> tuple[Judging, tuple[Array, ...] | None]:
    """The metrics, and what of the data (`parts`) is left to train with. `choosing`: something is chosen.

    Raises ConfigError for a test that does not fit the model.
    """
    if evaluate is not None and test is not None and not choosing:
        raise ConfigError(
            "methods= are made as they are named: nothing is chosen, so evaluate= and test= would both judge",
            hint="Give one of the two.",
        )
    found = Judging() if test is None else _tested(model, test, seed)
    if evaluate is not None:
        own = in_kind(evaluate)
        if found.reports is not None:
            return Judging(chooses=own, reports=found.reports, judged=found.judged, notes=found.notes), parts
        flattered = ("evaluate= also chose, so its word on what was chosen may be flattered; test= takes other data.",)
        return Judging(chooses=own, reports=own, notes=flattered if choosing else ()), parts
    if parts is None or means is None or (found.reports is not None and not choosing):
        return found, parts
    left, held = split(parts, seed)
    count, half = len(held[0]), len(held[0]) // 2
    by = defaults.metric(means, held)
    if found.reports is not None:
        return Judging(chooses=by, reports=found.reports, judged=found.judged, notes=found.notes), left
    name = means.metric
    if choosing and half >= FEWEST:
        choose, report = (
            defaults.metric(means, [part[some] for part in held]) for some in (slice(half), slice(half, None))
        )
        note = (
            f"Of {len(parts[0])} examples {len(left[0])} trained and {half} chose; the {name} is that on the other "
            f"{count - half}."
        )
        return Judging(chooses=choose, reports=report, judged=name, notes=(note,)), left
    note = f"The {name} is that on {count} examples that were held out"
    note += ", which also chose, so it may be flattered; test= takes other data." if choosing else "."
    return Judging(chooses=by, reports=by, judged=name, notes=(note,)), left


def _tested(model: Any, test: Any, seed: int) -> Judging:
    """By `test`: a function of a model, or data."""
    if callable(test):
        return Judging(reports=in_kind(test))
    try:
        held = arrays(test, seed)
        means = defaults.answers(model, held)
    except ConfigError as error:
        raise ConfigError(f"test=: {error.message}", hint=error.hint) from error
    note = f"The {means.metric} is that on the {len(held[0])} examples of test=, which neither trained nor chose."
    return Judging(reports=defaults.metric(means, held), judged=means.metric, notes=(note,))
