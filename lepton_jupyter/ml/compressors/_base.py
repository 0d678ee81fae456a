"""What a compressor is, and what it is told.

Runs in the kernel that holds the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ...errors import ConfigError
from ..frameworks import Framework, Weight
from ..frameworks._base import Array
from ._seeding import seeded


@dataclass(frozen=True, kw_only=True)
class Task:
    """What the user gives: how the model is trained further, or the data and the loss to do it with.

    `train(model)` is one round of training, an epoch perhaps, with any optimizer; it is called once for each round.
    Without it, a round is one pass over `data` (arrays of equal length; the last is what the model should answer) in
    batches, with Adam; `loss(model, *batch)` is what shall shrink. With a `teacher`, `alpha` of the loss is how far the
    logits, softened by `temperature`, are from the teacher's.
    """

    train: Callable[[Any], object] | None = None
    data: tuple[Array, ...] | None = None
    loss: Callable[..., Any] | None = None
    rate: float = 1e-3
    batch: int = 128
    seed: int = 0
    teacher: Any = None
    temperature: float = 3.0
    alpha: float = 0.5

    def samples(self, count: int) -> tuple[Array, ...]:
        """So many inputs (all of `data` but the last), drawn with the seed. Raises ConfigError without data."""
        if self.data is None or len(self.data) < 2:
            raise ConfigError("this needs examples of the model's inputs", hint="Give data=(inputs, targets).")
        chosen = np.random.default_rng(self.seed).permutation(len(self.data[0]))[:count]
        return tuple(part[chosen] for part in self.data[:-1])


class Compressor(Protocol):
    """One way to make a model smaller or faster. Its options are its fields."""

    def compress(self, model: Any, task: Task) -> Any:
        """A compressed copy of the model; the model itself stays as it is.

        Raises ConfigError where an option or the task does not fit, MissingDependency for a package that is absent.
        """


def train(
    framework: Framework, model: Any, task: Task, rounds: int, after: Callable[[float], None] | None = None
) -> None:
    """Train the model for so many rounds; `after(progress)` is called after each step, progress rising from 0 to 1.

    All random numbers are those of the task's seed. How many steps a user's own round takes is known after the first;
    until then progress stays near its start.
    """
    if task.train is None and (task.data is None or task.loss is None):
        raise ConfigError(
            "compressing needs to train the model a little further",
            hint="Give train=, your own function that trains a model for one round, or data= and loss=.",
        )
    done, of_round, current = 0, 0, 0

    def count() -> None:
        nonlocal done
        done += 1
        if after is not None:
            after(min((current + (min(done / of_round, 1) if of_round else 0)) / rounds, 1))

    with seeded(task.seed), framework.after_each_step(model, count):
        if task.train is None:
            of_round = math.ceil(len(_data(task)[0]) / task.batch)
            loss = task.loss or _no_loss
            if task.teacher is not None:
                loss = framework.distilled(loss, task.teacher, task.temperature, task.alpha)
            step = framework.trainer(model, loss)
        for current in range(rounds):
            done = 0
            if task.train is not None:
                task.train(model)
                if not done:
                    raise ConfigError(
                        "the training function made no step of an optimizer that trains the model it was given",
                        hint="train(model) must train this very model, not another.",
                    )
                of_round = done
                continue
            for batch in _batches(task, current):
                # Linearly down to a tenth: what is pruned or shared last has to settle.
                rate = task.rate * (1 - 0.9 * (current + done / of_round) / rounds)
                if not math.isfinite(step(rate, batch)):
                    raise ConfigError(
                        "the loss is not a finite number", hint="Look at the data, or give a smaller rate."
                    )


def prunable(weight: Weight) -> bool:
    """Kernels are; biases, scales and shifts are too few and matter too much."""
    return len(weight.shape) >= 2


def keep_zeros(weights: list[Weight]) -> Callable[[], None]:
    """What sets to zero again whatever is zero now, if a compressor before us pruned."""
    holds = [weight.hold(array != 0) for weight in weights if prunable(weight) and not (array := weight.read()).all()]

    def hold() -> None:
        for zero in holds:
            zero()

    return hold


def _data(task: Task) -> tuple[Array, ...]:
    assert task.data is not None
    return task.data


def _no_loss(*_: Any) -> Any:
    raise AssertionError("train() has checked that there is a loss")


def _batches(task: Task, current: int) -> Iterator[tuple[Array, ...]]:
    data = _data(task)
    order = np.random.default_rng((task.seed, current)).permutation(len(data[0]))
    for start in range(0, len(order), task.batch):
        chosen = order[start : start + task.batch]
        yield tuple(part[chosen] for part in data)
