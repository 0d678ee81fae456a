"""An array of nothing but texts, None and NaN as one run of UTF-8: what a column of texts is in NumPy. Both ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import Malformed
from .codec import library

if TYPE_CHECKING:
    from .unpacker import Unpacker

#: In a column of texts: what each element is.
_TEXT, _NONE, _NAN = 0, 1, 2


def pack_texts(flat: Any) -> tuple[Any, Any, bytes] | None:
    """(what each is, where each ends, all of them in UTF-8) of an array of nothing but str, None and NaN; else None."""
    numpy = library("numpy")
    if not flat.size:
        return None
    kinds = numpy.zeros(flat.size, numpy.uint8)
    lengths = numpy.zeros(flat.size, numpy.int64)
    texts: list[bytes] = []
    for index, value in enumerate(flat):
        if type(value) is str:
            encoded = value.encode("utf-8", "surrogatepass")
            texts.append(encoded)
            lengths[index] = len(encoded)
        elif value is None:
            kinds[index] = _NONE
        elif value is numpy.nan:
            kinds[index] = _NAN
        else:
            return None
    return kinds, numpy.cumsum(lengths), b"".join(texts)


def unpack_texts(kinds: Any, ends: Any, texts: Any, src: Unpacker) -> list[Any]:
    """The texts again. Raises Malformed."""
    numpy = library("numpy")
    special = {_NONE: None, _NAN: numpy.nan}
    which, stops, data = src.bytes(kinds), numpy.frombuffer(src.bytes(ends), numpy.int64).tolist(), src.bytes(texts)
    if len(which) != len(stops):
        raise Malformed("texts with more ends than kinds, or fewer")
    found: list[Any] = []
    start = 0
    for kind, stop in zip(which, stops):
        if not start <= stop <= len(data):
            raise Malformed("a text beyond the end")
        found.append(data[start:stop].decode("utf-8", "surrogatepass") if kind == _TEXT else special[kind])
        start = stop
    return found
