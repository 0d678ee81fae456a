"""Data for disks that are full, and out of stores that are damaged: it is said, and nothing wrong is kept."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lepton_jupyter.blobs import BlobStore
from lepton_jupyter.errors import BlobDamaged, BlobMissing, HostStorage, LeptonError, WireError
from lepton_jupyter.remote.transfer import fetch, send
from tests.fakes.disk import room_of
from tests.faults._data import MB, OpenLink, quiet, same
from tests.faults.test_hosts import program
from tests.faults.test_storage import ROOT


@pytest.fixture
def little_room() -> Iterator[None]:
    """No file of this process may be larger than 4 MiB, and of its children neither."""
    with room_of(4 << 20):
        yield


def test_a_disk_that_fills_up_there_is_said_and_with_room_again_the_rest_follows(
    open_link: OpenLink, mine: BlobStore, host: BlobStore, tmp_path: Path
) -> None:
    digest, small = mine.put(os.urandom(20 * MB)), mine.put(b"small")
    python = program(tmp_path / "python", "ulimit -f 4096", f'exec {sys.executable} "$@"')  # in blocks of 512 bytes
    link = open_link(python=str(python))
    with pytest.raises(HostStorage, match=r"cannot be stored in .*host/blobs: File too large") as caught:
        send(link, mine, [digest], quiet)
    assert caught.value.hint == "Free disk space there."
    assert send(link, mine, [small], quiet) == 5, "the link lives"
    there = host.begun(digest, 20 * MB)
    assert 0 < there <= 4096 * 1024
    assert send(open_link(), mine, [digest], quiet) == 20 * MB - there
    assert same(mine, [digest, small], host)


def test_a_disk_that_fills_up_here_is_said_and_with_room_again_the_rest_follows(
    open_link: OpenLink, mine: BlobStore, host: BlobStore, request: pytest.FixtureRequest
) -> None:
    digest = host.put(os.urandom(20 * MB))
    link = open_link()
    link.ask("have", blobs={})
    request.getfixturevalue("little_room")
    with pytest.raises(LeptonError, match=r"cannot be stored in .*mine: File too large") as caught:
        fetch(link, mine, {digest: 20 * MB}, quiet)
    assert type(caught.value) is LeptonError
    assert caught.value.hint == "Free disk space there."
    resource.setrlimit(resource.RLIMIT_FSIZE, resource.getrlimit(resource.RLIMIT_FSIZE)[1:] * 2)
    there = mine.begun(digest, 20 * MB)
    assert 0 < there <= 4 << 20
    assert fetch(link, mine, {digest: 20 * MB}, quiet) == 20 * MB - there
    assert same(mine, [digest], host)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=0700", "none", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


if ROOT:  # nobody else can mount a disk; that a full one is said is tested above for all

    def test_what_does_not_fit_is_said_before_it_travels(
        open_link: OpenLink, mine: BlobStore, small_disk: Path
    ) -> None:
        digest = mine.put(os.urandom(6 * MB))
        link = open_link(root=str(small_disk))
        with pytest.raises(HostStorage, match="6,000,000 bytes of data do not fit") as caught:
            send(link, mine, [digest], quiet)
        assert caught.value.hint
        assert digest not in link.known

    def test_little_data_that_goes_unasked_finds_room_too(
        open_link: OpenLink, mine: BlobStore, small_disk: Path
    ) -> None:
        old, new = mine.put(os.urandom(1_500_000)), mine.put(os.urandom(30_000))
        link = open_link(root=str(small_disk))
        send(link, mine, [old], quiet)
        filler = small_disk / "filler"
        filler.write_bytes(bytes(4 << 20 >> 1))
        with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)) == 4096:
                pass
        send(link, mine, [new], quiet)
        host = BlobStore(str(small_disk / "blobs"))
        assert [host.has(digest) for digest in (old, new)] == [False, True]

    def test_a_small_disk_lets_go_of_what_is_not_needed(open_link: OpenLink, mine: BlobStore, small_disk: Path) -> None:
        digests = [mine.put(os.urandom(1_500_000)) for _ in range(3)]
        link = open_link(root=str(small_disk))
        for digest in digests:
            send(link, mine, [digest], quiet)
        host = BlobStore(str(small_disk / "blobs"))
        assert [host.has(digest) for digest in digests] == [False, True, True]


# damage, and clients that lie


def test_a_blob_that_was_damaged_here_is_not_sent(open_link: OpenLink, mine: BlobStore, host: BlobStore) -> None:
    digest = mine.put(b"as it was")
    damage(mine, digest)
    with pytest.raises(BlobDamaged, match="was damaged in .*mine"):
        send(open_link(), mine, [digest], quiet)
    assert not host.has(digest) and not mine.has(digest)


def test_a_blob_that_was_damaged_there_is_not_kept(open_link: OpenLink, mine: BlobStore, host: BlobStore) -> None:
    digest = host.put(b"as it was")
    damage(host, digest)
    with pytest.raises(BlobMissing, match="was damaged on the host"):
        fetch(open_link(), mine, {digest: 9}, quiet)
    assert not host.has(digest) and not mine.has(digest)


def test_what_an_earlier_attempt_left_may_be_damaged(open_link: OpenLink, mine: BlobStore, host: BlobStore) -> None:
    """Such as by a power cut: then the whole is sent anew."""
    data = os.urandom(100_000)
    digests = [mine.put(data), host.put(data[::-1])]
    host.part(digests[0], 100_000).write(0, bytes(50_000))
    mine.part(digests[1], 100_000).write(0, bytes(50_000))
    link = open_link()
    send(link, mine, digests[:1], quiet)
    fetch(link, mine, {digests[1]: 100_000}, quiet)
    assert same(mine, digests, host)


def damage(store: BlobStore, digest: str) -> None:
    path = Path(store.path(digest))
    path.chmod(0o600)
    path.write_bytes(b"As it was")


def test_a_blob_that_is_nowhere_is_said(open_link: OpenLink, mine: BlobStore) -> None:
    with pytest.raises(BlobMissing):
        send(open_link(), mine, ["a" * 64], quiet)
    with pytest.raises(BlobMissing):
        fetch(open_link(), mine, {"a" * 64: 7}, quiet)


D = "d" * 64


@pytest.mark.parametrize(
    ("kind", "buffers", "fields"),
    [
        ("put", [b"x"], {"pieces": [{"digest": "../../../tmp/x", "size": 1, "offset": 0}]}),
        ("put", [b"x"], {"pieces": [{"digest": D, "size": 1, "offset": -1}]}),
        ("put", [b"x"], {"pieces": [{"digest": D, "size": 1, "offset": 10 << 30}]}),
        ("put", [b"x"], {"pieces": [{"digest": D, "size": -1, "offset": 0}]}),
        ("put", [b"x"], {"pieces": [{"digest": D, "size": 1 << 80, "offset": 0}]}),
        ("put", [b"x"], {"pieces": [{"digest": D, "size": 1, "offset": 0, "raw": 1}]}),
        ("put", [b"x", b"y"], {"pieces": [{"digest": D, "size": 1, "offset": 0}]}),
        ("put", [], {"pieces": 7}),
        ("put", [], {}),
        ("put", [bytes(9 << 20)], {"pieces": [{"digest": D, "size": 9 << 20, "offset": 0}]}),
        ("get", [], {"pieces": [{"digest": D, "offset": 0, "length": 10 << 30}], "deflate": False}),
        ("get", [], {"pieces": [{"digest": D, "offset": -1, "length": 1}], "deflate": False}),
        ("get", [], {"pieces": [{"digest": "/etc/passwd", "offset": 0, "length": 1}], "deflate": False}),
        ("get", [], {"pieces": [[]]}),
        ("have", [], {"blobs": {"../x": 1}}),
        ("have", [], {"blobs": {D: "much"}}),
        ("have", [], {"blobs": [D]}),
    ],
    ids=range(17),
)
def test_requests_that_make_no_sense_are_answered_in_words(
    kind: str, buffers: list[bytes], fields: dict[str, Any], open_link: OpenLink, host: BlobStore
) -> None:
    link = open_link()
    with pytest.raises((WireError, BlobMissing)):
        link.ask(kind, *buffers, timeout=60, **fields)
    assert link.ask("have", blobs={}, timeout=60)["missing"] == {}, "the link lives"
    assert not host.has(D)
    assert {path.name for path in Path(host.folder).iterdir()} <= {"parts", "pins", "lock"}
