"""One array of a packed file: its fields in the header, and its part of the code.

Runs wherever a packed file is written or read. Four kinds: raw (deflated), the same as an earlier one, sparse (which
items are not zero is coded, their values are deflated), palette (all is coded).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import ConfigError
from ._coder import Reader, Writer
from ._fields import In, Out, damaged
from ._layout import (
    LARGEST_PALETTE,
    LONGEST_LAG,
    MOST_COLUMNS,
    Array,
    Counts,
    bits_of,
    choose,
    counts_of,
    deflate,
    from_matrix,
    hint_of,
    inflate,
    matrix_shape,
    narrow,
    palette_of,
    widen,
)
from ._scan import Plan, scan

DTYPES = ("b1", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8")
RAW, SAME, SPARSE, PALETTE = range(4)
#: Smaller arrays are not worth a plan.
SMALL = 4
NOTHING: Counts = (np.zeros(0, np.int64), np.zeros(0, np.int64))


@dataclass(frozen=True)
class Entry:
    """An array as the header describes it."""

    kind: int
    dtype: str
    shape: tuple[int, ...]
    #: Memory that making it takes, in bytes.
    room: int
    #: SAME: which one. PALETTE, SPARSE: where its hints come from.
    other: int = 0
    #: RAW: the items; SPARSE: those that are not zero; PALETTE: the palette. Bit patterns.
    values: Array | None = None
    plan: Plan | None = None
    flipped: bool = False

    def make(self, code: Reader, arrays: Sequence[Array], counts: Sequence[Counts]) -> tuple[Array, Counts]:
        """The array, the rest of it read from the code. Raises LeptonError if that is damaged.

        `arrays` and `counts` are those of the entries before.
        """
        if self.kind == SAME:
            return arrays[self.other].copy(), counts[self.other]
        assert self.values is not None
        if self.plan is None:
            return self.values.view(self.dtype).reshape(self.shape), NOTHING
        symbols = scan(code, self.plan, hint_of(self.other, counts, self.plan.columns), None)
        if np.count_nonzero(symbols) != self.plan.nonzero:
            raise damaged("an array has more or fewer items than announced")
        items = from_matrix(symbols, self.flipped)
        if self.kind == PALETTE:
            made = np.concatenate([np.zeros(1, self.values.dtype), self.values])[items]
        else:
            made = np.zeros(len(items), self.values.dtype)
            made[items > 0] = self.values
        return made.view(self.dtype).reshape(self.shape), counts_of(symbols)


def check(array: Array, name: str) -> None:
    """Raises ConfigError for a kind of number that the format does not know."""
    if array.dtype.str[1:] not in DTYPES:
        raise ConfigError(
            f"the array {name!r} holds {array.dtype}, which a packed file can't hold",
            hint=f"It holds {', '.join(np.dtype(dtype).name for dtype in DTYPES)}.",
        )


def write(head: Out, code: Writer, array: Array, before: Sequence[Counts]) -> Counts:
    """Add an array, in this machine's order of bytes, to a file."""
    dtype = array.dtype.str[1:]
    items = bits_of(array)
    raw = deflate(items)
    palette, symbols = palette_of(items, dtype)
    kind = PALETTE if len(palette) <= LARGEST_PALETTE else SPARSE
    narrowest = min(matrix_shape(array.shape, flipped)[1] for flipped in (False, True))
    pays = kind == PALETTE or np.count_nonzero(symbols) < 0.95 * array.size
    if pays and array.size >= SMALL and narrowest <= MOST_COLUMNS:
        values = narrow(palette, dtype) if kind == PALETTE else deflate(items[symbols > 0])
        count = len(palette) if kind == PALETTE else 1
        found = choose(symbols, array.shape, count, before)
        if found.cost + len(values) < len(raw):
            _start(head, kind, dtype, array.shape)
            for number in (2 * found.plan.lag + found.flipped, found.hint, found.plan.nonzero, found.plan.block):
                head.number(number)
            if kind == PALETTE:
                head.number(count)
            head.data += values
            code.append(found.code)
            return counts_of(found.matrix)
    _start(head, RAW, dtype, array.shape)
    head.data += raw
    return NOTHING


def write_same(head: Out, index: int) -> None:
    """Add an array that equals the one with this index."""
    head.data.append(SAME << 4)
    head.number(index)


def read(head: In, before: Sequence[Entry], room: int) -> Entry:
    """What `write` wrote. Raises LeptonError if it is damaged, or if the array would take more than `room` bytes."""
    first = head.take(1)[0]
    kind, number = first >> 4, first & 15
    if kind > PALETTE or number >= len(DTYPES):
        raise damaged("an array is of an unknown kind")
    if kind == SAME:
        other = head.number()
        if other >= len(before):
            raise damaged("an array refers to one that does not come before it")
        same = before[other]
        needs = _room(math.prod(same.shape) * np.dtype(same.dtype).itemsize, room)
        return Entry(SAME, same.dtype, same.shape, needs, other)
    dtype = DTYPES[number]
    shape = tuple(head.number() for _ in range(head.number(most=32)))
    size, width = math.prod(shape), np.dtype(dtype).itemsize
    needs = _room(size * width, room)
    if kind == RAW:
        values = inflate(head, size, width)
        if dtype == "b1" and values.max(initial=0) > 1:
            raise damaged("a truth value is neither true nor false")
        return Entry(RAW, dtype, shape, needs, values=values)
    lag, flipped = divmod(head.number(), 2)
    other, nonzero, block = head.number(), head.number(), head.number()
    units, columns = matrix_shape(shape, bool(flipped))
    if not 0 < lag <= LONGEST_LAG or columns > MOST_COLUMNS or nonzero > size or other > 2 * len(before) or not size:
        raise damaged("the plan of an array makes no sense")
    needs = _room(size * width + 3 * units * (columns + 3 * lag), room)
    count = 1
    if kind == PALETTE:
        count = head.number(most=LARGEST_PALETTE)
        values = widen(head, count, dtype)
    else:
        values = inflate(head, nonzero, width)
    plan = Plan(units, columns, count, nonzero, lag, block)
    return Entry(kind, dtype, shape, needs, other, values, plan, bool(flipped))


def _start(head: Out, kind: int, dtype: str, shape: tuple[int, ...]) -> None:
    head.data.append(kind << 4 | DTYPES.index(dtype))
    head.number(len(shape))
    for length in shape:
        head.number(length)


def _room(needs: int, room: int) -> int:
    if needs > room:
        raise damaged(
            f"it claims arrays that take {needs:,} bytes, more than allowed",
            hint="If you trust it, allow more: limit=BYTES.",
        )
    return needs
