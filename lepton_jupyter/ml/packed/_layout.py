"""How an array is laid out for coding: as a matrix of palette indices, and in which direction.

Runs where packed files are written; the reader is told. Bit patterns are compared, not values, so that -0.0, NaN and
denormal numbers come back as they were.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ._coder import Writer
from ._fields import In, Out, damaged
from ._predictor import Ints
from ._scan import Plan, Symbols, classes, scan

Array = npt.NDArray[Any]
#: How many items are not zero, in each unit and in each column: what later arrays may take hints from.
Counts = tuple[Ints, Ints]

#: A palette with more entries does not pay.
LARGEST_PALETTE = 256
#: Larger matrices are coded in one direction only, without trying others.
TRY_UP_TO = 1 << 20
#: Longer lags are not looked for.
LONGEST_LAG = 1024
#: The portion that is tried.
BLOCK = 8
#: A matrix with more columns is not coded: each costs a tenth of a millisecond or more, however short it is.
MOST_COLUMNS = 1 << 16


def bits_of(array: Array) -> npt.NDArray[np.unsignedinteger[Any]]:
    """The bit patterns of its items, in one dimension."""
    return np.ascontiguousarray(array).reshape(-1).view(f"u{array.dtype.itemsize}")


def matrix_shape(shape: tuple[int, ...], flipped: bool) -> tuple[int, int]:
    """(units, columns) of an array seen as a matrix; `flipped`: its last axis holds the units, as in Keras."""
    if len(shape) < 2:
        return math.prod(shape), 1
    return (shape[-1], math.prod(shape[:-1])) if flipped else (shape[0], math.prod(shape[1:]))


def to_matrix(items: Array, shape: tuple[int, ...], flipped: bool) -> Array:
    """Items in the array's order -> units x columns."""
    units, columns = matrix_shape(shape, flipped)
    return items.reshape(columns, units).T if flipped else items.reshape(units, columns)


def from_matrix(matrix: Array, flipped: bool) -> Array:
    """Units x columns -> items in the array's order."""
    return np.ascontiguousarray(matrix.T if flipped else matrix).reshape(-1)


def palette_of(items: Array, dtype: str) -> tuple[Array, Symbols]:
    """The different items other than 0 in order of value, and for each item its place there (from 1; 0 is zero).

    If there are too many for a palette, the second only says which items are not zero.
    """
    sample = np.unique(items[:: len(items) // 4096 + 1])
    different = sample if len(sample) > 2 * LARGEST_PALETTE else np.unique(items)
    palette = different[different != 0]
    if len(palette) > LARGEST_PALETTE:
        return palette, (items != 0).astype(np.int16)
    palette = palette[np.argsort(palette.view(dtype), kind="stable")]
    places = np.argsort(palette, kind="stable")
    found = np.searchsorted(palette, items, sorter=places).clip(0, max(len(palette) - 1, 0))
    return palette, np.where(items == 0, 0, places[found] + 1 if len(palette) else 0).astype(np.int16)


def narrow(palette: Array, dtype: str) -> bytes:
    """A palette as it is stored: in 16 bits an entry (mark 1) where nothing is lost by that, else as it is (mark 0)."""
    values = palette.view(dtype)
    if dtype in ("f4", "f8"):
        with np.errstate(over="ignore"):
            half = values.astype("<f2")
        if (bits_of(half.astype(dtype)) == palette).all():
            return b"\1" + half.tobytes()
    return b"\0" + palette.astype(palette.dtype.newbyteorder("<")).tobytes()


def widen(head: In, count: int, dtype: str) -> Array:
    """The palette that `narrow` stored."""
    mark = head.number(most=1)
    stored = np.dtype("<f2" if mark else f"<{dtype}")
    return bits_of(np.frombuffer(head.take(count * stored.itemsize), stored).astype(dtype))


def deflate(items: Array) -> bytes:
    """Items as they are stored alone: first all lowest bytes, then all second ones…; deflated (mark 1) if it pays."""
    width = items.dtype.itemsize
    planes = np.frombuffer(items.astype(items.dtype.newbyteorder("<")).tobytes(), "u1").reshape(-1, width).T.tobytes()
    out = Out()
    packed = zlib.compress(planes, 9)
    if len(packed) + 2 < len(planes):
        out.data.append(1)
        out.text(packed)
    else:
        out.data.append(0)
        out.data += planes
    return bytes(out.data)


def inflate(head: In, count: int, width: int) -> Array:
    """The items that `deflate` stored. Raises LeptonError if they are others in number."""
    size = count * width
    if head.number(most=1):
        stream = zlib.decompressobj()
        try:
            planes = stream.decompress(head.text(), size + 1)
        except zlib.error:
            raise damaged("its numbers can't be inflated") from None
        if len(planes) != size:
            raise damaged("there are more or fewer numbers than announced")
    else:
        planes = head.take(size)
    together = np.frombuffer(planes, "u1").reshape(width, count).T.tobytes()
    return np.frombuffer(together, f"<u{width}").astype(f"u{width}")


def counts_of(matrix: Symbols) -> Counts:
    """How many items are not zero in each unit, and in each column."""
    return np.count_nonzero(matrix, axis=1), np.count_nonzero(matrix, axis=0)


def hint_of(hint: int, before: Sequence[Counts], columns: int) -> Ints:
    """A class (0 to 15) for each column, from how full the unit of an earlier array is that this input comes from.

    `hint` is 0 for none, else 1 + 2 x the array's index, + 1 if its columns are meant and not its units.
    """
    if not hint:
        return np.zeros(columns, np.int64)
    counts = before[(hint - 1) // 2][(hint - 1) % 2]
    if not len(counts) or columns % len(counts):
        raise damaged("an array takes hints from one that can't give any")
    mean = int(counts.sum()) // len(counts) + 1
    return np.repeat(classes(counts, mean), columns // len(counts))


@dataclass(frozen=True)
class Layout:
    """The matrix, direction, lag and source of hints that were chosen, and its code: `cost` bytes of it."""

    plan: Plan
    flipped: bool
    hint: int
    matrix: Symbols
    code: Writer
    cost: float


def choose(symbols: Symbols, shape: tuple[int, ...], values: int, before: Sequence[Counts]) -> Layout:
    """The cheapest of a few layouts."""
    directions = [flipped for flipped in (False, True) if matrix_shape(shape, flipped)[1] <= MOST_COLUMNS]

    def priced(flipped: bool, lag: int = 1, hint: int = 0, block: int = 0) -> Layout:
        matrix, code = to_matrix(symbols, shape, flipped), Writer()
        units, columns = matrix.shape
        plan = Plan(units, columns, values, int(np.count_nonzero(matrix)), lag, block)
        scan(code, plan, hint_of(hint, before, plan.columns), matrix)
        return Layout(plan, flipped, hint, matrix, code, code.cost)

    if len(shape) < 2:
        return priced(False, block=BLOCK)
    if symbols.size > TRY_UP_TO:  # many short columns are slow
        return priced(min(directions, key=lambda flipped: matrix_shape(shape, flipped)[1]))
    found = [priced(flipped) for flipped in directions]
    for layout in list(found):
        if (lag := _lag(layout.matrix > 0)) > 1:
            found.append(priced(layout.flipped, lag))
    best = min(found, key=lambda layout: layout.cost)
    sources = [
        1 + 2 * index + side
        for index, pair in enumerate(before)
        for side, counts in enumerate(pair)
        if len(counts) > 1 and best.plan.columns % len(counts) == 0
    ]
    hinted = [priced(best.flipped, best.plan.lag, hint) for hint in sources[-2:]]
    best = min([best, *hinted], key=lambda layout: layout.cost)
    in_portions = priced(best.flipped, best.plan.lag, best.hint, BLOCK)
    return min(best, in_portions, key=lambda layout: layout.cost)


def _lag(mask: Array) -> int:
    """At which distance, from 2 on, items of a unit go together most: the width of a picture, often. 1 for none."""
    columns = mask.shape[1]
    if columns < 8:
        return 1
    spectrum = np.fft.rfft(mask - mask.mean(1, keepdims=True), 2 * columns)
    together = np.fft.irfft((np.abs(spectrum) ** 2).sum(0))[: min(columns // 2, LONGEST_LAG)]
    # Neighbours go together too: we want a peak of its own, not the slope of the one at 0.
    peaks = [i for i in range(2, len(together) - 1) if together[i - 1] < together[i] >= together[i + 1]]
    lag = max(peaks, key=lambda i: float(together[i]), default=1)
    return lag if together[lag] > 0.03 * together[0] else 1
