"""Data over links that are cut: it arrives whole, and nothing travels twice but a moment's."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lepton_jupyter.blobs import BlobStore
from lepton_jupyter.client import AgentClient
from lepton_jupyter.errors import LinkLost
from lepton_jupyter.remote.transfer import fetch, send
from tests.fakes.proxy import MakeProxy, Proxy
from tests.fakes.sshd import Sshd
from tests.faults._data import MB, OpenLink, quiet, same
from tests.faults._road import in_threads

#: What a cut may cost: what was in the link's buffers, and saying hello again.
MOMENT = 3 * MB


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
