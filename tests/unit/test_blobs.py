"""The store of blobs: whole or not there, whoever else writes, whatever the disk does, never more than it may hold."""

from __future__ import annotations

import hashlib
import os
import random
import resource
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lepton_jupyter.blobs import KEEP_PARTS, BlobStore
from lepton_jupyter.errors import BlobDamaged, BlobMissing, HostStorage, LeptonError, WireError
from tests.fakes.disk import room_of


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(str(tmp_path / "blobs"), fault=HostStorage)


def age(store: BlobStore, digest: str, seconds: float) -> None:
    """Have the blob be used last that long ago."""
    path = store.path(digest)
    os.utime(path, ns=(time.time_ns() - int(seconds * 1e9), os.stat(path).st_mtime_ns))


@pytest.mark.parametrize("data", [b"", b"x", os.urandom(3_000_000)], ids=["nothing", "a byte", "3 MB"])
def test_what_was_put_is_there_once(data: bytes, store: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(data)
    digest = store.put(data)
    inode = os.stat(store.path(digest)).st_ino
    assert digest == store.put(memoryview(bytearray(data))) == store.put_file(str(tmp_path / "file"))
    assert digest == digest_of(data)
    assert Path(store.path(digest)).read_bytes() == data
    assert os.stat(store.path(digest)).st_ino == inode, "it was not written again"
    assert store.size(digest) == len(data)
    assert store.has(digest) and not store.has(digest_of(b"other"))
    assert (tmp_path / "file").read_bytes() == data
    assert not os.listdir(tmp_path / "blobs" / "parts")


def test_an_array_with_several_dimensions_is_its_bytes(store: BlobStore) -> None:
    data = bytes(range(24))
    assert store.put(memoryview(data).cast("H", (3, 4))) == digest_of(data)


@pytest.mark.parametrize("digest", ["../../etc/passwd", "", "A" * 64, "a" * 63, "a" * 64 + "\n", 7, None])
def test_what_is_no_digest_is_refused(digest: object, store: BlobStore) -> None:
    for ask in (store.has, store.size, store.path, lambda one: store.part(one, 3)):
        with pytest.raises(WireError, match="is no digest"):
            ask(digest)  # type: ignore[arg-type]


def test_a_blob_that_is_not_there_is_said(store: BlobStore) -> None:
    for ask in (store.size, store.path):
        with pytest.raises(BlobMissing, match="is not in"):
            ask(digest_of(b"x"))


@pytest.mark.parametrize("when", ["before this process used it", "after"])
def test_a_damaged_blob_is_removed_and_said(when: str, store: BlobStore) -> None:
    digest = store.put(b"as it was")
    path = Path(store.path(digest))
    path.chmod(0o600)
    path.write_bytes(b"as it is!")
    asked = BlobStore(store.folder) if when.startswith("before") else store
    with pytest.raises(BlobDamaged, match="was damaged"):
        asked.path(digest)
    assert not asked.has(digest)
    store.put(b"as it was")
    assert Path(store.path(digest)).read_bytes() == b"as it was"


def test_nothing_is_open_to_others_and_blobs_are_not_writable(store: BlobStore) -> None:
    digest = store.put(b"secret")
    store.part(digest_of(b"abc"), 3).write(0, b"a")
    with store.pin("job", [digest]):
        paths = [Path(store.folder), *Path(store.folder).rglob("*")]
        assert len(paths) == 8
        for path in paths:
            assert not path.stat().st_mode & 0o077, path
    assert stat.S_IMODE(os.stat(store.path(digest)).st_mode) == 0o400


# what comes in piece by piece


def test_a_part_goes_on_where_it_ended(store: BlobStore) -> None:
    data = os.urandom(100_000)
    first = store.part(digest_of(data), len(data))
    assert first.write(0, data[:30_000]) == 30_000
    first.close()
    again = BlobStore(store.folder).part(digest_of(data), len(data))
    assert again.offset == 30_000
    assert again.write(50_000, data[50_000:]) == 30_000, "nothing is written behind a gap"
    assert again.write(10_000, data[10_000:]) == 100_000, "what is there is not written again"
    again.finish()
    again.close()
    assert Path(store.path(digest_of(data))).read_bytes() == data
    late = store.part(digest_of(data), len(data))
    assert late.offset == len(data)
    assert late.write(0, data) == len(data)
    late.finish()


def test_a_part_that_is_not_whole_is_no_blob(store: BlobStore) -> None:
    part = store.part(digest_of(b"abc"), 3)
    part.write(0, b"ab")
    with pytest.raises(WireError, match="1 bytes of blob .* are missing"):
        part.finish()
    assert not store.has(part.digest)


@pytest.mark.parametrize("honest", [b"", b"abc"], ids=["from the start", "behind what was right"])
def test_other_bytes_than_the_digest_says_are_removed(honest: bytes, store: BlobStore) -> None:
    part = store.part(digest_of(b"abcdef"), 6)
    part.write(0, honest)
    part.write(len(honest), b"ABCDEF"[len(honest) :])
    with pytest.raises(BlobDamaged, match="another digest"):
        part.finish()
    assert not store.has(part.digest)
    assert part.write(0, b"abcdef") == 6, "it begins anew"
    part.finish()
    assert store.has(part.digest)


@pytest.mark.parametrize("offset", [-1, 1, 10 << 30])
def test_more_than_was_announced_is_refused(offset: int, store: BlobStore) -> None:
    part = store.part(digest_of(b"abc"), 3)
    with pytest.raises(WireError, match="were refused"):
        part.write(offset, b"abc")
    assert part.offset == 0


def test_one_who_announced_more_spoils_nothing(store: BlobStore) -> None:
    data = b"abcdef"
    store.part(digest_of(data), 100).write(0, b"x" * 50)
    part = store.part(digest_of(data), len(data))
    assert part.offset == 0
    liar = store.part(digest_of(data), 100)
    assert liar.write(0, data) == 6
    part.write(0, data)
    part.finish()
    assert liar.write(6, b"more") == 0
    assert Path(store.path(digest_of(data))).read_bytes() == data


def test_many_at_once_bring_one_blob(store: BlobStore) -> None:
    """Threads with a store of their own stand for processes: they share nothing but files."""
    data, dice = os.urandom(400_000), random.Random(3)
    errors: list[BaseException] = []

    def bring(sizes: list[int]) -> None:
        try:
            part = BlobStore(store.folder).part(digest_of(data), len(data))
            for size in sizes:
                part.write(part.offset, data[part.offset : part.offset + size])
            while part.offset < len(data):
                part.write(part.offset, data[part.offset : part.offset + 1000])
            part.finish()
            part.close()
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    threads = [
        threading.Thread(target=bring, args=([dice.randrange(5000) for _ in range(100)],), daemon=True)
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert Path(store.path(digest_of(data))).read_bytes() == data
    assert not os.listdir(Path(store.folder) / "parts")


def test_a_file_that_changes_while_it_is_put_is_one_version(store: BlobStore, tmp_path: Path) -> None:
    file, stop = tmp_path / "file", threading.Event()
    file.write_bytes(b"\0" * 2_000_000)

    def change() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            with file.open("r+b") as opened:
                opened.write(bytes([number % 256]) * 2_000_000)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        digests = [store.put_file(str(file)) for _ in range(20)]
    finally:
        stop.set()
        thread.join()
    for digest in digests:
        assert digest_of(Path(BlobStore(store.folder).path(digest)).read_bytes()) == digest


# what stays


def test_what_was_not_used_for_longest_goes_first_and_no_more_than_needed(store: BlobStore) -> None:
    digests = [store.put(bytes([number]) * 1000) for number in range(10)]
    for number, digest in enumerate(digests):
        age(store, digest, 1000 - number)
    store.path(digests[0])
    store.put(bytes([1]) * 1000)
    store.max_bytes = 5500
    assert store.evict() == 5000
    assert [store.has(digest) for digest in digests] == [True, True, *[False] * 5, True, True, True]
    assert store.evict() == 0
    assert store.evict(room=1000) == 1000


def test_a_limit_holds_for_all_who_use_the_folder(store: BlobStore) -> None:
    first, second = store.put(b"1" * 1000), store.put(b"2" * 1000)
    age(store, first, 100)
    assert store.evict() == 0
    store.limit(1500)
    assert BlobStore(store.folder).evict() == 1000
    assert not store.has(first) and store.has(second)
    store.limit(0)
    assert BlobStore(store.folder, max_bytes=5000).evict() == 0, "who says another one means it"
    assert store.evict() == 1000


def test_what_is_pinned_stays(store: BlobStore) -> None:
    first, second, third = (store.put(bytes([number]) * 1000) for number in range(3))
    store.max_bytes = 0
    other = BlobStore(store.folder, max_bytes=0)
    with store.pin("a job/../with a name\n", [first, digest_of(b"to come")]), other.pin("b", [second]):
        assert store.evict() == 1000
        assert [store.has(one) for one in (first, second, third)] == [True, True, False]
        with store.pin("again", [first]):
            pass
        assert other.evict() == 0, "one pin of two is gone"
    assert store.evict() == 2000
    assert not os.listdir(Path(store.folder) / "pins")


_PIN = """
import sys, time
from lepton_jupyter.blobs import BlobStore
from tests.fakes.disk import room_of
with BlobStore(sys.argv[1]).pin("job", [sys.argv[2]]):
    print("pinned", flush=True)
    time.sleep(600)
"""


def test_a_killed_process_pins_nothing(store: BlobStore) -> None:
    digest = store.put(b"x" * 1000)
    store.max_bytes = 0
    process = subprocess.Popen([sys.executable, "-c", _PIN, store.folder, digest], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stdout.readline() == b"pinned\n"
        assert store.evict() == 0
    finally:
        process.kill()
        process.communicate()
    assert store.evict() == 1000
    assert not os.listdir(Path(store.folder) / "pins")


def test_what_a_broken_transfer_left_is_dropped_after_a_week(store: BlobStore) -> None:
    for data in (b"old", b"new"):
        store.part(digest_of(data), 3).write(0, data[:2])
    old = Path(store.folder) / "parts" / digest_of(b"old")
    then = time.time() - KEEP_PARTS - 10
    os.utime(old, (then, then))
    store.evict()
    assert os.listdir(old.parent) == [digest_of(b"new")]


# disks


@pytest.fixture
def little_room() -> Iterator[None]:
    """No file of this process may be larger than 64 KiB."""
    with room_of(1 << 16):
        yield


def test_a_disk_without_room_is_said_and_nothing_half_stays(
    store: BlobStore, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    data = os.urandom(200_000)
    (tmp_path / "file").write_bytes(data)
    small = store.put(b"small")
    part = store.part(digest_of(data), len(data))
    request.getfixturevalue("little_room")
    for attempt in (
        lambda: store.put(data),
        lambda: store.put_file(str(tmp_path / "file")),
        lambda: part.write(0, data),
    ):
        with pytest.raises(HostStorage, match="cannot be stored in .*: File too large") as caught:
            attempt()
        assert caught.value.hint == "Free disk space there."
    assert os.listdir(Path(store.folder) / "parts") == [digest_of(data)]
    assert part.offset == 0 and not store.has(digest_of(data))
    assert Path(store.path(small)).read_bytes() == b"small"
    resource.setrlimit(resource.RLIMIT_FSIZE, resource.getrlimit(resource.RLIMIT_FSIZE)[1:] * 2)
    part.write(0, data)  # with room again it goes on
    part.finish()
    assert Path(store.path(digest_of(data))).read_bytes() == data


def test_a_place_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LeptonError, match="cannot be stored in .*: Not a directory") as caught:
        BlobStore(str(tmp_path / "file" / "blobs"))
    assert caught.value.hint
