"""The order in which a matrix of palette indices is coded, and what each of its bits is predicted from.

Runs wherever a packed file is written or read, both ways through the same lines. A matrix is coded column by column: a
column is what all units (neurons, filters) make of one input. So the columns before are known when a column is coded:
how dense each of them was, how dense each unit is so far, what the unit did with the neighbouring inputs. Neighbours
are the inputs just before and those `lag` before: the row above, where inputs are pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ._coder import Coder
from ._predictor import ONE, Ints, Predictor

#: Places in a palette; 0 is zero.
Symbols = npt.NDArray[np.int16]
#: Densities are told apart by these bounds, in 16ths of the matrix's own density.
BOUNDS = np.array([1, 3, 6, 10, 13, 16, 20, 26, 36, 52, 80, 130, 220], np.int64)
CLASSES = len(BOUNDS) + 1
#: Known columns before the first, all zero, so that every lag finds something.
UNSEEN = 3


def classes(densities: Ints, usual: int) -> Ints:
    """Which of the BOUNDS a density has reached, `usual` being 16."""
    return np.searchsorted(BOUNDS, densities * 16 // usual, side="right")


@dataclass(frozen=True)
class Plan:
    """What must be known before a matrix can be read."""

    units: int
    columns: int
    values: int  # entries of the palette, without zero
    nonzero: int  # how many there are
    lag: int = 1
    #: Units of the first portion of a column, each further one being twice as large; 0: all at once. Portions take more
    #: time, and let a column learn from its own beginning.
    block: int = 0


def blocks(plan: Plan) -> list[slice]:
    """In which portions the units of a column are coded."""
    ends, end = [], plan.block or plan.units
    while end < plan.units:
        ends.append(end)
        end *= 2
    return [slice(a, b) for a, b in zip([0, *ends], [*ends, plan.units], strict=True)]


def scan(coder: Coder, plan: Plan, hint: Ints, symbols: Symbols | None) -> Symbols:
    """Code `symbols` (units x columns; 0 is zero, 1… the palette's entries), or read them if None.

    `hint` gives a class (0 to 15) to each column: what is known about this input from elsewhere.
    """
    if not plan.nonzero:
        return np.zeros((plan.units, plan.columns), np.int16)
    past = UNSEEN * plan.lag
    out = np.zeros((past + plan.columns, plan.units), np.int16)
    mask = _Mask(plan, hint) if plan.nonzero < plan.units * plan.columns else None
    values = _Values(plan) if plan.values > 1 else None
    portions = blocks(plan)
    for column in range(plan.columns):
        known, now = out[: past + column], out[past + column]
        for block in portions:
            wanted = None if symbols is None else symbols[block, column]
            at = np.arange(block.start, block.stop)
            if mask is not None:
                bits = mask.code(coder, column, block, None if wanted is None else (wanted > 0).astype(np.int64))
                at = at[bits > 0]
            if values is None or not len(at):
                now[at] = 1
            else:
                chosen = None if symbols is None else symbols[at, column].astype(np.int64)
                now[at] = values.code(coder, known, at, chosen)
    found: Symbols = out[past:].T
    return found


class _Mask:
    """Which entries are not zero."""

    def __init__(self, plan: Plan, hint: Ints) -> None:
        self._lag, self._units, self._hint = plan.lag, plan.units, hint
        self._density = max(plan.nonzero * ONE // max(plan.units * plan.columns, 1), 1)
        sizes = [64, CLASSES * CLASSES, CLASSES * 12, CLASSES * 16, CLASSES * CLASSES]
        self._predictor = Predictor(sizes, self._density, direct=2)
        self._rows = np.zeros(plan.units, np.int64)
        self._past = UNSEEN * plan.lag
        self._ones = np.zeros((self._past + plan.columns, plan.units), np.int8)
        self._counts = np.zeros(self._past + plan.columns, np.int64)

    def _class(self, density: Ints) -> Ints:
        return classes(density, self._density)

    def code(self, coder: Coder, column: int, block: slice, bits: Ints | None) -> Ints:
        ones, counts, lag, now = self._ones[:, block], self._counts, self._lag, self._past + column
        above = now - lag
        shape = (
            ones[now - 1] + 2 * ones[now - 2] + 4 * ones[above]
            + 8 * ones[above - 1] + 16 * ones[above + 1] + 32 * ones[above - lag]
        )  # fmt: skip
        near = (
            ones[now - 3 : now].sum(0) + ones[above - 2 : above + 3].sum(0)
            + ones[above - lag - 1 : above - lag + 2].sum(0)
        )  # fmt: skip
        rows = (self._rows[block] * ONE + 8 * self._density) // (column + 8)
        beside = 2 * counts[now - 1] + counts[now - 2] + 2 * counts[above] + counts[above + 1] + counts[above - 1]
        beside = (beside * ONE + 16 * self._density) // (7 * self._units + 16)
        here = counts[now - 1] * ONE // self._units
        if block.start:
            here = (counts[now] * ONE + 8 * self._density) // (block.start + 8)
        columns = np.full(len(rows), here if block.start else beside)
        row, line = self._class(rows), self._class(columns)
        contexts = [
            shape,
            row * CLASSES + line,
            row * 12 + near,
            row * 16 + self._hint[column],
            line * CLASSES + self._class(np.full(len(rows), here)),
        ]
        bits = coder.code(self._predictor.predict(contexts, [rows, columns]), bits)
        self._predictor.learn(bits)
        self._rows[block] += bits
        ones[now] = bits
        counts[now] += bits.sum()
        return bits


class _Values:
    """Which entry of the palette the others are, bit by bit from the highest."""

    def __init__(self, plan: Plan) -> None:
        self._depth = (plan.values - 1).bit_length()
        self._kinds, self._lag = plan.values + 1, plan.lag
        nodes = 1 << self._depth
        self._last = np.zeros(plan.units, np.int64)
        self._middle = (plan.values + 1) // 2
        self._lean = np.zeros(plan.units, np.int64)
        sizes = [nodes, nodes * self._kinds, nodes * self._kinds, nodes * self._kinds, nodes * 9, nodes * 12]
        self._predictor = Predictor(sizes, ONE // 2)

    def code(self, coder: Coder, known: Symbols, at: Ints, wanted: Ints | None) -> Ints:
        now, lag = len(known), self._lag
        left, up = known[now - 1, at], known[now - lag, at]
        lean = self._lean[at].clip(-4, 4) + 4
        near = (known[now - 3 :, at] > 0).sum(0) + (known[now - lag - 2 : now - lag + 3, at] > 0).sum(0)
        node = np.ones(len(at), np.int64)
        for level in reversed(range(self._depth)):
            contexts = [
                node,
                node * self._kinds + left,
                node * self._kinds + up,
                node * self._kinds + self._last[at],
                node * 9 + lean,
                node * 12 + near,
            ]
            p = self._predictor.predict(contexts)
            bits = coder.code(p, None if wanted is None else ((wanted - 1) >> level) & 1)
            self._predictor.learn(bits)
            node = 2 * node + bits
        found = (node - (1 << self._depth) + 1).clip(1, self._kinds - 1)
        self._last[at] = found
        self._lean[at] += np.where(found > self._middle, 1, -1)
        return found
