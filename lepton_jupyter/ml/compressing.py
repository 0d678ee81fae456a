"""A model compressed by several compressors in a row, and measured before and after.

Runs in the kernel that holds the model. Nothing heavy is imported before its use.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from ..errors import ConfigError
from . import frameworks
from ._quiet import quiet
from .compressors import Compressor, Task
from .frameworks._base import Array
from .measuring import Latency, latencies, layers, metric, sizes
from .report import CompressionReport, Figures

#: Batches that latencies are measured at.
BATCHES = (1, 128)


def compress(
    model: Any,
    *,
    methods: str | Sequence[str | Compressor] = "auto",
    data: Any = None,
    loss: Callable[..., Any] | None = None,
    train: Callable[[Any], object] | None = None,
    evaluate: Callable[[Any], float | Sequence[float] | Array] | None = None,
    tolerance: float = 0.01,
    budget: float | str = "5m",
    sparsity: float | None = None,
    bits: int | None = None,
    student: Any = None,
    seed: int = 0,
    inputs: Sequence[Array] | None = None,
    progress: Callable[[float, str], object] | None = None,
) -> CompressionReport:
    """Compress a copy of the model by these methods, in this order, and measure what came of it."""
    steps = [each for each in methods if not isinstance(each, str)]
    if isinstance(methods, str) or len(steps) < len(methods):
        raise ConfigError("methods by name come with the next commit", hint="Give Compressor objects.")
    task = Task(train=train, data=data, loss=loss, seed=seed)
    return run(model, steps, task, evaluate=evaluate, inputs=inputs)


def run(
    model: Any,
    steps: Sequence[Compressor],
    task: Task,
    *,
    evaluate: Callable[[Any], float | Sequence[float] | Array] | None = None,
    inputs: Sequence[Array] | None = None,
    compiled: bool = True,
    rounds: int = 31,
) -> CompressionReport:
    """Compress a copy of the model by these steps, one after the other, and measure what came of it.

    `evaluate(model)` gives one number, or one for each example. Times are measured with `inputs`, else with examples of
    the task's data, else not; `compiled` also measures the model as its framework's compiler makes it.
    """
    began = time.monotonic()
    result = model
    for step in steps:
        result = step.compress(result, task)
    seconds = time.monotonic() - began
    contenders = {"before": model, "after": result}
    examples = inputs if inputs is not None else task.samples(max(BATCHES)) if task.data is not None else None
    times, notes = _times(contenders, examples, compiled, rounds) if examples is not None else ({}, [])
    rows = [
        Figures(
            name=name,
            sizes=sizes(contender),
            metric=metric(evaluate, contender) if evaluate else None,
            latencies=times.get(name, ()),
            layers=layers(contender),
        )
        for name, contender in contenders.items()
    ]
    if "compiled" in times:
        rows.insert(1, Figures(name="compiled", latencies=times["compiled"]))
    return CompressionReport(
        model=result, rows=rows, steps=[_words(step) for step in steps], seconds=seconds, notes=notes
    )


def _words(step: Compressor) -> str:
    """The compressor's name, and its options where they are not the usual ones."""
    if not is_dataclass(step):
        return type(step).__name__
    options = [
        f"{each.name}={value!r}"
        for each in fields(step)
        if isinstance(value := getattr(step, each.name), int | float | str | tuple) and value != each.default
    ]
    return f"{type(step).__name__}({', '.join(options)})"


def _times(
    contenders: dict[str, Any], examples: Sequence[Array], compiled: bool, rounds: int
) -> tuple[dict[str, list[Latency]], list[str]]:
    """For each contender its times at BATCHES; and what could not be measured, in words."""
    runners = {name: frameworks.of(model).runner(model) for name, model in contenders.items()}
    notes: list[str] = []
    if compiled:
        before = contenders["before"]
        try:
            with quiet():
                runner = frameworks.of(before).runner(before, compiled=True)
                for batch in BATCHES:
                    runner([np.resize(part, (batch, *part.shape[1:])) for part in examples])()
            runners["compiled"] = runner
        except Exception as error:  # noqa: BLE001 - compilers need compilers, and raise what they like
            notes.append(f"Not measured compiled: {type(error).__name__}: {str(error).strip().splitlines()[0]}")
    found: dict[str, list[Latency]] = {name: [] for name in runners}
    for batch in BATCHES:
        parts = [np.resize(part, (batch, *part.shape[1:])) for part in examples]
        calls = {name: prepare(parts) for name, prepare in runners.items()}
        threads = frameworks.of(contenders["before"]).threads()
        for name, latency in latencies(calls, batch=batch, rounds=rounds, threads=threads).items():
            found[name].append(latency)
    return found, notes
