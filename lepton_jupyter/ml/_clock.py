"""Time that may be used, and training that looks at the clock after each step.

Runs in the kernel that holds the model.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import ConfigError
from .frameworks import Framework
from .frameworks._base import Array

_UNITS = {"s": 1, "m": 60, "h": 3600}
#: Steps of one round at the fewest and at the most: a round shall mean something, and not last long.
FEWEST, MOST = 60, 200


class OutOfTime(Exception):
    """The time is used up; what was going on is given up."""


def seconds(budget: float | str) -> float:
    """Seconds of 90, "90s", "5m", "1h" or "1h30m". Raises ConfigError with examples."""
    if isinstance(budget, str):
        compact = budget.replace(" ", "").lower()
        if not re.fullmatch(r"([0-9.]+[smh])+", compact):
            raise ConfigError(f"{budget!r} is not a time", hint='Write a number and a unit: "90s", "5m", "1h".')
        budget = sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9.]+)([smh])", compact))
    if not 0 < budget < math.inf:
        raise ConfigError(f"a budget of {budget} s is none", hint='Write a number and a unit: "90s", "5m", "1h".')
    return float(budget)


class Clock:
    """How much of the time is left, and how long pieces of work took that can't be stopped half-way."""

    def __init__(self, budget: float) -> None:
        self.budget = budget
        #: Seconds at the end that are for something else.
        self.reserve = 0.0
        self._began = time.monotonic()
        self._took: dict[str, float] = {}

    @property
    def gone(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    @property
    def left(self) -> float:
        """Seconds until the time is used up; negative after that."""
        return self.budget - self.reserve - self.gone

    def took(self, kind: str) -> float:
        """Seconds of the longest piece of this kind so far."""
        return self._took.get(kind, 0.0)

    def check(self) -> None:
        """Raise OutOfTime if the time is used up."""
        if self.left <= 0:
            raise OutOfTime

    @contextmanager
    def piece(self, kind: str, *, last: bool = False) -> Iterator[None]:
        """Within: work that can't be stopped. It is not begun if the longest of its kind would not fit any more.

        Raises OutOfTime then. The `last` pieces, without which all before were in vain, may also use the reserve.
        """
        if self.left + (self.reserve if last else 0) <= self.took(kind):
            raise OutOfTime
        began = time.monotonic()
        yield
        self._took[kind] = max(self.took(kind), time.monotonic() - began)


class Rounds:
    """`rounds(model)` trains it for one round with Adam, of `count` rounds in which the rate falls to a tenth.

    A round is a pass over the data, but has FEWEST steps at least and MOST at most. `check()` is called after each step
    and may raise.
    """

    def __init__(
        self,
        framework: Framework,
        data: Sequence[Array],
        loss: Callable[..., Any],
        *,
        count: int,
        rate: float,
        seed: int,
        check: Callable[[], None],
    ) -> None:
        self._framework, self._data, self._loss = framework, data, loss
        self._rate, self._check = rate, check
        self._batch = min(max(len(data[0]) // 40, 16), 128)
        self._steps = min(max(math.ceil(len(data[0]) / self._batch), FEWEST), MOST)
        self._total = count * self._steps
        self._chance = np.random.default_rng(seed)
        self._places = np.zeros(0, np.int64)
        self._model: Any = None
        self._done = 0

    def __call__(self, model: Any) -> None:
        if model is not self._model:
            self._model, self._step = model, self._framework.trainer(model, self._loss)
        for _ in range(self._steps):
            rate = self._rate * (1 - 0.9 * min(self._done / self._total, 1))
            self._done += 1
            if not math.isfinite(self._step(rate, self._next())):
                raise ConfigError("the loss is not a finite number", hint="Look at the data and at loss=.")
            self._check()

    def _next(self) -> tuple[Array, ...]:
        if len(self._places) < self._batch:
            self._places = np.concatenate([self._places, self._chance.permutation(len(self._data[0]))])
        chosen, self._places = self._places[: self._batch], self._places[self._batch :]
        return tuple(part[chosen] for part in self._data)
