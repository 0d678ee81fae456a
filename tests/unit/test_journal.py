"""The journal: what was appended is there, in order, whatever happened to the end of the file."""

from __future__ import annotations

import errno
import os
import threading
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import pytest

from lepton_jupyter.agent.journal import Journal, first_event
from lepton_jupyter.wire import Event, FrameReader


class Bytes:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, n: int) -> bytes:
        part, self.data = self.data[:n], self.data[n:]
        return part

    def write(self, data: bytes) -> None:
        raise AssertionError

    def close(self) -> None:
        raise AssertionError


def open_journal(path: Path) -> Journal:
    return Journal(str(path), "job1", threading.Condition())


def fill(journal: Journal, count: int) -> None:
    for number in range(count):
        journal.append("iopub", {"number": number}, (b"x" * number,))


def numbers(events: Iterable[Event]) -> list[int]:
    return [event.fields["number"] for event in events]


def test_events_are_numbered_from_one_and_found_again(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal")
    fill(journal, 20)
    again = open_journal(tmp_path / "journal")
    assert again.last == journal.last == 20
    assert again.torn == 0
    assert [event.seq for event in again.events()] == list(range(1, 21))
    assert numbers(again.events()) == list(range(20))
    assert [event.buffers for event in again.events()] == [(b"x" * number,) for number in range(20)]
    assert (tmp_path / "journal").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("limit", [1, 50, 300, 1 << 20])
def test_reading_in_blocks_gives_every_event_once(tmp_path: Path, limit: int) -> None:
    journal = open_journal(tmp_path / "journal")
    fill(journal, 30)
    after, data = 4, b""
    while after < journal.last:
        block, upto = journal.read(after, limit)
        assert upto > after
        after, data = upto, data + block
    reader, found = FrameReader(Bytes(data)), []
    while (message := reader.read()) is not None:
        found.append(Event.from_message(message).seq)
    assert found == list(range(5, 31))


def test_a_torn_tail_is_dropped_and_said_and_what_was_before_stays(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    fill(open_journal(path), 5)
    whole = path.read_bytes()
    size_of_four = _size_of(path, 4)
    for size in range(size_of_four + 1, len(whole)):
        path.write_bytes(whole[:size])
        journal = open_journal(path)
        assert journal.last == 4
        assert journal.torn == size - size_of_four
        journal.append("iopub", {"number": 4}, (b"x" * 4,))
        journal.close()
        assert path.read_bytes() == whole


def test_garbage_at_the_end_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    fill(open_journal(path), 3)
    whole = path.read_bytes()
    path.write_bytes(whole + os.urandom(100))
    journal = open_journal(path)
    assert (journal.last, journal.torn) == (3, 100)


def test_a_byte_that_changed_on_the_disk_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = open_journal(path)
    fill(journal, 3)
    journal.close()  # it has the newest in memory until then
    data = bytearray(path.read_bytes())
    data[30] ^= 1
    path.write_bytes(data)
    with pytest.raises(OSError, match="checksum"):
        journal.read(0)


def test_a_disk_that_refuses_loses_nothing_and_the_last_word_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = open_journal(tmp_path / "journal")
    fill(journal, 3)
    before = (tmp_path / "journal").read_bytes()
    real = os.write

    def half(fd: int, data: bytes) -> int:
        if len(data) > 20:
            return real(fd, data[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="No space left"):
        journal.append("iopub", {"number": 3}, (b"y" * 100,))
    assert (tmp_path / "journal").read_bytes() == before
    assert journal.keep("state", {"state": "FAILED"}) == 4
    monkeypatch.undo()
    assert [event.event for event in journal.events()] == ["iopub"] * 3 + ["state"]
    with pytest.raises(OSError, match="No space left"):  # nothing may come after the last word
        journal.append("iopub", {"number": 5})


def test_a_long_journal_is_gone_through_one_event_at_a_time(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal")
    for number in range(40):
        journal.append("iopub", {"number": number}, (bytes(1 << 20),))
    journal.keep("state", {"number": 40, "state": "FAILED"})
    tracemalloc.start()
    try:
        assert numbers(journal.events()) == list(range(41))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 12 << 20, f"{peak:,} bytes for events of 1 MiB"


def test_bytes_that_changed_on_disk_are_not_taken_for_an_event(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = open_journal(path)
    fill(journal, 3)
    path.write_bytes(path.read_bytes()[:-3] + b"???")
    with pytest.raises(OSError, match="checksum"):
        list(journal.events())
    path.write_bytes(b"")
    with pytest.raises(OSError, match="cut short"):
        list(journal.events())


def test_readers_are_told_of_every_append(tmp_path: Path) -> None:
    news = threading.Condition()
    journal = Journal(str(tmp_path / "journal"), "job1", news)
    seen: list[int] = []

    def follow() -> None:
        while len(seen) < 50:
            with news:
                news.wait_for(lambda: journal.last > len(seen), timeout=10)
            data, upto = journal.read(len(seen))
            reader = FrameReader(Bytes(data))
            while (message := reader.read()) is not None:
                seen.append(Event.from_message(message).seq)
            assert upto == len(seen)

    thread = threading.Thread(target=follow)
    thread.start()
    fill(journal, 50)
    thread.join(20)
    assert seen == list(range(1, 51))


def test_the_first_event_is_read_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    assert first_event(str(path)) is None
    journal = open_journal(path)
    journal.append("state", {"state": "QUEUED", "name": "x"})
    fill(journal, 2)
    first = first_event(str(path))
    assert first is not None
    assert first.fields == {"state": "QUEUED", "name": "x"}
    path.write_bytes(path.read_bytes()[:15])
    assert first_event(str(path)) is None


def _size_of(path: Path, count: int) -> int:
    twin = path.with_name("twin")
    journal = Journal(str(twin), "job1", threading.Condition())
    fill(journal, count)
    return twin.stat().st_size
