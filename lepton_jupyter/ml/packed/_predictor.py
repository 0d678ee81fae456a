"""How likely the next bits are 1: several adaptive contexts at once, joined by logistic mixing.

Runs wherever a packed file is written or read. Whoever reads must compute exactly the numbers of whoever wrote, on any
machine, so all of this is integer arithmetic. Probabilities are 16 bits wide; "stretched" ones are ln(p / (1 - p)) in
units of 1/256. A whole batch of bits is predicted from the same state, then the state learns from all of them.

The idea is Mahoney's context mixing (PAQ); the batches are ours, since numpy is slow with single bits.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ...errors import LeptonError

Ints = npt.NDArray[np.int64]

ONE = 1 << 16
#: Stretched probabilities end here: 11 in units of 1/256, about 1 in 60,000.
REACH = 2816
#: A counter's unit is 1/32 of an observation; above this many observations the older ones lose weight.
UNIT = 32
MEMORY = 1023 * UNIT
#: No input of the mixture counts more than this.
STEEP = 16 * ONE
#: CRC-32 of the tables below. Logarithms may differ in the last digit between machines; after rounding they must not.
TABLES = 0x07E019C0


@lru_cache(maxsize=1)
def tables() -> tuple[Ints, Ints]:
    """(stretch, squash): probability -> stretched, and stretched + REACH -> probability.

    Raises LeptonError if this machine's logarithm gives other tables than the format's.
    """
    p = np.arange(1, ONE) / ONE
    stretch = np.concatenate([[-REACH], np.round(256 * np.log(p / (1 - p)))]).astype(np.int64)
    squash = np.round(ONE / (1 + np.exp(-np.arange(-REACH, REACH + 1) / 256))).astype(np.int64)
    stretch, squash = stretch.clip(-REACH, REACH), squash.clip(1, ONE - 1)
    if zlib.crc32(stretch.astype("<i4").tobytes() + squash.astype("<i4").tobytes()) != TABLES:
        raise LeptonError("this machine's numpy computes logarithms too coarsely to read or write packed files")
    return stretch, squash


class Predictor:
    """A probability for each bit of a batch, learned from the bits before.

    `sizes` are the numbers of values of each context, `prior` the probability of a 1 (16 bits) where nothing is known
    yet, `direct` how many further estimates the caller will give.
    """

    def __init__(self, sizes: Sequence[int], prior: int, direct: int = 0, rate: int = 18) -> None:
        self._stretch, self._squash = tables()
        self._starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)[:, None]
        ones = min(max(prior * UNIT // ONE, 1), UNIT - 1)
        self._ones = np.full(sum(sizes), ones, np.int64)
        self._all = np.full(sum(sizes), UNIT, np.int64)
        inputs = len(sizes) + direct
        self._weights = np.full(inputs, ONE * 4 // (3 * inputs), np.int64)
        self._rate = rate
        self._at = self._inputs = self._p = np.zeros(0, np.int64)

    def predict(self, contexts: Sequence[Ints], direct: Sequence[Ints] = ()) -> Ints:
        """The probabilities (1 to 65,535) that the bits of this batch are 1."""
        self._at = np.array(contexts) + self._starts
        p = self._ones[self._at] * ONE // self._all[self._at]
        if direct:
            p = np.concatenate([p, np.array(direct)])
        self._inputs = self._stretch[np.minimum(p, ONE - 1)]
        mixed = (self._weights @ self._inputs) >> 16
        self._p = self._squash[np.minimum(np.maximum(mixed, -REACH), REACH) + REACH]
        return self._p

    def learn(self, bits: Ints) -> None:
        """Take in what the bits of the last `predict` really were."""
        errors = (bits << 16) - self._p
        step = (self._inputs @ errors) >> (self._rate + (len(bits) >> 8).bit_length())
        self._weights = np.minimum(np.maximum(self._weights + step, -STEEP), STEEP)
        np.add.at(self._all, self._at, UNIT)
        np.add.at(self._ones, self._at, np.full(self._at.shape, bits * UNIT))  # broadcasting within `at` reads wild
        while (full := self._at[self._all[self._at] > MEMORY]).size:
            self._ones[full] = np.maximum(self._ones[full] >> 1, 1)
            self._all[full] >>= 1
