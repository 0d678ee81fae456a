"""Pruning: most weights become zero, little by little, while the others are trained on.

Runs in the kernel that holds the model. Which weights go is decided by their size: over all layers with LAMP (Lee et
al. 2021: a weight's square over the sum of the squares of those in its layer that are not smaller), or the same share
of each layer. How many are left falls with the cube of the time (Zhu and Gupta 2017), so that the net can adapt. Zeros
make a file smaller (ml/packed), not a model faster: that is structured.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ...errors import ConfigError
from .. import frameworks
from ..frameworks import Framework, Weight
from ..frameworks._base import Array
from ._base import Task, keep_zeros, prunable, train

#: The masks are decided anew so often while the density falls.
DECISIONS = 100


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """Leaves `density` of the weights of kernels, after `rounds` of training.

    For the first `ramp` of the time the density falls; then the net settles. `over` is "model" (LAMP) or "layer".
    `only` names the weights to prune; all kernels otherwise.
    """

    density: float = 0.1
    rounds: int = 10
    ramp: float = 0.6
    over: Literal["model", "layer"] = "model"
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.density <= 1 or self.rounds < 1 or not 0 <= self.ramp < 1:
            raise ConfigError(
                f"can't prune to a density of {self.density} in {self.rounds} rounds with a ramp of {self.ramp}",
                hint="density is above 0 and at most 1, rounds at least 1, ramp from 0 to below 1.",
            )

    def compress(self, model: Any, task: Task) -> Any:
        """See `Compressor`. Weights that were zero before stay zero."""
        framework = frameworks.of(model)
        model = framework.copy(model)
        masks = _Masks(chosen(framework.weights(model), self.only), self.over)
        start = masks.density

        def decide(left: float) -> None:
            masks.decide(min(start, self.density + (1 - self.density) * left))

        gradually(framework, model, task, self.rounds, self.ramp, decide, masks.apply)
        return model


def chosen(weights: list[Weight], only: tuple[str, ...]) -> list[Weight]:
    """The weights named in `only`, or all kernels. Raises ConfigError for a name no weight has, and if none is left."""
    unknown = sorted(set(only) - {weight.name for weight in weights})
    if unknown:
        raise ConfigError(
            f"the model has no weight {', '.join(map(repr, unknown))}",
            hint=f"It has {', '.join(repr(weight.name) for weight in weights)}.",
        )
    found = [weight for weight in weights if (weight.name in only if only else prunable(weight))]
    if not found:
        raise ConfigError("the model has no kernels to prune", hint="Kernels are weights of two or more axes.")
    return found


def gradually(
    framework: Framework,
    model: Any,
    task: Task,
    rounds: int,
    ramp: float,
    decide: Callable[[float], None],
    apply: Callable[[], None],
) -> None:
    """Train, and after each step `apply` what was decided last; what is zero at the start stays zero.

    `decide(left)` is told how much of what shall go may still stay: it falls from 1 to 0 with the cube of the time, in
    the share `ramp` of the training.
    """
    decided = -1.0
    hold = keep_zeros(framework.weights(model))

    def after(progress: float) -> None:
        nonlocal decided
        hold()
        way = min(progress / ramp, 1) if ramp else 1.0
        if way - decided >= 1 / DECISIONS or (way == 1 and decided < 1):
            decided = way
            decide((1 - way) ** 3)
        apply()

    train(framework, model, task, rounds, after)
    decide(0)
    apply()


class _Masks:
    def __init__(self, weights: list[Weight], over: str) -> None:
        self._weights, self._over = weights, over
        self._holds = [weight.hold(weight.read() != 0) for weight in weights]

    @property
    def density(self) -> float:
        arrays = [weight.read() for weight in self._weights]
        return sum(np.count_nonzero(array) for array in arrays) / sum(array.size for array in arrays)

    def decide(self, density: float) -> None:
        """The masks that leave this share of the weights."""
        arrays = [weight.read() for weight in self._weights]
        scores = [lamp(array) if self._over == "model" else np.abs(array) for array in arrays]
        groups = [scores] if self._over == "model" else [[score] for score in scores]
        bounds = []
        for group in groups:
            together = np.concatenate([score.ravel() for score in group])
            leave = max(round(density * len(together)), 1)
            bounds += [np.partition(together, len(together) - leave)[len(together) - leave]] * len(group)
        self._holds = [
            weight.hold((score >= bound) & (array != 0))
            for weight, score, bound, array in zip(self._weights, scores, bounds, arrays, strict=True)
        ]

    def apply(self) -> None:
        """Set to zero what is masked."""
        for zero in self._holds:
            zero()


def lamp(array: Array) -> npt.NDArray[np.float64]:
    """How much each weight matters among its layer's; the largest of every layer has 1, so that no layer dies."""
    squares = array.astype(np.float64).ravel() ** 2
    order = np.argsort(squares)
    scores = np.empty_like(squares)
    left = np.cumsum(squares[order][::-1])[::-1]
    scores[order] = squares[order] / np.maximum(left, np.finfo(float).tiny)
    return scores.reshape(array.shape)


PLUGIN = Pruning
