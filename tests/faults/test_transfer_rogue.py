"""Hosts that lie about data: other bytes, more or fewer of them, bombs, numbers that make no sense.

The host is a thread here that reads real frames and answers what it likes. Whatever it says, the client ends with an
error in words, keeps nothing that does not match its digest, and writes nothing outside its store.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import socket
import struct
import tempfile
import threading
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lepton_jupyter.agent.pipes import SocketChannel
from lepton_jupyter.blobs import BlobStore
from lepton_jupyter.client import AgentClient
from lepton_jupyter.errors import BlobDamaged, BlobMissing, LeptonError, WireError
from lepton_jupyter.remote.transfer import fetch, send
from lepton_jupyter.wire import FrameReader, Message, pack

DATA = b"what was announced" * 1000
D = hashlib.sha256(DATA).hexdigest()
Answers = Callable[[Message], "Message | bytes"]


def quiet(done: int, total: int) -> None:
    """Nobody watches."""


def rogue(answers: Answers) -> AgentClient:
    """A client of a host that answers so; what it answers without `n` gets the request's."""
    near, far = socket.socketpair()

    def run() -> None:
        channel = SocketChannel(far)
        reader = FrameReader(channel)
        with far, contextlib.suppress(OSError, EOFError):  # until the client leaves
            while (message := reader.read()) is not None:
                if message.kind in ("have", "get", "put"):
                    answer = answers(message)
                    if isinstance(answer, Message):
                        answer = pack(Message(answer.kind, {"n": message.fields["n"], **answer.fields}, answer.buffers))
                    channel.write(answer)

    threading.Thread(target=run, daemon=True).start()
    return AgentClient(lambda: SocketChannel(near), lambda event: None, lambda link, words: None)


def serving(data: bytes = DATA, **about: Any) -> Answers:
    """A host that answers each `get` with the asked piece of `data`, described by `about`."""

    def answers(message: Message) -> Message:
        if message.kind == "have":
            return Message("done", {"missing": {}})
        pieces = [data[piece["offset"] :][: piece["length"]] for piece in message.fields["pieces"]]
        rows = [{"size": len(DATA), **about} for _ in pieces]
        return Message("done", {"pieces": rows}, tuple(pieces))

    return answers


def always(fields: dict[str, Any], *buffers: bytes) -> Answers:
    return lambda message: Message("done", fields, buffers)


def refused(store: BlobStore, ask: Callable[[], Any], outside: Path) -> LeptonError:
    """Ask, have it refused, and nothing left but the store's own folders."""
    before = {path for path in outside.rglob("*") if Path(store.folder) not in path.parents}
    with pytest.raises(LeptonError) as caught:
        ask()
    assert str(caught.value)
    assert not store.has(D)
    assert {path.name for path in Path(store.folder).iterdir()} <= {"parts", "pins", "lock"}
    assert {path for path in outside.rglob("*") if Path(store.folder) not in path.parents} == before
    return caught.value


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(str(tmp_path / "store"))


TRACE = Path(tempfile.gettempdir(), f"unpickled-by-{os.getpid()}")


class Evil:
    """What would leave a trace if somebody unpickled it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(TRACE),)


BOMB = zlib.compress(bytes(64 << 20), 9)


@pytest.mark.parametrize(
    ("answers", "error", "words"),
    [
        (serving(DATA[::-1]), BlobDamaged, "another digest"),
        (serving(pickle.dumps(Evil()).ljust(len(DATA), b".")), BlobDamaged, "another digest"),
        (serving(size=len(DATA) + 1), WireError, "has not the 18,000 bytes that were announced"),
        (serving(size=10 << 30), WireError, "has not the"),
        (serving(size=-1), WireError, "has not the"),
        (serving(size="18000"), WireError, "has not the"),
        (serving(DATA[:-1]), WireError, "17,999 bytes where 18,000 were asked for"),
        (always({"pieces": [{"size": len(DATA)}]}, DATA + b"x"), WireError, "18,001 bytes where 18,000"),
        (always({"pieces": [{"size": len(DATA)}]}), WireError, "0 pieces of data where 1"),
        (always({"pieces": [{"size": len(DATA)}]}, DATA, DATA), WireError, "2 pieces of data where 1"),
        (always({"pieces": [{"size": len(DATA), "raw": len(DATA)}]}, BOMB), WireError, "not the 18,000 bytes"),
        (always({"pieces": [{"size": len(DATA), "raw": 64 << 20}]}, BOMB), WireError, "not the 18,000 bytes"),
        (always({"pieces": [{"size": len(DATA), "raw": len(DATA)}]}, DATA), WireError, "cannot be read"),
        (always({"pieces": [7]}, DATA), WireError, "has not the"),
        (always({"pieces": 7}, DATA), WireError, "makes no sense"),
        (always({"pieces": []}), WireError, "makes no sense"),
        (always({}), WireError, "makes no sense"),
        (lambda message: struct.pack("!II", 0xFFFFFFFF, 0), WireError, "refused"),
        (lambda message: struct.pack("!IIQ", 10, 1, 10 << 30), WireError, "refused"),
        (lambda message: Message("fault", {"error": "os.system", "message": "ha"}), LeptonError, "ha"),
        (lambda message: Message("fault", {"error": "LinkLost", "message": "ha"}), LeptonError, "ha"),
        (lambda message: Message("fault", {"error": "BlobMissing", "message": "gone"}), BlobMissing, "gone"),
    ],
    ids=range(22),
)
def test_what_a_host_lies_about_data_that_is_fetched(
    answers: Answers, error: type[LeptonError], words: str, store: BlobStore, tmp_path: Path
) -> None:
    client = rogue(answers)
    tracemalloc.start()
    try:
        caught = refused(store, lambda: fetch(client, store, {D: len(DATA)}, quiet), tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20, "nothing large was made of it"
    finally:
        tracemalloc.stop()
        client.close()
    assert isinstance(caught, error), repr(caught)
    assert words in str(caught)
    assert not TRACE.exists()


@pytest.mark.parametrize("digest", ["../../outside", "/etc/passwd", "A" * 64, "", 7])
def test_names_that_are_no_digests_are_not_even_asked_for(digest: Any, store: BlobStore, tmp_path: Path) -> None:
    """They may come from a host, in the description of a value."""
    client = rogue(serving())
    assert "is no digest" in str(refused(store, lambda: fetch(client, store, {digest: 1}, quiet), tmp_path))
    client.close()


@pytest.mark.parametrize("size", [-1, 1 << 61])
def test_sizes_that_no_blob_has_are_refused(size: int, store: BlobStore, tmp_path: Path) -> None:
    client = rogue(serving())
    refused(store, lambda: fetch(client, store, {D: size}, quiet), tmp_path)
    client.close()


def test_more_than_the_disk_holds_is_refused_before_it_is_fetched(store: BlobStore, tmp_path: Path) -> None:
    client = rogue(serving())
    caught = refused(store, lambda: fetch(client, store, {D: 1 << 59}, quiet), tmp_path)
    assert "do not fit" in str(caught)
    client.close()


@pytest.mark.parametrize(
    "missing",
    [
        {D: -1},
        {D: len(DATA) + 1},
        {D: 10 << 30},
        {D: True},
        {D: "0"},
        {D: None},
        {D: 0.5},
        {"e" * 64: 0},
        {"../../etc/passwd": 0},
        [D],
        None,
        7,
    ],
    ids=range(12),
)
def test_what_a_host_lies_about_data_that_it_has(missing: Any, tmp_path: Path) -> None:
    mine = BlobStore(str(tmp_path / "mine"))
    mine.put(DATA)
    client = rogue(always({"missing": missing}))
    with pytest.raises(WireError, match="the host"):
        send(client, mine, [D], quiet)
    assert D not in client.known
    client.close()


@pytest.mark.parametrize("offset", [-1, 10 << 30, True, "0", None, 5], ids=range(6))
def test_what_a_host_lies_about_data_that_was_sent(offset: Any, tmp_path: Path) -> None:
    """Also one that loses what it is sent, without end: it is asked a few times, not for ever."""
    mine = BlobStore(str(tmp_path / "mine"))
    mine.put(DATA)
    put = []

    def answers(message: Message) -> Message:
        if message.kind == "have":
            return Message("done", {"missing": {D: 0}})
        put.append(message)
        return Message("done", {"offsets": [offset]})

    client = rogue(answers)
    with pytest.raises(WireError):
        send(client, mine, [D], quiet)
    assert 1 <= len(put) <= 3
    assert D not in client.known
    client.close()
