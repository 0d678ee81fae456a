"""The digests of files that were read before, so that a big folder is not read again. On the user's side."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time

#: A file changed so shortly before it was read may change once more in the same tick of the file system's clock.
_SETTLED = 2.0
_FORGET = 90 * 24 * 3600.0


class Digests:
    """Path, inode, time of change and size of a file → its digest, in a database file that processes may share.

    Only a cache: without one (None), or when it is damaged or locked, files are read. Use as a context manager: leaving
    it writes what is new.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._new: list[tuple[bytes, int, int, int, str, float]] = []
        self._moved: dict[str, tuple[str, int]] = {}
        self._database: sqlite3.Connection | None = None

    def __enter__(self) -> Digests:
        if self._path is None:
            return self
        with contextlib.suppress(sqlite3.Error, OSError):
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            self._database = sqlite3.connect(self._path, timeout=2)
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS digests"
                " (path BLOB PRIMARY KEY, inode INTEGER, mtime INTEGER, size INTEGER, digest TEXT, used REAL)"
            )
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS packed (digest TEXT PRIMARY KEY, pack TEXT, place INTEGER, used REAL)"
            )
        return self

    def __exit__(self, *about: object) -> None:
        if self._database is not None:
            with contextlib.closing(self._database) as database, contextlib.suppress(sqlite3.Error), database:
                forgotten = (time.time() - _FORGET,)
                database.execute("DELETE FROM digests WHERE used < ?", forgotten)
                database.execute("DELETE FROM packed WHERE used < ?", forgotten)
                database.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?, ?, ?)", self._new)
                moved = [(digest, *place, time.time()) for digest, place in self._moved.items()]
                database.executemany("INSERT OR REPLACE INTO packed VALUES (?, ?, ?, ?)", moved)
        self._new, self._moved, self._database = [], {}, None

    def get(self, path: str, about: os.stat_result) -> str | None:
        """The digest of the file at `path` if it is the file that it was."""
        found = None
        if self._database is not None:
            query = "SELECT digest FROM digests WHERE path = ? AND inode = ? AND mtime = ? AND size = ?"
            with contextlib.suppress(sqlite3.Error):
                found = self._database.execute(query, (os.fsencode(path), *_mark(about))).fetchone()
        return str(found[0]) if found else None

    def place(self, digest: str) -> tuple[str, int] | None:
        """The pack that has this content, and where in it."""
        found = self._moved.get(digest)
        if found is None and self._database is not None:
            query = "SELECT pack, place FROM packed WHERE digest = ?"
            with contextlib.suppress(sqlite3.Error):
                found = self._database.execute(query, (digest,)).fetchone()
        return (str(found[0]), int(found[1])) if found and found[0] else None

    def move(self, digest: str, pack: str, place: int) -> None:
        """Remember which pack has a content now; "" when none has."""
        self._moved[digest] = pack, place

    def keep(self, path: str, about: os.stat_result, digest: str) -> None:
        """Remember what was read."""
        if time.time() - about.st_mtime > _SETTLED:
            self._new.append((os.fsencode(path), *_mark(about), digest, time.time()))


def _mark(about: os.stat_result) -> tuple[int, int, int]:
    return about.st_ino, about.st_mtime_ns, about.st_size
