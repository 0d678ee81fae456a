"""What a model costs and how good it is: sizes, time to an answer, and a metric with the room for chance around it.

Runs in the kernel that holds the model: figures are of the machine that will run it. Times are wall-clock, contenders
taken in turn, so that a busy moment hits all of them alike.
"""

from __future__ import annotations

import io
import math
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ConfigError
from . import frameworks, packed
from .frameworks._base import Array

#: Rounds of timing that there are however long they take.
FEWEST = 3
#: Two-sided 95 % of the normal distribution.
Z = 1.959964


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """In bytes. `memory`: all arrays of the model; `disk`: the file it is stored in; `zipped`: that file, deflated;
    `packed`: the .lepton file (0 where it was not written, and for a model that is a file already)."""

    parameters: int
    nonzero: int
    memory: int
    disk: int
    zipped: int
    packed: int


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One array of a model: how many of its items are not zero, and how many different values those have."""

    name: str
    shape: tuple[int, ...]
    nonzero: int
    values: int


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Milliseconds to the answer to one batch: the median of `rounds`, and the quartiles around it."""

    batch: int
    median: float
    low: float
    high: float
    rounds: int
    warm_up: int
    threads: int


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A figure of merit, higher being better; `low` to `high` is its 95 % confidence interval, where it is known."""

    value: float
    low: float | None = None
    high: float | None = None
    samples: int | None = None

    def __str__(self) -> str:
        room = "" if self.low is None or self.high is None else f" ({self.low:.4f}…{self.high:.4f})"
        return f"{self.value:.4f}{room}"


def is_file(model: Any) -> bool:
    """Whether it is a model that is a file in memory: an OnnxModel or a LiteRtModel."""
    return isinstance(getattr(model, "data", None), bytes)


def sizes(model: Any, packing: bool = True) -> Sizes:
    """Measured, not estimated: files are written (in memory) and deflated; packed, which takes long, if `packing`."""
    state = frameworks.of(model).state(model)
    if is_file(model):
        file, small = model.data, 0
    else:
        stream = io.BytesIO()
        np.savez(stream, allow_pickle=False, **{name.replace("/", "|"): array for name, array in state.items()})
        file, small = stream.getvalue(), len(packed.pack(state)) if packing else 0
    return Sizes(
        parameters=sum(array.size for array in state.values()),
        nonzero=sum(int(np.count_nonzero(array)) for array in state.values()),
        memory=sum(array.nbytes for array in state.values()),
        disk=len(file),
        zipped=len(zlib.compress(file)),
        packed=small,
    )


def layers(model: Any) -> list[Layer]:
    """What each array of the model is like."""
    found = []
    for name, array in frameworks.of(model).state(model).items():
        kept = array[array != 0]
        found.append(Layer(name=name, shape=array.shape, nonzero=kept.size, values=len(np.unique(kept))))
    return found


def latencies(
    calls: Mapping[str, Callable[[], object]],
    *,
    batch: int,
    rounds: int = 31,
    warm_up: int = 5,
    threads: int = 0,
    seconds: float = math.inf,
) -> dict[str, Latency]:
    """How long each call takes, all of them in turn in each round; `threads` is what they use.

    After so many `seconds` there are no more rounds, but FEWEST at least.
    """
    took: dict[str, list[float]] = {name: [] for name in calls}
    start = time.perf_counter()
    for turn in range(warm_up + rounds):
        if turn >= warm_up + FEWEST and time.perf_counter() - start > seconds:
            break
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            if turn >= warm_up:
                took[name].append(1000 * (time.perf_counter() - began))
    found = {}
    for name, values in took.items():
        low, median, high = (float(each) for each in np.percentile(values, [25, 50, 75]))
        found[name] = Latency(
            batch=batch, median=median, low=low, high=high, rounds=len(values), warm_up=warm_up,
            threads=threads,
        )  # fmt: skip
    return found


def metric(evaluate: Callable[[Any], float | Sequence[float] | Array], model: Any) -> Metric:
    """What `evaluate(model)` says: one number, or one for each example, which tells how far chance reaches.

    For examples that are right or wrong (1 or 0) the interval is Wilson's, else the normal one. Raises ConfigError for
    what is not finite.
    """
    said = evaluate(model)
    try:
        given = np.asarray(said, dtype=float)
    except (TypeError, ValueError):
        raise ConfigError(
            f"the metric of the model is a {type(said).__name__}, no number",
            hint="evaluate(model) must return a finite number, or one for each example.",
        ) from None
    if not given.size or not np.isfinite(given).all():
        raise ConfigError(
            f"the metric of the model is {given if given.ndim == 0 else 'not finite for some examples'}",
            hint="evaluate(model) must return a finite number, or one for each example.",
        )
    if given.ndim == 0:
        return Metric(value=float(given))
    count, mean = given.size, float(given.mean())
    if np.isin(given, (0, 1)).all():
        middle = (mean + Z * Z / (2 * count)) / (1 + Z * Z / count)
        reach = Z * math.sqrt(mean * (1 - mean) / count + Z * Z / (4 * count * count)) / (1 + Z * Z / count)
    else:
        middle, reach = mean, Z * float(given.std(ddof=1)) / math.sqrt(count) if count > 1 else math.inf
    return Metric(value=mean, low=middle - reach, high=middle + reach, samples=count)
