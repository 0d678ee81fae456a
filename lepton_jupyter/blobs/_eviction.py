"""What stays in a store and what goes: the pins of those who need blobs, and room where blobs were long not used."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import tempfile
import time
from collections.abc import Collection, Iterator

from ._bytes import Digest, write

#: Blobs beyond this are evicted, unless they are pinned or a limit was set.
MAX_BYTES = 20 << 30
#: Seconds after which what is left of a broken transfer is dropped.
KEEP_PARTS = 7 * 24 * 3600.0


def pin(folder: str, name: str, digests: Collection[Digest]) -> tuple[int, str]:
    """Keep these blobs of the store in `folder`, until the file whose descriptor and path this returns is closed."""
    with _locked(folder, fcntl.LOCK_SH):
        prefix = re.sub(r"[^A-Za-z0-9]+", "-", name)[:40] + "-"
        fd, path = tempfile.mkstemp(prefix=prefix, dir=os.path.join(folder, "pins"))
        fcntl.flock(fd, fcntl.LOCK_EX)
        write(fd, memoryview("".join(digest + "\n" for digest in digests).encode()))
    return fd, path


def limit(folder: str) -> int:
    """The bytes that the store may hold."""
    try:
        with open(os.path.join(folder, "limit"), encoding="ascii") as file:
            return int(file.read())
    except (FileNotFoundError, ValueError):
        return MAX_BYTES


def set_limit(folder: str, most: int) -> None:
    """Have the store hold so many bytes."""
    if limit(folder) != most:
        fd, path = tempfile.mkstemp(prefix="limit-", dir=os.path.join(folder, "parts"))
        with open(fd, "w", encoding="ascii") as file:
            file.write(str(most))
        os.replace(path, os.path.join(folder, "limit"))


def make_room(folder: str, most: int, room: int) -> tuple[int, int]:
    """Remove what was not used for longest until `room` bytes more are within `most`, and fit on the disk.

    The bytes freed, and those that are free on the disk then.
    """
    freed = 0
    with _locked(folder, fcntl.LOCK_EX):
        _drop_stale(folder)
        free = _free(folder)
        pinned = _pinned(folder)
        blobs = sorted(_blobs(folder))
        total = sum(size for _, size, _ in blobs)
        for _, size, path in blobs:
            if total - freed + room <= most and free + freed >= room:
                break
            if os.path.basename(path) not in pinned:
                os.unlink(path)
                freed += size
        return freed, _free(folder)


@contextlib.contextmanager
def _locked(folder: str, kind: int) -> Iterator[None]:
    fd = os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, kind)
        yield
    finally:
        os.close(fd)


def _pinned(folder: str) -> set[Digest]:
    """What the living need; the pins of the dead are removed."""
    found: set[Digest] = set()
    for entry in list(os.scandir(os.path.join(folder, "pins"))):
        with open(entry.path) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                found.update(file.read().split())
            else:
                os.unlink(entry.path)
    return found


def _blobs(folder: str) -> Iterator[tuple[int, int, str]]:
    """Of every blob when it was last used, its size and its path."""
    for inner in list(os.scandir(folder)):
        for entry in list(os.scandir(inner.path)) if len(inner.name) == 2 else []:
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat()
                yield status.st_atime_ns, status.st_size, entry.path


def _free(folder: str) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def _drop_stale(folder: str) -> None:
    """Remove what broken transfers left long ago."""
    for entry in list(os.scandir(os.path.join(folder, "parts"))):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - entry.stat().st_mtime > KEEP_PARTS:
                os.unlink(entry.path)
