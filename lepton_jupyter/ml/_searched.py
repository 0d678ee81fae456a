"""The automatic mode's report: the search, and then all that is worth a look measured in turn.

Runs in the kernel that holds the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from . import comparing, frameworks, packed
from ._clock import Clock
from ._given import Given
from ._making import GivenUp, Maker, speed_of
from .automatic import Search
from .measuring import Metric, is_file, metric
from .pareto import Candidate, front
from .report import CompressionReport, Figures

#: The share of the budget that is kept for measuring at the end.
RESERVE = 0.1
#: Seconds of budget from which the model is also measured compiled: PyTorch takes about half a minute for it.
WORTH_COMPILING, OF_KERAS = 120.0, 20.0
#: Seconds that packing takes for each parameter, on a slow machine.
PACKING = 2e-5


def searched(
    maker: Maker, known: Given, trials: int | None, progress: Callable[[float, str], object] | None
) -> CompressionReport:
    """Search, then measure. Raises ConfigError if nothing stays within the tolerance."""
    clock, examples, metrics = maker.clock, maker.examples, known.metrics
    notes = list(metrics.notes)
    reports = metrics.reports if metrics.reports is not metrics.chooses else None
    began = clock.gone
    base = maker.base if reports is None else metric(reports, maker.model)
    clock.reserve += clock.gone - began  # for what will be chosen, too
    also = {}
    if examples is not None and clock.budget >= worth_compiling(maker.model):
        also = comparing.compiled(maker.model, examples, notes)
    elif examples is not None:
        notes.append(f"Not measured: compiled: that may take longer than a budget of {clock.budget:.0f} s leaves.")
    search = Search(maker, trials=trials, progress=progress)
    search.run()
    clock.reserve = 0
    if progress is not None:
        progress(1 - RESERVE, "measuring")
    worth = {"before": maker.model, **{each.name: each.model for each in search.front}}
    rows = comparing.figures(
        worth,
        {"before": base, **{each.name: each.metric for each in search.front}},
        examples,
        notes,
        runners=also,
        known={"before": maker.sizes, **{each.name: each.sizes for each in search.front}},
        warm_up=2,
        seconds=max(clock.left / 4, 0.2),
    )
    of = {row.name: row for row in rows}
    if maker.timed:
        search.front = front(_timed(each, of) for each in search.front)
    else:
        notes.append("Speed was judged by multiply-accumulates, so that the same seed gives the same answer.")
    found = search.best()
    if found.gain(maker.sizes.zipped) < 0:
        notes.append("Nothing within the tolerance is better than the model as it was, size and speed taken together.")
    if search.untried:
        notes.append(f"Not tried, for lack of time: {'; '.join(search.untried)}. A longer budget= has room for them.")
    judged: Metric | None = found.metric
    if reports is not None:
        notes.append(f"The {metrics.judged} that chose was {maker.base} of the model as it was.")
        judged = comparing.attempt("metric of after", partial(metric, reports, found.model), notes)
    before = _packed(of["before"], maker.model, clock, notes)
    after = replace(of[found.name], name="after", speed=found.speed, metric=judged)
    after = _packed(after, found.model, clock, notes)
    if progress is not None:
        progress(1.0, "done")
    return CompressionReport(
        model=found.model,
        rows=[before, *([of["compiled"]] if "compiled" in of else []), after],
        steps=found.name.split(" → "),
        seconds=clock.gone,
        notes=notes,
        pareto=[replace(of[each.name], speed=each.speed, layers=()) for each in search.front],
        tried=search.tried,
        judged=metrics.judged,
        chose="" if reports is None else f"{metrics.judged} that chose",
        tolerance=maker.tolerance,
    )


def worth_compiling(model: Any) -> float:
    """Seconds of budget from which the model is also measured compiled."""
    return OF_KERAS if frameworks.of(model).name == "keras" else WORTH_COMPILING


def _timed(candidate: Candidate, of: Mapping[str, Figures]) -> Candidate:
    """The candidate with the speed of the last measurement, in which all took turns."""
    try:
        speed = speed_of(of["before"].latencies, of[candidate.name].latencies)
    except GivenUp:  # a note says why it could not be measured again
        return candidate
    return replace(candidate, speed=speed)


def _packed(row: Figures, model: Any, clock: Clock, notes: list[str]) -> Figures:
    """With the size of the packed file, where there is time to write it."""
    if row.sizes is None or is_file(model):
        return row
    if row.sizes.parameters * PACKING > clock.left:
        notes.append(f"Not measured: packed size of {row.name}: there was no time left to write the file.")
        return row
    return replace(row, sizes=replace(row.sizes, packed=len(packed.pack(frameworks.of(model).state(model)))))
