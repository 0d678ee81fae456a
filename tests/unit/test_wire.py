"""Frames: what goes in comes out, however the bytes are cut; what follows no rule is refused before it costs memory."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lepton_jupyter.errors import HostStorage, LeptonError, WireError
from lepton_jupyter.wire import MAX_FRAME, MAX_HEADER, Event, FrameReader, Message, fault, pack, to_error

messages = st.builds(
    Message,
    st.text(min_size=1),
    st.dictionaries(st.text().filter(lambda name: name != "kind"), st.integers() | st.text() | st.booleans()),
    st.lists(st.binary(max_size=300), max_size=5).map(tuple),
)


class Pieces:
    """A channel that hands out its bytes in pieces of given sizes, and counts what was asked for."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self.data, self.sizes, self.asked = data, sizes, 0

    def read(self, n: int) -> bytes:
        self.asked = max(self.asked, n)
        size = min(n, self.sizes.pop(0) if self.sizes else n)
        part, self.data = self.data[:size], self.data[size:]
        return part

    def write(self, data: bytes) -> None:
        raise AssertionError

    def close(self) -> None:
        raise AssertionError


@given(st.lists(messages, max_size=5), st.lists(st.integers(1, 40), max_size=200))
def test_any_cut_of_the_bytes_gives_the_same_messages(sent: list[Message], sizes: list[int]) -> None:
    reader = FrameReader(Pieces(b"".join(map(pack, sent)), sizes))
    assert [reader.read() for _ in sent] == sent
    assert reader.read() is None


def test_an_end_within_a_message_is_no_clean_end() -> None:
    data = pack(Message("event", {}, (b"12345",)))
    for size in range(1, len(data)):
        with pytest.raises(EOFError):
            FrameReader(Pieces(data[:size], [])).read()


@pytest.mark.parametrize(
    "prefix",
    [
        struct.pack("!II", 10 * (1 << 30) & 0xFFFFFFFF or 0xFFFFFFFF, 0),
        struct.pack("!II", MAX_HEADER + 1, 0),
        struct.pack("!II", 10, 1 << 20),
        struct.pack("!IIQ", 10, 1, 10 << 30),
        struct.pack("!IIQQ", 10, 2, MAX_FRAME, 1),
        b"Welcome to gpu1!\r\nLast login: yesterday\r\n",
    ],
    ids=["4 GB header", "header", "a million buffers", "10 GB buffer", "sum of buffers", "a login banner"],
)
def test_absurd_lengths_are_refused_before_anything_is_read(prefix: bytes) -> None:
    channel = Pieces(prefix + bytes(1000), [])
    with pytest.raises(WireError, match="refused"):
        FrameReader(channel).read()
    assert channel.asked <= 1 << 16


@pytest.mark.parametrize("header", [b"[]", b"{}", b'{"kind": 3}', b"\xff\xfe", b"{", b"null"])
def test_a_header_that_is_none_is_refused(header: bytes) -> None:
    with pytest.raises(WireError, match="header"):
        FrameReader(Pieces(struct.pack("!II", len(header), 0) + header, [])).read()


def test_rest_is_what_was_read_beyond_the_message() -> None:
    first, second = pack(Message("a")), pack(Message("b", {"x": 1}, (b"raw",)))
    reader = FrameReader(Pieces(first + second, []))
    assert reader.read() == Message("a")
    assert reader.rest() == second
    assert reader.rest() == b""


def test_an_event_survives_the_wire() -> None:
    event = Event(
        "k7m3", 7, "iopub", {"msg_type": "stream", "parent": "x", "time": 1.5}, (b"{}", b'{"text": "\xc3\xa9"}')
    )
    message = FrameReader(Pieces(pack(event.to_message()), [])).read()
    assert message is not None
    assert Event.from_message(message) == event


@pytest.mark.parametrize("missing", ["job", "seq", "event"])
def test_an_event_that_lacks_a_field_is_refused(missing: str) -> None:
    fields = {"job": "k7m3", "seq": 1, "event": "state"}
    del fields[missing]
    with pytest.raises(WireError, match="event without"):
        Event.from_message(Message("event", fields))


def test_errors_cross_by_name_and_only_known_names_do() -> None:
    error = to_error(fault(HostStorage("full", hint="make room"), n=3))
    assert type(error) is HostStorage
    assert str(error) == "full\nmake room"
    stranger = to_error(Message("fault", {"error": "SystemExit", "message": "boo"}))
    assert type(stranger) is LeptonError
    assert stranger.message == "boo"


def test_the_header_is_plain_json() -> None:
    frame = pack(Message("ping", {"n": 1}))
    size, count = struct.unpack_from("!II", frame)
    assert count == 0
    assert json.loads(frame[8 : 8 + size]) == {"kind": "ping", "n": 1}
