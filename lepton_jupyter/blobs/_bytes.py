"""How digests are checked, and bytes written, hashed and copied."""

from __future__ import annotations

import fcntl
import os
import re
from typing import Any, Union

from ..errors import WireError

Digest = str
Data = Union[bytes, bytearray, memoryview]

_DIGEST = re.compile(r"[0-9a-f]{64}")
_PIECE = 1 << 20
#: Linux: let the target share the source's blocks (btrfs, xfs).
_FICLONE = 0x40049409


def checked(digest: Digest) -> Digest:
    """The digest, which is one. Raises WireError."""
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise WireError(f"{digest!r:.100} is no digest")
    return digest


def checked_size(size: int) -> int:
    """The size, which a blob may have. Raises WireError."""
    if not 0 <= size < 1 << 60:
        raise WireError(f"a blob of {size:,} bytes was refused")
    return size


def write(fd: int, data: memoryview) -> None:
    """Write all of it."""
    while data:
        data = data[os.write(fd, data) :]


def add(fd: int, hasher: Any, start: int) -> Any:
    """Add the bytes of an open file from `start` on to `hasher`."""
    while piece := os.pread(fd, _PIECE, start):
        hasher.update(piece)
        start += len(piece)
    return hasher


def copy_hashed(source: int, target: int, hasher: Any) -> None:
    """Write what `source` holds and hash it, both at once where it is large."""
    piece = os.read(source, _PIECE)
    if len(piece) < _PIECE:  # a thread costs more than it spares
        while piece:
            hasher.update(piece)
            write(target, memoryview(piece))
            piece = os.read(source, _PIECE)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as beside:
        while piece:
            hashed = beside.submit(hasher.update, piece)
            write(target, memoryview(piece))
            hashed.result()
            piece = os.read(source, _PIECE)


def clone(source: int, target: int) -> bool:
    """Let `target` share the blocks of `source`, where the file system can."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True
