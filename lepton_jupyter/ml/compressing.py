"""A model compressed, and measured before and after: by the steps that are asked for, or by those that are found best.

Runs in the kernel that holds the model. Nothing heavy is imported before its use.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ..errors import ConfigError
from . import comparing, frameworks
from ._clock import Clock, OutOfTime, seconds
from ._given import Given, given
from ._judging import Evaluate
from ._making import Maker
from ._searched import RESERVE, searched, worth_compiling
from .compressors import Compressor, Task
from .compressors.distilling import fits
from .frameworks._base import Array
from .measuring import metric
from .methods import steps as named
from .methods import words
from .report import CompressionReport


def compress(
    model: Any,
    *,
    methods: str | Compressor | Sequence[str | Compressor] = "auto",
    data: Any = None,
    loss: Callable[..., Any] | None = None,
    train: Callable[[Any], object] | None = None,
    evaluate: Evaluate | None = None,
    test: Any = None,
    tolerance: float = 0.01,
    budget: float | str = "5m",
    trials: int | None = None,
    sparsity: float | None = None,
    bits: int | None = None,
    student: Any = None,
    seed: int = 0,
    inputs: Any = None,
    progress: Callable[[float, str], object] | None = None,
) -> CompressionReport:
    """A smaller and faster copy of a trained model, and what it costs, as measured here.

    `methods` are names out of methods.NAMES or Compressor objects, in order; "auto" searches, for `budget` (seconds, or
    "90s", "5m"), for the best size and speed of which the metric is at most `tolerance` lower. A budget under two
    minutes (Keras: 20 seconds) leaves the model as its framework's compiler makes it out of the figures. `data` is
    (inputs…, targets), a torch Dataset or DataLoader or a tf.data.Dataset; `loss(model, *batch)` shall shrink, or
    `train(model)` is one round of the user's own training. `evaluate(model)` gives one number or one for each example,
    higher being better; without it, a fifth of the data is held out and judged by. `test`, data or such a function, is
    what the report's metric comes from, and is not chosen by; without it, and where "auto" chose by the fifth, it comes
    from a half of that which did not choose, if this is 100 examples or more. `sparsity`, `bits`, `student`: see
    methods.steps; "auto" only takes the student. `inputs` are examples to measure time with, where there is no data.
    `trials` limits the search: if that many fit into the budget, the same seed gives the same answer.
    `progress(share, words)` is told.

    Raises ConfigError for what does not fit, for a metric that is no number, and if nothing stays within the tolerance.
    """
    clock = Clock(seconds(budget))
    if tolerance < 0 or (trials is not None and trials < 1):
        raise ConfigError(
            "tolerance= is 0 or more, trials= 1 or more", hint="tolerance=0.01 allows a point of accuracy."
        )
    choosing = methods == "auto"
    if choosing and (sparsity is not None or bits is not None):
        raise ConfigError('sparsity= and bits= are chosen by methods="auto"', hint="Leave them out, or give methods=.")
    steps = [] if choosing else named(methods, sparsity=sparsity, bits=bits, student=student)
    known = given(
        model, data=data, loss=loss, train=train, evaluate=evaluate, test=test, inputs=inputs, seed=seed,
        choosing=choosing,
    )  # fmt: skip
    if not choosing:
        metrics = known.metrics
        report = run(
            model, steps, known.task, evaluate=metrics.reports, inputs=known.examples, progress=progress,
            compiled=clock.budget >= worth_compiling(model),
        )  # fmt: skip
        return replace(report, notes=[*metrics.notes, *report.notes], judged=metrics.judged, tolerance=tolerance)
    return searched(_maker(model, known, clock, tolerance, trials, student), known, trials, progress)


def run(
    model: Any,
    steps: Sequence[Compressor],
    task: Task,
    *,
    evaluate: Evaluate | None = None,
    inputs: Sequence[Array] | None = None,
    compiled: bool = True,
    rounds: int = 31,
    progress: Callable[[float, str], object] | None = None,
) -> CompressionReport:
    """Compress a copy of the model by these steps, one after the other, and measure what came of it.

    `evaluate(model)` gives one number, or one for each example. Times are measured with `inputs`, else with examples of
    the task's data, else not; `compiled` also measures the model as its framework's compiler makes it.
    """
    tell = progress or (lambda share, words: None)
    metrics = {"before": metric(evaluate, model)} if evaluate else {}
    began = time.monotonic()
    result = model
    for index, step in enumerate(steps):
        tell(index / (len(steps) + 1), words([step]))
        result = step.compress(result, task)
    took = time.monotonic() - began
    tell(len(steps) / (len(steps) + 1), "measuring")
    if evaluate:
        metrics["after"] = metric(evaluate, result)
    examples = inputs
    if examples is None and task.data is not None:
        examples = task.samples(max(comparing.BATCHES))
    notes: list[str] = []
    also = comparing.compiled(model, examples, notes) if compiled and examples is not None else {}
    rows = comparing.figures(
        {"before": model, "after": result}, metrics, examples, notes, runners=also, rounds=rounds
    )  # fmt: skip
    tell(1.0, "done")
    return CompressionReport(
        model=result, rows=rows, steps=[words([step]) for step in steps], seconds=took, notes=notes
    )  # fmt: skip


def _maker(
    model: Any, known: Given, clock: Clock, tolerance: float, trials: int | None, student: Any
) -> Maker:  # fmt: skip
    if known.metrics.chooses is None:
        raise ConfigError(
            "there is nothing to judge the compressed models by",
            hint="Give data=(inputs, targets), or evaluate=, a function of a model: higher is better.",
        )
    if student is not None:
        if known.task.data is None or known.task.loss is None:
            raise ConfigError("a student learns by data and a loss", hint="Give data= and loss= beside student=.")
        fits(student, model, known.task.samples(2))
    if known.examples is None and known.task.train is None and frameworks.of(model).name == "torch":
        raise ConfigError(
            "there is nothing to try: training needs data, and so does every other runtime, to be made and measured",
            hint="Give data=(inputs, targets), or inputs=, examples of the model's inputs.",
        )
    clock.reserve = RESERVE * clock.budget
    try:
        return Maker(
            model=model,
            evaluate=known.metrics.chooses,
            task=known.task,
            clock=clock,
            tolerance=tolerance,
            timed=trials is None and known.examples is not None,
            teach=known.logits and known.task.train is None,
            student=student,
            examples=known.examples,
        )
    except OutOfTime:
        raise ConfigError(
            f"the budget of {clock.budget:g} s was over before the model itself was judged",
            hint='Give more: budget="5m".',
        ) from None
