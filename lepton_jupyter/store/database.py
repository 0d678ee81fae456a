"""The SQLite file behind the store: opened, laid out, locked, and its complaints put into words.

Runs wherever the store does. One connection for each process, used by one thread at a time.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from ..config import private_folder
from ..errors import LeptonError

MEMORY = ":memory:"
_BUSY_SECONDS = 15.0

#: What each version added to the one before; a new file goes through all of them, so old and new files are alike.
#: Columns and tables are only ever added: a process that runs an older release goes on with its open file.
_STEPS = (
    """
CREATE TABLE jobs (
    job_id        TEXT PRIMARY KEY,
    spec          TEXT NOT NULL,               -- JobSpec as JSON (target and notebook again, to search by)
    target        TEXT NOT NULL,
    notebook      TEXT NOT NULL,
    state         TEXT NOT NULL,
    native_id     TEXT NOT NULL,
    seq           INTEGER NOT NULL,
    cause         TEXT NOT NULL,
    created       REAL NOT NULL,
    started       REAL,
    ended         REAL,
    change        INTEGER NOT NULL,            -- number of the job's last change
    holder        TEXT NOT NULL DEFAULT '',    -- who may write ('' = nobody)
    lease_seconds REAL NOT NULL DEFAULT 0,
    lease_until   REAL NOT NULL DEFAULT 0      -- seconds since the epoch
) WITHOUT ROWID;
CREATE UNIQUE INDEX jobs_change ON jobs (change);
CREATE INDEX jobs_created ON jobs (created);
CREATE TABLE kernels (
    target    TEXT NOT NULL,
    name      TEXT NOT NULL,
    native_id TEXT NOT NULL,
    PRIMARY KEY (target, name)
) WITHOUT ROWID;
CREATE TABLE changes (last INTEGER NOT NULL);
INSERT INTO changes VALUES (0);
""",
    """
ALTER TABLE jobs ADD COLUMN telemetry TEXT NOT NULL DEFAULT '{}'; -- progress, metric, usage as JSON
ALTER TABLE jobs ADD COLUMN written TEXT NOT NULL DEFAULT '{}';   -- what of it is in its notebook, as JSON
""",
)
VERSION = len(_STEPS)


class Database:
    """The file `path` (made with mode 0600, in a folder of mode 0700), or ``":memory:"``.

    Raises LeptonError when it cannot be used: no SQLite file, written by a newer version, disk full, busy.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._pid = 0
        with self.read():
            pass

    def close(self) -> None:
        """Let go of the file. Closing twice is harmless; the next use opens it again."""
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """The connection, for this thread alone; SQLite's errors become ours."""
        with self._lock:
            try:
                yield self._open()
            except sqlite3.Error as error:
                raise _said(error, self._path) from error

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of the block or nothing.

        It survives the end of every process. A power cut may take the last ones (WAL, synchronous = NORMAL): then the
        host's own files still tell of the job, and no cell waits for a disk to spin.
        """
        with self.read() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def _open(self) -> sqlite3.Connection:
        """The connection of this process; a fork must not use its parent's."""
        if self._connection is None or self._pid != os.getpid():
            self._connection, self._pid = _connect(self._path), os.getpid()
        return self._connection


def _connect(path: Path | str) -> sqlite3.Connection:
    if path != MEMORY:
        private_folder(Path(path).parent)
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite gives its -wal and -shm the same mode
        except OSError as error:
            raise LeptonError(
                f"the job store {path} cannot be written: {error.strerror}", hint="LEPTON_HOME names another folder."
            ) from None
    db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        _prepare(db, path)
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, path: Path | str) -> None:
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:  # the change to WAL does not wait for others by itself
        try:
            db.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    db.execute("PRAGMA synchronous = NORMAL")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version < VERSION:
        version = _bring_up(db)
    if version != VERSION:
        raise LeptonError(
            f"the job store {path} was written by a newer lepton-jupyter (its format is {version}, ours {VERSION})",
            hint="Update lepton-jupyter here, or let LEPTON_HOME name another folder.",
        )


def _bring_up(db: sqlite3.Connection) -> int:
    """Take the steps that the file has not taken yet, all or none; its version then."""
    db.execute("BEGIN IMMEDIATE")
    try:
        version = int(db.execute("PRAGMA user_version").fetchone()[0])  # another process may have been faster
        for step in _STEPS[version:]:
            for statement in step.split(";"):
                db.execute(statement)
            version += 1
        db.execute(f"PRAGMA user_version = {version}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return version


def _said(error: sqlite3.Error, path: Path | str) -> LeptonError:
    text = str(error)
    if "locked" in text or "busy" in text:
        hint = "Another process keeps it busy; try again."
    elif "full" in text:
        hint = "Free some disk space, or let LEPTON_HOME name a folder on another disk."
    else:
        hint = (
            "Move the file away to begin a new one (running jobs stay on their hosts: %lepton_attach JOB --on TARGET)."
        )
    return LeptonError(f"the job store {path} cannot be used: {text}", hint=hint)
