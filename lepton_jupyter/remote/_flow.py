"""What sending and fetching share: pieces of blobs, in messages, as many under way as the pace allows.

Runs in the notebook's kernel and the command line. Memory holds what is under way and no more.
"""

from __future__ import annotations

import abc
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Any

from ..blobs import BlobStore, Digest
from ..client import AgentClient, Answer, Cut
from ..errors import BlobDamaged, LeptonError, WireError
from ._pace import Pace

#: Told how many bytes are there, of how many that were missing.
Progress = Callable[[int, int], None]

#: Digests in one question, and pieces in one message: many small blobs travel together.
_DIGESTS, _PIECES = 4096, 1024
#: So often data that does not add up is carried once more.
_AGAIN = 2
#: Bytes that the host copies weigh so much less than bytes that travel.
_LIGHT = 16


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of a blob; with `like` they are those of another blob at the same place."""

    digest: Digest
    size: int  # of the blob
    offset: int
    length: int
    like: Digest | None = None

    @property
    def weight(self) -> int:
        return self.length if self.like is None else self.length // _LIGHT


@dataclass(slots=True)
class Frame:
    """Pieces in one message."""

    pieces: list[Piece]
    weight: int
    travels: int = 0  # bytes, when they are compressed
    answer: Future[Answer] = field(default_factory=Future)

    def rows(self, answer: Answer, name: str) -> list[Any]:
        """What an answer says of each piece. Raises WireError."""
        rows = answer.get(name)
        if not isinstance(rows, list) or len(rows) != len(self.pieces):
            raise WireError(f"the host's answer about {len(self.pieces)} pieces of data makes no sense")
        return rows


class Gap(WireError):
    """The receiver has less than was sent to it."""


class Transfer(abc.ABC):
    """Brings blobs from one end to the other."""

    def __init__(self, client: AgentClient, store: BlobStore, sizes: dict[Digest, int], progress: Progress) -> None:
        self.client, self.store, self.sizes, self._progress = client, store, sizes, progress
        self.there: dict[Digest, int] = {}  # how many bytes the receiver has of each blob that it has not whole
        self.travelled = self.failures = 0
        self._done = self._total = 0
        self.pace = Pace(client.latency, client.window)

    def run(self) -> int:
        """Bring everything over; the bytes that travelled."""
        while missing := self.missing():
            self.there = missing
            self._total = self._total or sum(self.sizes[digest] for digest in missing)
            self._done = self._total - sum(self.sizes[digest] - count for digest, count in missing.items())
            self._progress(self._done, self._total)
            try:
                self._flow()
                break
            except Cut:
                continue  # the receiver knows what came through
            except (BlobDamaged, Gap):
                self.failures += 1
                if self.failures > _AGAIN:
                    raise
        self.client.known.update(self.sizes)
        self.client.window = self.pace.window
        return self.travelled

    def _flow(self) -> None:
        """Bring the pieces over, as many under way as the pace allows."""
        under_way: deque[Frame] = deque()
        weight, frames = 0, self._frames()
        try:
            frame = next(frames, None)
            while frame or under_way:
                if frame and (not under_way or weight + frame.weight <= self.pace.window):
                    self.ask(frame)
                    self.pace.watch(frame.answer, frame.weight)
                    under_way.append(frame)
                    weight += frame.weight
                    frame = next(frames, None)
                else:
                    first = under_way.popleft()
                    weight -= first.weight
                    self.take(first, first.answer.result())
                    self._progress(self._done, self._total)
        except LeptonError:
            wait([frame.answer for frame in under_way])  # none of it shall arrive after what is asked next
            raise

    def _frames(self) -> Iterator[Frame]:
        """What is to go, in messages of about the size that the pace says."""
        pieces: list[Piece] = []
        weight = 0
        for piece in self._pieces():
            pieces.append(piece)
            weight += piece.weight
            if weight >= self.pace.chunk or len(pieces) == _PIECES:
                yield Frame(pieces, weight)
                pieces, weight = [], 0
        if pieces:
            yield Frame(pieces, weight)

    def _pieces(self) -> Iterator[Piece]:
        """What is to go, blob by blob; at least one piece of each. Skips what others bring meanwhile."""
        for digest in self.there:
            size, offset = self.sizes[digest], self.there[digest]
            while True:
                piece = self.piece(digest, size, offset, min(self.pace.chunk, size - offset))
                yield piece
                offset = max(offset + piece.length, self.there[digest])
                if offset >= size:
                    break

    def piece(self, digest: Digest, size: int, offset: int, length: int) -> Piece:
        """The next piece of a blob, of about that length."""
        return Piece(digest, size, offset, length)

    def arrived(self, piece: Piece, count: int) -> None:
        """The receiver has so many bytes of the piece's blob now. Raises Gap when that piece is not among them."""
        if count < piece.offset + piece.length:
            raise Gap(f"data of blob {piece.digest} was lost where it was sent to")
        self._done += max(0, count - self.there[piece.digest])
        self.there[piece.digest] = max(count, self.there[piece.digest])

    @abc.abstractmethod
    def missing(self) -> dict[Digest, int]:
        """Of each blob that is not there yet how many bytes are."""

    @abc.abstractmethod
    def ask(self, frame: Frame) -> None:
        """Send the frame, or ask for it."""

    @abc.abstractmethod
    def take(self, frame: Frame, answer: Answer) -> None:
        """Note, or keep, what has arrived."""


def have(client: AgentClient, sizes: Mapping[Digest, int], verify: bool = False) -> dict[Digest, int]:
    """Of each blob that the host has not whole how many bytes it has. Raises WireError for an answer without sense."""
    found: dict[Digest, int] = {}
    digests = list(sizes)
    for start in range(0, len(digests), _DIGESTS):
        asked = {digest: sizes[digest] for digest in digests[start : start + _DIGESTS]}
        missing = client.ask("have", blobs=asked, verify=verify).get("missing")
        if not isinstance(missing, dict) or not missing.keys() <= asked.keys():
            raise WireError("the host does not say which data it has")
        found.update({digest: count(missing[digest], asked[digest]) for digest in asked if digest in missing})
    return found


def count(value: Any, most: int) -> int:
    """A number of bytes of a blob that has `most`. Raises WireError."""
    if type(value) is not int or not 0 <= value <= most:
        raise WireError(f"the host says to have {value!r:.40} of {most:,} bytes")
    return value
