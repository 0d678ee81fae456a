"""Data over links that are cut and disks that are full: it arrives whole, and nothing travels twice but a moment's."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lepton_jupyter.blobs import BlobStore
from lepton_jupyter.client import AgentClient
from lepton_jupyter.errors import BlobDamaged, BlobMissing, HostStorage, LeptonError, LinkLost, WireError
from lepton_jupyter.job import Resources
from lepton_jupyter.remote.transfer import fetch, send
from lepton_jupyter.targets._base import READER
from tests.fakes.disk import room_of
from tests.fakes.proxy import MakeProxy, Proxy
from tests.fakes.sshd import Sshd
from tests.faults._road import Client, end_kernels, far, in_threads
from tests.faults.test_hosts import program
from tests.faults.test_storage import ROOT

MB = 1_000_000
#: What a cut may cost: what was in the link's buffers, and saying hello again.
MOMENT = 3 * MB
OpenLink = Callable[..., AgentClient]


def quiet(done: int, total: int) -> None:
    """Nobody watches."""


@pytest.fixture
def open_link(tmp_path: Path) -> Iterator[OpenLink]:
    """A function that opens a link to the files on a host, or to a new `kernel` there; all end with the test."""
    clients: list[Client] = []
    links: list[AgentClient] = []

    def open_link(sshd: Sshd | None = None, *, kernel: bool = False, **options: Any) -> AgentClient:
        here = {"kind": "local", "python": sys.executable, "root": str(tmp_path / "host"), **options}
        target = here if sshd is None else far(sshd, tmp_path / "place", **options)
        clients.append(Client(tmp_path / f"client{len(clients)}", {"far": target}))
        place = clients[-1].dispatcher.target("far")
        native_id = place.launch(Resources(), lambda words: None) if kernel else READER
        links.append(AgentClient(lambda: place.open(native_id), lambda event: None, lambda link, words: None))
        return links[-1]

    yield open_link
    end_kernels(tmp_path / "host")
    for link in links:
        link.close()
    for client in clients:
        client.close()


@pytest.fixture
def mine(tmp_path: Path) -> BlobStore:
    return BlobStore(str(tmp_path / "mine"))


@pytest.fixture
def host(tmp_path: Path) -> BlobStore:
    """The store of the host on this machine, as `open_link()` reaches it."""
    return BlobStore(str(tmp_path / "host" / "blobs"))


def same(store: BlobStore, digests: list[str], other: BlobStore) -> bool:
    """Whether both stores have these blobs, undamaged: each is read anew."""
    stores = [BlobStore(one.folder) for one in (store, other)]
    return all(os.path.getsize(stores[0].path(one)) == os.path.getsize(stores[1].path(one)) for one in digests)


class Harm:
    """Does something to the link whenever so much has arrived."""

    def __init__(self, *harms: Callable[[], Any], total: int) -> None:
        self._harms = list(harms)
        self._every = total // (len(harms) + 1)
        self._next = self._every
        self.seen: list[int] = []

    def __call__(self, done: int, total: int) -> None:
        self.seen.append(done)
        if self._harms and done >= self._next:
            self._next += self._every
            self._harms.pop(0)()


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [True, False], ids=["an agent", "the reader"])
@pytest.mark.parametrize("way", ["up", "down"])
def test_a_cut_repeats_only_what_was_under_way(
    way: str, kernel: bool, server: Sshd, make_proxy: MakeProxy, open_link: OpenLink, mine: BlobStore
) -> None:
    there = BlobStore(str(server.root / "blobs"))
    size = 100 * MB  # after the last cut there is more to come than may be under way at once
    digests = [(mine if way == "up" else there).put(random.Random(number).randbytes(size // 4)) for number in range(4)]
    proxy = make_proxy("127.0.0.1", server.port)
    link = open_link(server, port=proxy.port, kernel=kernel)
    link.ask("have", blobs={})
    before = proxy.figures
    harm = Harm(proxy.cut, lambda: half_closed(proxy), lambda: proxy.cut_for(1.0), total=size)
    if way == "up":
        travelled = send(link, mine, digests, harm)
    else:
        travelled = fetch(link, mine, dict.fromkeys(digests, size // 4), harm)
    assert same(mine, digests, there)
    figures = proxy.figures
    assert figures.accepted == before.accepted + 3, "the link was cut three times"
    carried = figures.up - before.up + figures.down - before.down
    assert size < carried < 1.01 * size + 3 * MOMENT
    assert abs(travelled - size) < 3 * MOMENT
    assert harm.seen[0] == 0 and harm.seen[-1] == size
    assert harm.seen == sorted(harm.seen), "what is there is never less than it was"


def half_closed(proxy: Proxy) -> None:
    """We see the end of the stream, the host does not."""
    proxy.half_close()


def test_little_data_costs_one_round_trip_over_a_link_that_is_used(
    open_link: OpenLink, mine: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, kinds = open_link(), []
    send(link, mine, [mine.put(b"first")], quiet)
    post = link.send

    def noted(kind: str, *buffers: bytes, **fields: Any) -> Any:
        kinds.append(kind)
        return post(kind, *buffers, **fields)

    monkeypatch.setattr(link, "send", noted)
    assert send(link, mine, [mine.put(b"second")], quiet) == len(b"second")
    assert kinds == ["put"]
    assert send(link, mine, [mine.put(os.urandom(40_000))], quiet) == 40_000
    assert kinds[1] == "have"


@pytest.mark.slow
def test_a_link_that_falls_silent_is_left_and_the_rest_follows(
    server: Sshd, make_proxy: MakeProxy, open_link: OpenLink, mine: BlobStore
) -> None:
    digest = mine.put(os.urandom(20 * MB))
    proxy = make_proxy("127.0.0.1", server.port)
    link = open_link(server, port=proxy.port)
    silences = [lambda: threading.Thread(target=proxy.stall_for, args=(6.0,), daemon=True).start()]
    send(link, mine, [digest], Harm(*silences, total=20 * MB))
    assert same(mine, [digest], BlobStore(str(server.root / "blobs")))
    assert proxy.figures.up < 1.01 * 20 * MB + 2 * MOMENT


@pytest.mark.parametrize("way", ["up", "down"])
def test_who_gave_up_goes_on_later_where_it_ended(
    way: str, open_link: OpenLink, mine: BlobStore, host: BlobStore
) -> None:
    size = 60 * MB  # half of it is more than may be under way at once
    digest = (mine if way == "up" else host).put(os.urandom(size))

    def carry(link: AgentClient, progress: Callable[[int, int], None]) -> int:
        if way == "up":
            return send(link, mine, [digest], progress)
        return fetch(link, mine, {digest: size}, progress)

    link = open_link()
    with pytest.raises(LinkLost, match="closed"):
        carry(link, Harm(link.close, total=size))
    seen: list[int] = []
    assert carry(open_link(), lambda done, total: seen.append(done)) <= size - seen[0]
    assert seen[0] >= size // 2
    assert same(mine, [digest], host)


def test_what_is_there_is_not_sent_and_soon_not_even_asked_about(
    open_link: OpenLink, mine: BlobStore, host: BlobStore
) -> None:
    digests = [mine.put(os.urandom(10_000)) for _ in range(10)]
    first, second = open_link(), open_link()
    assert send(first, mine, digests, quiet) == 100_000
    assert send(second, mine, digests, quiet) == 0
    first.close()
    assert send(first, mine, digests, quiet) == 0, "that needs no link"
    changed = [*digests[1:], mine.put(b"changed")]
    assert send(second, mine, changed, quiet) == len(b"changed")
    back = host.put(os.urandom(5000))
    assert fetch(second, mine, {back: 5000, digests[0]: 10_000}, quiet) == 5000
    assert send(second, mine, [back], quiet) == 0, "what came from there is there"


STEP = 64 << 10


@pytest.mark.parametrize(
    ("change", "most"),
    [
        (lambda data: data[: 2 * MB] + b"changed" + data[2 * MB + 7 :], STEP),
        (lambda data: b"x" + data[1:-1] + b"x", 2 * STEP),
        (lambda data: data + b"appended" * 20_000, 160_000 + STEP),
        (lambda data: data[: 3 * MB], STEP),
        (lambda data: data[1:] + b"x", 5 * MB),
    ],
    ids=["in the middle", "at both ends", "appended", "shortened", "shifted"],
)
def test_of_a_new_version_travels_what_differs(
    change: Callable[[bytes], bytes], most: int, open_link: OpenLink, mine: BlobStore, host: BlobStore
) -> None:
    data = os.urandom(5 * MB)
    link = open_link()
    send(link, mine, [mine.put(data), mine.put(os.urandom(2 * MB))], quiet)
    digest = mine.put(change(data))
    seen: list[tuple[int, int]] = []
    assert send(link, mine, [digest], lambda done, total: seen.append((done, total))) <= most
    assert seen[-1] == (mine.size(digest), mine.size(digest))
    assert same(mine, [digest], host)


@pytest.mark.parametrize("where", ["here", "there", "damaged there"])
def test_a_version_that_is_gone_meanwhile_is_no_loss(
    where: str, open_link: OpenLink, mine: BlobStore, host: BlobStore
) -> None:
    data = os.urandom(3 * MB)
    link = open_link()
    before, after = mine.put(data), mine.put(data[:-1] + b"x")
    send(link, mine, [before], quiet)
    path = Path((mine if where == "here" else host).path(before))
    if where.startswith("damaged"):
        path.chmod(0o600)
        with path.open("r+b") as file:
            file.write(b"damaged")
    else:
        path.unlink()
    send(link, mine, [after], quiet)
    assert same(mine, [after], host)


def test_small_blobs_travel_together(open_link: OpenLink, mine: BlobStore, host: BlobStore) -> None:
    blobs = [os.urandom(100 + number) for number in range(300)]
    digests = [mine.put(data) for data in [*blobs, b"", b"x"]]
    link = open_link()
    asked: list[str] = []
    plain = link.send

    def counted(kind: str, *buffers: bytes, **fields: Any) -> Any:
        asked.append(kind)
        return plain(kind, *buffers, **fields)

    link.send = counted  # type: ignore[method-assign]
    send(link, mine, digests, quiet)
    assert same(mine, digests, host)
    other = BlobStore(mine.folder + "2")
    fetch(link, other, {digest: mine.size(digest) for digest in digests}, quiet)
    assert same(other, digests, host)
    assert asked.count("have") == 1
    assert len(asked) < 20, asked


def test_two_jobs_that_send_one_blob_at_once(open_link: OpenLink, mine: BlobStore, host: BlobStore) -> None:
    """Over two links, and twice over one of them: what one brings, the others need not."""
    digest = mine.put(os.urandom(20 * MB))
    one, two = open_link(), open_link()
    all_asked = threading.Barrier(3)
    ends = []

    def carry(link: AgentClient) -> None:
        seen: list[int] = []

        def see(done: int, total: int) -> None:
            if not seen:
                all_asked.wait(60)  # the host has said to each of them that it has nothing
            seen.append(done)

        send(link, mine, [digest], see)
        ends.append((seen[0], seen[-1]))

    in_threads(*(lambda link=link: carry(link) for link in (one, one, two)))
    assert same(mine, [digest], host)
    assert ends == [(0, 20 * MB)] * 3
    assert not os.listdir(Path(host.folder) / "parts")


def test_a_file_that_changes_while_it_is_sent_arrives_as_it_was(
    open_link: OpenLink, mine: BlobStore, host: BlobStore, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"before" * MB)
    digest = mine.put_file(str(file))

    def change(done: int, total: int) -> None:
        file.write_bytes(b"after!" * MB)

    send(open_link(), mine, [digest], change)
    assert Path(host.path(digest)).read_bytes() == b"before" * MB


@pytest.mark.slow
@pytest.mark.parametrize("way", ["up", "down"])
def test_requests_are_answered_while_data_travels(
    way: str, server: Sshd, make_proxy: MakeProxy, open_link: OpenLink, mine: BlobStore
) -> None:
    size = 40 * MB
    link = open_link(server, port=make_proxy("127.0.0.1", server.port, delay=25).port)
    asked: list[Any] = []
    at: list[int] = []  # how much had arrived when an answer came

    def see(done: int, total: int) -> None:
        if not asked or asked[-1].done():
            asked.append(link.send("jobs"))
            at.append(done)

    if way == "up":
        send(link, mine, [mine.put(os.urandom(size))], see)
    else:
        digest = BlobStore(str(server.root / "blobs")).put(os.urandom(size))
        fetch(link, mine, {digest: size}, see)
    assert len(at) > 5, at
    assert at[3] < size / 2


# disks


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
