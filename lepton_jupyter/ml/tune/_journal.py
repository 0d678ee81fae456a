"""The file of a study: lines of JSON that are only ever added. Optuna's own JournalFileBackend reads it, too.

Runs in every kernel that works on the study. Optuna's backend waits for the disk at each line, ten times a trial, and
its lock outlives a process that was killed; here the kernel's own file lock is taken, which ends with its process, and
`sync` waits for the disk once a trial. A line that a killed process left half written is dropped.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from optuna.storages.journal import BaseJournalBackend


class JournalFile(BaseJournalBackend):  # type: ignore[misc]
    """One file. Raises OSError where it cannot be written."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = open(path, "ab+")  # stays open: a lock lives as long
        self._offsets = {0: 0}  # number of a line -> where it begins

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """The lines from this number on."""
        known = max(number for number in self._offsets if number <= log_number_from)
        found = []
        with open(self._path, "rb") as file:
            place = file.seek(self._offsets[known])
            for number, line in enumerate(file, known):
                if not line.endswith(b"\n"):
                    break  # it is being written, or never will be
                place += len(line)
                if number >= log_number_from:
                    found.append(json.loads(line))
                known = number + 1
        self._offsets = {0: 0, known: place}
        return found

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add lines, all or none."""
        data = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        with self._locked():
            self._drop_torn()
            self._file.write(data)
            self._file.flush()

    def sync(self) -> None:
        """On return the disk has it all."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()

    def _drop_torn(self) -> None:
        end = self._file.seek(0, os.SEEK_END)
        if not end or self._last(end, 1) == b"\n":
            return
        wide = 4096
        while wide < end and b"\n" not in self._last(end, wide):
            wide *= 2
        tail = self._last(end, min(wide, end))
        self._file.truncate(end - len(tail) + tail.rfind(b"\n") + 1)

    def _last(self, end: int, count: int) -> bytes:
        return os.pread(self._file.fileno(), count, end - count)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
