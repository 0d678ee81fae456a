"""Models measured side by side: sizes, work, time and metric of each, and in words what could not be measured.

Runs in the kernel that holds the models. A figure that can't be had is a note, never an error: the model is there, and
took long to make. Only a metric that is no number stops everything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np

from . import frameworks
from ._quiet import quiet
from .frameworks._base import Array
from .measuring import Latency, Metric, Sizes, latencies, layers, sizes
from .report import Figures

#: Batches that latencies are measured at.
BATCHES = (1, 128)
#: Seconds that timing all contenders at one batch takes at most.
SECONDS = 20.0

Runner = Callable[[Sequence[Array]], Callable[[], Any]]
T = TypeVar("T")


def figures(
    contenders: Mapping[str, Any],
    metrics: Mapping[str, Metric],
    examples: Sequence[Array] | None,
    notes: list[str],
    *,
    runners: Mapping[str, Runner] | None = None,
    known: Mapping[str, Sizes] | None = None,
    rounds: int = 31,
    warm_up: int = 5,
    seconds: float = SECONDS,
) -> list[Figures]:
    """Each contender's figures; what could not be measured is added to `notes`.

    `runners` are more that are only timed (a compiled model); `known` are sizes that were measured before.
    """
    ready = {name: runner for name, model in contenders.items() if (runner := runner_of(name, model, notes))}
    ready |= runners or {}
    threads = frameworks.of(next(iter(contenders.values()))).threads()
    found: Mapping[str, Sequence[Latency]] = {}
    if examples is not None:
        found = times(ready, examples, notes, rounds=rounds, warm_up=warm_up, seconds=seconds, threads=threads)
    rows = []
    for name, model in contenders.items():
        row = Figures(
            name=name,
            sizes=(known or {}).get(name) or attempt(f"sizes of {name}", partial(sizes, model), notes),
            metric=metrics.get(name),
            latencies=found.get(name, ()),
            layers=attempt(f"arrays of {name}", partial(layers, model), notes) or (),
            macs=attempt(f"MACs of {name}", partial(macs, model, examples), notes),
        )
        rows.append(row)
    for name in runners or {}:
        if name in found:
            rows.insert(1, Figures(name=name, latencies=found[name]))
    return rows


def runner_of(name: str, model: Any, notes: list[str]) -> Runner | None:
    """The model ready to be timed, or a note."""
    return attempt(f"times of {name}", lambda: frameworks.of(model).runner(model), notes)


def compiled(model: Any, examples: Sequence[Array], notes: list[str]) -> dict[str, Runner]:
    """The model as its framework's compiler makes it, under the name "compiled"; or a note."""

    def make() -> Runner:
        with quiet():
            runner = frameworks.of(model).runner(model, compiled=True)
            for batch in BATCHES:
                runner(resized(examples, batch))()
        return runner

    found = attempt("compiled", make, notes)
    return {} if found is None else {"compiled": found}


def times(
    runners: Mapping[str, Runner],
    examples: Sequence[Array],
    notes: list[str],
    *,
    rounds: int,
    seconds: float,
    threads: int,
    warm_up: int = 5,
) -> dict[str, list[Latency]]:
    """For each contender its times at BATCHES, all of them in turn."""
    found: dict[str, list[Latency]] = {name: [] for name in runners}
    for batch in BATCHES:
        parts = resized(examples, batch)
        calls = {}
        for name, prepare in runners.items():

            def ready(prepare: Runner = prepare, parts: Sequence[Array] = parts) -> Callable[[], Any]:
                call = prepare(parts)
                call()
                return call

            if call := attempt(f"{name} at batch {batch}", ready, notes):
                calls[name] = call
        measured = latencies(calls, batch=batch, rounds=rounds, warm_up=warm_up, threads=threads, seconds=seconds)
        for name, latency in measured.items():
            found[name].append(latency)
    return found


def resized(examples: Sequence[Array], batch: int) -> list[Array]:
    """So many examples: the first ones, or all of them over and over."""
    return [np.resize(part, (batch, *part.shape[1:])) for part in examples]


def macs(model: Any, examples: Sequence[Array] | None) -> int | None:
    """Multiply-accumulates for one example: the products that convolutions, dense and recurrent layers and attention
    add up. Additions of biases, activations and normalisation are not counted, zeros are."""
    return frameworks.of(model).macs(model, resized(examples, 1)) if examples is not None else None


def attempt(what: str, measure: Callable[[], T], notes: list[str]) -> T | None:
    """What `measure` gives, or None and a note."""
    try:
        return measure()
    except Exception as error:  # noqa: BLE001 - models, compilers and exporters raise what they like
        text = str(error).strip().splitlines()
        notes.append(f"Not measured: {what}: {type(error).__name__}: {text[0] if text else 'no words'}")
        return None
