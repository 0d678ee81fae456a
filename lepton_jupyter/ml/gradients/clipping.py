"""AutoClip: gradients are cut to a length that most of those before them had.

Seetharaman, Wichern, Pardo, Le Roux 2020, "AutoClip: Adaptive Gradient Clipping for Source Separation Networks"
(arXiv:2007.14469): the limit is the 10th percentile of all norms so far.
"""

from __future__ import annotations

import bisect
import math

PERCENTILE = 10.0
#: Norms that are remembered: the paper's all, as far as they cost nothing.
MOST = 10_000


class AutoClip:
    """The norms of one optimizer's gradients."""

    def __init__(self, percentile: float = PERCENTILE) -> None:
        self._share = percentile / 100
        self._sorted: list[float] = []

    def limit(self, norm: float) -> float:
        """Note a norm; to what length its gradients are to be cut. The norm itself counts, as in the paper."""
        if len(self._sorted) < MOST:
            bisect.insort(self._sorted, norm)
        place = self._share * (len(self._sorted) - 1)
        low = math.floor(place)
        high = min(low + 1, len(self._sorted) - 1)
        return self._sorted[low] + (place - low) * (self._sorted[high] - self._sorted[low])
