"""Which of several models are worth a look: those that no other beats in size, speed and metric all at once.

Runs in the kernel that holds the models.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .measuring import Metric, Sizes


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A model that was made, named by its steps. `speed` is how many times as fast as the model before it is."""

    name: str
    model: Any
    metric: Metric
    sizes: Sizes
    speed: float
    macs: int | None = None

    def beats(self, other: Candidate) -> bool:
        """At least as good in everything, and better in something."""
        mine, theirs = self._goods, other._goods
        return mine != theirs and all(a >= b for a, b in zip(mine, theirs, strict=True))

    def gain(self, zipped: int) -> float:
        """How often size and speed were halved and doubled against a model of so many bytes."""
        return math.log2(zipped / self.sizes.zipped) + math.log2(self.speed)

    @property
    def _goods(self) -> tuple[float, float, float]:
        return -self.sizes.zipped, self.speed, self.metric.value


def front(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those that no other beats, the smallest first."""
    everything = list(candidates)
    left = [each for each in everything if not any(other.beats(each) for other in everything)]
    return sorted(left, key=lambda each: (each.sizes.zipped, -each.speed))


def best(candidates: Iterable[Candidate], zipped: int) -> Candidate | None:
    """The one with the greatest gain; of equals the one with the better metric, so that no other beats it."""
    return max(candidates, key=lambda each: (each.gain(zipped), each.metric.value), default=None)
