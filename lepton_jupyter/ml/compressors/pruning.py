"""Pruning: most weights become zero, little by little, while the others are trained on.

Runs in the kernel that holds the model. Which weights go is decided by their size: over all layers with LAMP (Lee et
al. 2021: a weight's square over the sum of the squares of those in its layer that are not smaller), or the same share
of each layer. How many are left falls with the cube of the time (Zhu and Gupta 2017), so that the net can adapt. Zeros
make a file smaller (ml/packed), not a model faster: that is structured.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ...errors import ConfigError
from .. import frameworks
from ..frameworks import Weight
from ..frameworks._base import Array
from ._base import Task, prunable, train

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
        weights = [weight for weight in framework.weights(model) if self._wanted(weight)]
        if not weights:
            raise ConfigError("the model has no kernels to prune", hint="Kernels are weights of two or more axes.")
        masks = _Masks(weights, self.over)
        start = masks.density
        decided = -1.0

        def after(progress: float) -> None:
            nonlocal decided
            way = min(progress / self.ramp, 1) if self.ramp else 1.0
            if way - decided >= 1 / DECISIONS or (way == 1 and decided < 1):
                decided = way
                masks.decide(min(start, self.density + (1 - self.density) * (1 - way) ** 3))
            masks.apply()

        train(framework, model, task, self.rounds, after)
        masks.decide(min(start, self.density))
        masks.apply()
        return model

    def _wanted(self, weight: Weight) -> bool:
        return weight.name in self.only if self.only else prunable(weight)


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
