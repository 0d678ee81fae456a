"""What both ends of a link agree on: the channel, the frame, the messages.

Runs everywhere, also on hosts: standard library only, Python 3.9.

A frame is ``!II`` (length of the header, number of buffers), ``!Q`` per buffer (its length), the header (a JSON
object in UTF-8 with at least ``kind``), then the buffers as they are. Contents of Jupyter messages travel as buffers,
so neither the agent nor the link ever parses a 50 MB output.

========== ==== ======================================================================================
kind       way  fields [buffers]
========== ==== ======================================================================================
hello      down protocol, client
execute    down n, job, name, allow_stdin, execution_count, follow: whether as by attach after 0 [code]
attach     down n, job, after: send the job's events with seq > after, then follow
detach     down n, job
interrupt  down n, job
cancel     down n, job
input      down n, job, of: seq of the stdin event [value]
comm       down n, job, msg_type, msg_id [metadata, content, *buffers]
jobs       down n: what jobs does this host know
watch      down n, every: send a sample of the host every so many seconds, until 0 or the end of the link
history    down n, job: how the job used its host (samples, words)
facts      down n, modules: what the kernel's Python has, and which of these (agent/facts.py)
have       down n, blobs: {digest: size}, verify -> missing: {digest: how many of its bytes are there}
put        down n, pieces: of each digest, size, offset, raw (its length, when it is deflated), or instead of data
                like (another blob that has these bytes at this offset) and length [the pieces]
                -> offsets: how many bytes are there now; never sent again by itself after a cut
get        down n, pieces: of each digest, offset, length; deflate: whether to where it is worth it
                -> pieces: of each size (of the blob), raw [the pieces]
stop       down n: end the kernel and the agent
ping       down
progress   up   text: a launch tells how far it is
ready      up   live: an agent answers from here on; else the host's files do
welcome    up   protocol, kernel_id, host, pid, python
event      up   job, seq, event, time, and by event:
                ``iopub`` msg_type, parent [metadata, content, *buffers]; ``stdin`` prompt, password;
                ``answered`` of; ``reply`` [content]; ``state`` state, cause, error, usage (agent/usage.py)
sample     up   sample: the host now (agent/resources.py), for a client that watches
done       up   n, and the answer's fields [buffers]: request n was carried out (once, however often it is sent)
fault      up   error (a name in errors.BY_NAME), message, hint, n when it answers a request
pong       up
========== ==== ======================================================================================

Requests carry a number ``n`` that grows by client, so one that is sent again after a cut is carried out once. Blobs
(have, put, get) are not numbered twice: what their requests say is true whenever it is said.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any, Protocol

from .errors import BY_NAME, LeptonError, WireError

PROTOCOL = 1
#: Larger headers or frames are refused before a byte of them is stored.
MAX_HEADER = 1 << 20
MAX_FRAME = 1 << 30
MAX_BUFFERS = 1 << 12

_LENGTHS = struct.Struct("!II")
#: So much of a piece of data is deflated to see whether it shrinks below this share of itself.
_SAMPLE, _WORTH = 1 << 14, 0.85


class Channel(Protocol):
    """A two-way pipe of bytes. All that a target has to provide for its agents."""

    def read(self, n: int) -> bytes:
        """Block for at least one byte, return at most `n`; ``b""`` once the other end is gone."""

    def write(self, data: bytes) -> None:
        """Write all of `data`; raise OSError or EOFError once the other end is gone."""

    def close(self) -> None:
        """Close both ways; a blocked read returns ``b""``. Closing twice is harmless."""


@dataclass(frozen=True)
class Message:
    """One frame: its kind, its JSON fields and its raw buffers."""

    kind: str
    fields: dict[str, Any] = field(default_factory=dict)
    buffers: tuple[bytes, ...] = ()


def from_json(data: bytes) -> Any:
    """The value of JSON that a kernel sent. Bytes that are no UTF-8 become U+FFFD, as in every Jupyter front end.

    A kernel sends such bytes for text that it could not decode itself, such as a file's name in Latin-1.
    """
    return json.loads(data.decode("utf-8", "replace"))


def pack(message: Message) -> bytes:
    """The frame of `message`. Raises WireError when it is larger than the other end accepts."""
    header = json.dumps({"kind": message.kind, **message.fields}, separators=(",", ":")).encode()
    sizes = [len(buffer) for buffer in message.buffers]
    _check(len(header), sizes)
    prefix = _LENGTHS.pack(len(header), len(sizes)) + struct.pack(f"!{len(sizes)}Q", *sizes)
    return b"".join((prefix, header, *message.buffers))


class FrameReader:
    """Cuts a channel's bytes into messages."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._buffer = b""  # what was read
        self._at = 0  # and how much of it was used

    def read(self) -> Message | None:
        """The next message; None at a clean end. Raises WireError on bytes that follow no rule."""
        prefix = self._take(_LENGTHS.size, at_start=True)
        if not prefix:
            return None
        header_size, count = _LENGTHS.unpack(prefix)
        _check(header_size, [], count)
        sizes = list(struct.unpack(f"!{count}Q", self._take(8 * count)))
        _check(header_size, sizes)
        fields = _parse(self._take(header_size))
        return Message(fields.pop("kind"), fields, tuple(self._take(size) for size in sizes))

    def rest(self) -> bytes:
        """What was read from the channel beyond the last message, for whoever reads on."""
        return self._take(len(self._buffer) - self._at)

    def _take(self, size: int, at_start: bool = False) -> bytes:
        """The next `size` bytes; none when the channel ended `at_start` of a message."""
        parts = [self._buffer[self._at : self._at + size]]
        self._at += len(parts[0])
        missing = size - len(parts[0])
        while missing:
            data = self._channel.read(max(1 << 16, min(missing, 1 << 22)))
            if not data:
                if at_start and missing == size:
                    return b""
                raise EOFError("the link ended in the middle of a message")
            parts.append(data[:missing])
            self._buffer, self._at = data, len(parts[-1])
            missing -= self._at
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _check(header: int, sizes: list[int], count: int = 0) -> None:
    if header > MAX_HEADER or sum(sizes) > MAX_FRAME or max(count, len(sizes)) > MAX_BUFFERS:
        raise WireError(
            f"a message of {header + sum(sizes):,} bytes in {max(count, len(sizes)) + 1} parts was refused",
            hint=f"One output may have at most {MAX_FRAME >> 20} MiB; write larger results to a file.",
        )


def _parse(header: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(header)
    except ValueError:
        fields = None
    if not isinstance(fields, dict) or not isinstance(fields.get("kind"), str):
        raise WireError("a message without a readable header arrived")
    return fields


@dataclass(frozen=True)
class Event:
    """One numbered piece of news about a job; `seq` counts from 1 without gaps."""

    job_id: str
    seq: int
    event: str  # iopub | stdin | answered | reply | state
    fields: dict[str, Any] = field(default_factory=dict)
    buffers: tuple[bytes, ...] = ()

    def to_message(self) -> Message:
        return Message("event", {**self.fields, "job": self.job_id, "seq": self.seq, "event": self.event}, self.buffers)

    @classmethod
    def from_message(cls, message: Message) -> Event:
        """Raises WireError when the fields of an event are missing or of another type."""
        fields = dict(message.fields)
        job, seq, event = fields.pop("job", None), fields.pop("seq", None), fields.pop("event", None)
        if not (isinstance(job, str) and isinstance(seq, int) and isinstance(event, str)):
            raise WireError("an event without job, seq or event arrived")
        return cls(job, seq, event, fields, message.buffers)


def deflated(data: bytes) -> bytes | None:
    """`data` compressed, or None when it hardly becomes smaller."""
    middle = len(data) // 2
    sample = data[middle : middle + _SAMPLE]
    if len(zlib.compress(sample, 1)) > _WORTH * len(sample):
        return None
    small = zlib.compress(data, 1)
    return small if len(small) <= _WORTH * len(data) else None


def inflated(data: bytes, size: int) -> bytes:
    """The `size` bytes that `data` was made of. Raises WireError when they are others, without making more of them."""
    inflater = zlib.decompressobj()
    try:
        whole = inflater.decompress(data, size + 1)
    except (zlib.error, ValueError, OverflowError) as error:
        raise WireError(f"compressed data cannot be read: {error}") from None
    if len(whole) != size or not inflater.eof:
        raise WireError(f"compressed data is not the {size:,} bytes that were announced")
    return whole


def fault(error: LeptonError, **fields: Any) -> Message:
    """The message that carries `error` to the other end."""
    name = type(error).__name__
    return Message("fault", {"error": name, "message": error.message, "hint": error.hint, **fields})


def to_error(message: Message) -> LeptonError:
    """The error that a fault message carries; an unknown name gives a plain LeptonError."""
    fields = message.fields
    cls = BY_NAME.get(str(fields.get("error")), LeptonError)
    return cls(str(fields.get("message", "")), hint=str(fields.get("hint", "")))
