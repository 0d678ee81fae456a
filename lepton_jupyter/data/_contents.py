"""The contents of a set's files, out of blobs of their own or out of packs (`_packing`). Runs on both ends.

What a pack has for a file is checked against the file's own digest: where it lies in there is the other end's word.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping
from typing import Any

from ..errors import WireError
from ._tree import Source, shown

#: No pack is larger (`_packing.FULL` and one more file), and so many are kept in memory.
_LARGEST, _KEPT = 8 << 20, 4
_PIECE = 1 << 20


class Contents:
    """What is in the files of a tree; `packs` is pack → content → where it begins in it.

    Raises WireError for packs of another form.
    """

    def __init__(self, blobs: Source, packs: Any = None) -> None:
        self._blobs = blobs
        self._places: dict[str, tuple[str, int]] = {}
        self._packs: dict[str, bytes] = {}  # the packs that were used last
        if not isinstance(packs or {}, Mapping):
            raise WireError("the packs of a set of files have the wrong form; nothing was written")
        for pack, places in (packs or {}).items():
            if not isinstance(places, Mapping) or not all(type(at) is int and at >= 0 for at in places.values()):
                raise WireError("the packs of a set of files have the wrong form; nothing was written")
            self._places.update({digest: (pack, at) for digest, at in places.items()})

    def check(self, path: str, digest: str, size: int) -> None:
        """Raises WireError when there is no content of that size, and what the store raises when it is missing."""
        if digest in self._places:
            pack, offset = self._places[digest]
            if offset + size <= len(self._pack(pack)):
                return
        elif os.stat(self._blobs.path(digest)).st_size == size:
            return
        raise WireError(f"{shown(path)} was refused: it is not of the announced size ({size:,} bytes)")

    def write(self, path: str, digest: str, size: int, target: int) -> None:
        """Write a content into an open file, which is to be the one at `path`. Raises WireError, OSError."""
        if digest in self._places:
            pack, offset = self._places[digest]
            data = self._pack(pack)[offset : offset + size]
            if hashlib.sha256(data).hexdigest() != digest:
                raise WireError(f"{shown(path)} was refused: its pack has other bytes for it")
            write(target, data)
            return
        with open(self._blobs.path(digest), "rb") as source:
            if os.fstat(source.fileno()).st_size != size:
                raise WireError(f"{shown(path)} was refused: it is not of the announced size ({size:,} bytes)")
            _copy(source.fileno(), target, size)

    def _pack(self, digest: str) -> bytes:
        data = self._packs.pop(digest, None)
        if data is None:
            with open(self._blobs.path(digest), "rb") as file:
                data = file.read(_LARGEST + 1)
            if len(data) > _LARGEST:
                raise WireError(f"a pack of files was refused: it has more than {_LARGEST:,} bytes")
        self._packs[digest] = data
        if len(self._packs) > _KEPT:
            del self._packs[next(iter(self._packs))]
        return data


def write(fd: int, data: bytes) -> None:
    """Write all of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _copy(source: int, target: int, size: int) -> None:
    """Exactly `size` bytes, inside the kernel and sharing blocks where the file system can."""
    left = size
    if hasattr(os, "copy_file_range"):
        with contextlib.suppress(OSError):
            while left:
                count = os.copy_file_range(source, target, min(left, 1 << 30))
                if not count:
                    break
                left -= count
    while left:
        data = os.read(source, min(left, _PIECE))
        if not data:
            raise WireError(f"a file ended {left:,} bytes before its announced size")
        write(target, data)
        left -= len(data)
