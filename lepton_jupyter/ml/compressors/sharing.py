"""Weight sharing: each layer keeps a palette of a few values, and all its weights take one of them.

Runs in the kernel that holds the model. The palettes begin with k-means (Han et al. 2016) and are trained on: each
weight has a latent value that takes the optimizer's steps (the straight-through way); after each step it takes the
palette's nearest value, and each value of the palette becomes the mean of the latent values that chose it. Zeros stay
zero and cost no place. A packed file (ml/packed) stores such layers at a few bits a weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import ConfigError
from .. import frameworks
from ..frameworks import Weight
from ..frameworks._base import Array
from ._base import Task, keep_zeros, prunable, train

TINY = np.float32(np.finfo(np.float16).smallest_subnormal)
#: Rounds of Lloyd's algorithm at the start.
LLOYD = 30


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """Gives each kernel a palette of 2^`bits` values, each bias one of 2^`bias_bits`; trained on for `rounds`.

    Palettes are exact in 16 bits. Weights with fewer items than their palette are only rounded to 16 bits.
    """

    bits: int = 4
    bias_bits: int = 8
    rounds: int = 4

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 8 or not 1 <= self.bias_bits <= 8 or self.rounds < 0:
            raise ConfigError("palettes have 1 to 8 bits", hint="4 bits lose little, 3 with a few more rounds.")

    def compress(self, model: Any, task: Task) -> Any:
        """See `Compressor`."""
        framework = frameworks.of(model)
        model = framework.copy(model)
        weights = framework.weights(model)
        hold = keep_zeros(weights)
        palettes = [Palette(weight, 1 << (self.bits if prunable(weight) else self.bias_bits)) for weight in weights]

        def after(progress: float) -> None:
            hold()
            for palette in palettes:
                palette.follow(progress > 0.7)

        if self.rounds:
            train(framework, model, task, self.rounds, after)
        return model


class Palette:
    """The shared values of one weight."""

    def __init__(self, weight: Weight, count: int) -> None:
        flat = weight.read().ravel()
        places = np.flatnonzero(flat)
        self._items = weight.items(places)
        self._latent = flat[places].astype(np.float64)
        self._values = start(self._latent, count)
        self._choice = self._nearest()
        self._show()

    def follow(self, settled: bool = False) -> None:
        """Take in the optimizer's step; once `settled`, weights keep their choice and only the palette moves."""
        self._latent += self._items.read() - self._shown
        if not settled:
            self._choice = self._nearest()
        self._values = means(self._latent, self._choice, self._values)
        if settled:
            self._latent = self._values[self._choice]
        self._show()

    def _nearest(self) -> Array:
        return np.searchsorted((self._values[1:] + self._values[:-1]) / 2, self._latent)

    def _show(self) -> None:
        self._shown = half(self._values)[self._choice]
        self._items.write(self._shown)


def half(values: Array) -> Array:
    """As 16 bits can say it. Raises ConfigError for what is too large for that."""
    rounded = values.astype(np.float16).astype(np.float32)
    if not np.isfinite(rounded).all():
        raise ConfigError(
            "a weight is not finite, or too large for 16 bits", hint="Look at the training; try a smaller rate."
        )
    # What rounds to zero would no longer be stored as one of the palette's values.
    return np.where(rounded == 0, TINY, rounded)


def start(latent: Array, count: int) -> Array:
    """k-means of numbers: at most `count` values, in order."""
    different = np.unique(latent)
    if len(different) <= count:
        return different
    values = np.linspace(different[0], different[-1], count)
    for _ in range(LLOYD):
        values = means(latent, np.searchsorted((values[1:] + values[:-1]) / 2, latent), values)
    return values


def means(latent: Array, choice: Array, values: Array) -> Array:
    """The mean of those who chose each value; where nobody did, the value. In order."""
    counts = np.bincount(choice, minlength=len(values))
    sums = np.bincount(choice, latent, minlength=len(values))
    return np.where(counts > 0, sums / np.maximum(counts, 1), values)


PLUGIN = Sharing
