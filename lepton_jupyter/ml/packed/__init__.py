"""The packed file, `.lepton`: arrays at the price of what they say.

Runs in any Python with numpy and `constriction`. Made for networks that were pruned and whose weights share values:
which entries are not zero and which value of the palette each has is coded with adaptive probabilities, everything else
is deflated. What is read is bit for bit what was written; nothing in a file is ever executed. Every byte is described
in docs/lepton-file.md.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import LeptonError
from . import _entry
from ._coder import Reader, Writer
from ._fields import In, Out, damaged
from ._layout import Array, Counts, bits_of

__all__ = ["Packed", "load", "pack", "save", "unpack"]

MAGIC = b"\x93LPT"
VERSION = 1
#: The memory that unpack takes at most, in bytes, unless told otherwise.
LIMIT = 1 << 30


@dataclass(frozen=True)
class Packed:
    """What is in a packed file: arrays by name, and a few words about them."""

    arrays: dict[str, Array]
    meta: dict[str, Any] = field(default_factory=dict)


def pack(arrays: Mapping[str, Array], meta: Mapping[str, Any] | None = None) -> bytes:
    """A packed file of these arrays, in this order; `meta` is anything that JSON can say.

    Raises ConfigError for an array whose kind of number the format does not know, MissingDependency without
    `constriction`.
    """
    head, coder = Out(), Writer()
    head.data += MAGIC + bytes([VERSION])
    head.text(json.dumps(meta, separators=(",", ":")).encode() if meta else b"")
    head.number(len(arrays))
    seen: dict[bytes, int] = {}
    counts: list[Counts] = []
    before = b""
    for index, (name, array) in enumerate(arrays.items()):
        array = np.asarray(array)
        _entry.check(array, name)
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        text = name.encode()
        shared = len(os.path.commonprefix([before, text]))  # noqa: RUF071 - bytes, not folders
        head.number(shared)
        head.text(text[shared:])
        before = text
        key = hashlib.sha256(repr((array.dtype.str, array.shape)).encode() + bits_of(array).tobytes()).digest()
        if key in seen:
            _entry.write_same(head, seen[key])
            counts.append(counts[seen[key]])
        else:
            seen[key] = index
            counts.append(_entry.write(head, coder, array, counts))
    body = bytes(head.data) + coder.finish()
    return body + zlib.crc32(body).to_bytes(4, "little")


def unpack(data: bytes, *, limit: int = LIMIT) -> Packed:
    """The arrays of a packed file, bit for bit as they were.

    Raises LeptonError for a file that is damaged, of a newer version, or would take more than `limit` bytes.
    """
    if data[:4] != MAGIC:
        raise LeptonError("this is not a packed file", hint="A .lepton file begins with the bytes 93 4C 50 54.")
    if data[4:5] != bytes([VERSION]):
        raise LeptonError(
            f"the packed file has version {data[4] if len(data) > 4 else '?'}; this lepton_jupyter reads {VERSION}",
            hint="Upgrade it: pip install -U lepton-jupyter",
        )
    if len(data) < 9 or zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
        raise damaged("its checksum is wrong")
    head = In(data[5:-4])
    meta = _meta(head.text())
    names: dict[str, None] = {}
    entries: list[_entry.Entry] = []
    before = b""
    for _ in range(head.number()):
        before = before[: head.number(most=len(before))] + head.text()
        entries.append(_entry.read(head, entries, limit))
        limit -= entries[-1].room
        try:
            name = before.decode()
        except UnicodeDecodeError:
            raise damaged("a name is no text") from None
        if name in names:
            raise damaged("two arrays have the same name")
        names[name] = None
    code = Reader(head.rest())
    arrays: list[Array] = []
    counts: list[Counts] = []
    for entry in entries:
        array, count = entry.make(code, arrays, counts)
        arrays.append(array)
        counts.append(count)
    return Packed(dict(zip(names, arrays, strict=True)), meta)


def save(path: str | os.PathLike[str], arrays: Mapping[str, Array], meta: Mapping[str, Any] | None = None) -> int:
    """Write a packed file, whole or not at all; returns its size in bytes."""
    data = pack(arrays, meta)
    part = Path(f"{os.fspath(path)}.part{os.getpid()}")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return len(data)


def load(path: str | os.PathLike[str], *, limit: int = LIMIT) -> Packed:
    """Read a packed file: see `unpack`."""
    return unpack(Path(path).read_bytes(), limit=limit)


def _meta(text: bytes) -> dict[str, Any]:
    try:
        meta = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        raise damaged("its description is no JSON") from None
    if not isinstance(meta, dict):
        raise damaged("its description is no object")
    return meta
