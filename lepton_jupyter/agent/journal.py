"""The one truth about a job's outputs: an append-only file of numbered events on the host.

Runs in the agent, and in the reader that stands in for an agent that is gone. A record is ``!II`` (CRC-32 and length
of the frame) and then the very frame that goes over the wire, so sending is copying. A torn record at the end, left
by a power cut or a full disk, is not read, and is cut off before anything is appended; nothing before it is touched.
"""

from __future__ import annotations

import collections
import os
import struct
import threading
import zlib
from array import array
from collections.abc import Iterator
from typing import Any

from ..wire import Event, FrameReader, pack

_RECORD = struct.Struct("!II")
#: Bytes of the newest frames that are kept in memory, for readers that keep pace.
_NEWEST = 1 << 16


class Journal:
    """The events of one job. Safe for one writer and many readers in threads of one process.

    `news` is notified after every append; readers wait on it. `new` is an empty file, open for writing, at `path`.
    """

    def __init__(self, path: str, job_id: str, news: threading.Condition, new: int | None = None) -> None:
        self.path = path
        self.job_id = job_id
        self.torn = 0  # bytes at the end of the file, when it was opened, that are no whole record
        self._news = news
        self._lock = threading.Lock()
        self._starts = array("Q")  # where record seq-1 begins
        self._size = 0
        self._kept: list[bytes] = []  # frames the disk had no room for; they last as long as this process
        self._newest: collections.deque[bytes] = collections.deque()  # frames of the last records
        self._newest_size = 0
        self._fd = new
        self._dirty = False
        if new is None:
            self._scan()

    @property
    def last(self) -> int:
        """The number of the newest event, 0 when there is none."""
        return len(self._starts) + len(self._kept)

    @property
    def open(self) -> bool:
        """Whether it holds a file descriptor: something may be on its way to the disk."""
        return self._fd is not None

    def append(self, event: str, fields: dict[str, Any], buffers: tuple[bytes, ...] = (), tell: bool = True) -> int:
        """Number the event, write it, tell the readers; its number. Raises OSError when the disk refuses it.

        Without `tell` the readers learn of it with the next one, or by `tell`.
        """
        with self._lock:
            frame = pack(Event(self.job_id, self.last + 1, event, fields, buffers).to_message())
            if self._kept:
                raise OSError(28, "No space left on device", self.path)
            self._write(_RECORD.pack(zlib.crc32(frame), len(frame)), frame)
            number = self.last
        if tell:
            self.tell()
        return number

    def keep(self, event: str, fields: dict[str, Any]) -> int:
        """Like `append` for the word that must arrive: when the disk refuses it, hold it in memory."""
        try:
            return self.append(event, fields)
        except OSError:
            with self._lock:
                self._kept.append(pack(Event(self.job_id, self.last + 1, event, fields).to_message()))
                number = self.last
            self.tell()
            return number

    def read(self, after: int, limit: int = 1 << 20) -> tuple[bytes, int]:
        """The frames of the events after `after`, at least one and about `limit` bytes, and the last one's number."""
        with self._lock:
            stored, last, size = len(self._starts), self.last, self._size
            if after >= stored:
                return b"".join(self._kept[after - stored :]), last
            if after >= stored - len(self._newest):
                return b"".join(list(self._newest)[after - stored :]), stored
            begin = self._starts[after]
            upto = after + 1
            while upto < stored and self._starts[upto] - begin < limit:
                upto += 1
            end = self._starts[upto] if upto < stored else size
        with open(self.path, "rb") as file:
            file.seek(begin)
            return _frames(file.read(end - begin)), upto

    def events(self) -> Iterator[Event]:
        """Every event there is now, parsed, with one of them at a time in memory; senders use `read`.

        Raises OSError when the disk returns other bytes than were written.
        """
        with self._lock:
            stored, kept = len(self._starts), list(self._kept)
        if stored:
            with open(self.path, "rb") as file:
                for _ in range(stored):
                    prefix = file.read(_RECORD.size)
                    if len(prefix) < _RECORD.size:
                        raise OSError("a journal was cut short while it was read")
                    yield _parsed(_frames(prefix + file.read(_RECORD.unpack(prefix)[1])))
        for frame in kept:
            yield _parsed(frame)

    def sync(self) -> None:
        """Have the disk hold what was written so far. Readers and the writer do not wait for it."""
        with self._lock:
            if not self._dirty or self._fd is None:
                return
            self._dirty, fd = False, os.dup(self._fd)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Give the file descriptor back; a later append opens the file again, one at this moment keeps it open."""
        self.sync()
        with self._lock:
            if self._fd is not None and not self._dirty:
                os.close(self._fd)
                self._fd = None
                self._newest.clear()
                self._newest_size = 0

    def tell(self) -> None:
        """Wake the readers."""
        with self._news:
            self._news.notify_all()

    def _write(self, prefix: bytes, frame: bytes) -> None:
        if self._fd is None:
            self._fd = open_journal(self.path)
            if os.fstat(self._fd).st_size > self._size:
                os.ftruncate(self._fd, self._size)
        try:
            todo = memoryview(prefix + frame) if len(frame) < 1 << 16 else None
            for part in [todo] if todo is not None else [memoryview(prefix), memoryview(frame)]:
                while part:
                    part = part[os.write(self._fd, part) :]
        except OSError:
            os.ftruncate(self._fd, self._size)  # drop the torn record at once
            raise
        self._starts.append(self._size)
        self._size += len(prefix) + len(frame)
        self._dirty = True
        self._newest.append(frame)
        self._newest_size += len(frame)
        while self._newest_size > _NEWEST:
            self._newest_size -= len(self._newest.popleft())

    def _scan(self) -> None:
        try:
            file = open(self.path, "rb")
        except FileNotFoundError:
            return
        with file:
            length = os.fstat(file.fileno()).st_size
            while True:
                prefix = file.read(_RECORD.size)
                if len(prefix) < _RECORD.size:
                    break
                crc, size = _RECORD.unpack(prefix)
                if self._size + _RECORD.size + size > length or zlib.crc32(file.read(size)) != crc:
                    break
                self._starts.append(self._size)
                self._size += _RECORD.size + size
        self.torn = length - self._size  # a reader leaves it alone: another process may be writing it just now


def open_journal(path: str) -> int:
    """The file at `path`, made if need be, open to append to."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def first_event(path: str) -> Event | None:
    """The event a journal begins with, without reading the rest; None when there is no whole one."""
    try:
        with open(path, "rb") as file:
            prefix = file.read(_RECORD.size)
            if len(prefix) < _RECORD.size:
                return None
            crc, size = _RECORD.unpack(prefix)
            frame = file.read(size)
    except FileNotFoundError:
        return None
    return _parsed(frame) if zlib.crc32(frame) == crc else None


def _parsed(frame: bytes) -> Event:
    message = FrameReader(_Bytes(frame)).read()
    if message is None:
        raise OSError("a journal record is empty")
    return Event.from_message(message)


class _Bytes:
    """A channel over bytes at hand."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, n: int) -> bytes:
        part, self._data = self._data[:n], self._data[n:]
        return part

    def write(self, data: bytes) -> None:
        raise OSError("read only")

    def close(self) -> None:
        self._data = b""


def _frames(block: bytes) -> bytes:
    """The frames of a block of whole records, each checked; raises OSError when the disk returns other bytes."""
    parts, at = [], 0
    view = memoryview(block)
    while at < len(block):
        crc, size = _RECORD.unpack_from(block, at)
        frame = view[at + _RECORD.size : at + _RECORD.size + size]
        if zlib.crc32(frame) != crc:
            raise OSError("a journal record does not match its checksum")
        parts.append(frame)
        at += _RECORD.size + size
    return b"".join(parts)
