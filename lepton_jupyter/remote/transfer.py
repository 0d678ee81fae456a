"""Blobs sent to a host and fetched from it: only what is not there, through any number of cuts, each verified.

Runs in the notebook's kernel and the command line. What arrived before a cut, or before this process began, is never
sent again. A new version of a large blob travels as what differs from the one the host has.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping
from typing import Any

from ..blobs import BlobStore, Digest, Part, checked_size
from ..client import AgentClient, Answer
from ..errors import BlobDamaged, BlobMissing, HostStorage, WireError
from ..wire import deflated, inflated
from ._flow import Frame, Piece, Progress, Transfer, count, have

#: Blobs from this size on are compared with one that the host has: in steps of so many bytes, and what is the same in
#: blocks. The host copies at most so many bytes at once; without a match in so many steps it is no earlier version.
_LARGE, _STEP, _BLOCK, _COPIED, _STRANGERS = 1 << 20, 64 << 10, 1 << 20, 4 << 20, 256
#: So many blobs are looked into for an earlier version.
_CANDIDATES = 8
#: So few bytes go unasked over a link that brought data before: a question would cost a round trip.
_UNASKED = 32 << 10


def send(client: AgentClient, store: BlobStore, digests: Collection[Digest], progress: Progress) -> int:
    """Have the host hold these blobs of `store`; the bytes of data that travelled for it.

    What is in `client.known` is not asked about. Raises BlobMissing and BlobDamaged when `store` has not what it
    should, HostStorage when the host has no room, LinkLost when the link is given up.
    """
    sizes = {digest: store.size(digest) for digest in dict.fromkeys(digests) if digest not in client.known}
    if not sizes:
        return 0
    with store.pin("send", sizes):
        return _Sending(client, store, sizes, progress).run()


def fetch(client: AgentClient, store: BlobStore, sizes: Mapping[Digest, int], progress: Progress) -> int:
    """Have `store` hold these blobs of the host, of the sizes announced; the bytes of data that travelled for it.

    Raises BlobMissing when the host has not got one, BlobDamaged or WireError when it sends something else, LinkLost
    when the link is given up, the store's own error when the disk is full.
    """
    wanted = {digest: checked_size(size) for digest, size in sizes.items() if not store.has(digest, size)}
    for digest in sizes.keys() - wanted.keys():
        store.touch(digest)
    if not wanted:
        return 0
    with store.pin("fetch", sizes):
        return _Fetching(client, store, wanted, progress).run()


class _Sending(Transfer):
    def __init__(self, client: AgentClient, store: BlobStore, sizes: dict[Digest, int], progress: Progress) -> None:
        super().__init__(client, store, sizes, progress)
        self._bases: dict[Digest, Digest | None] = {}
        self._strange: dict[Digest, int] = {}  # steps without a match
        self._ask = not client.known or sum(sizes.values()) > _UNASKED

    def run(self) -> int:
        try:
            return super().run()
        except HostStorage:
            if self._ask:
                raise
            self._ask = True  # it makes room when it is asked what it has
            return super().run()

    def missing(self) -> dict[Digest, int]:
        if not self._ask and not self.there:
            return dict.fromkeys(self.sizes, 0)
        self._ask = True
        if self.failures:
            self._bases = dict.fromkeys(self.sizes)
            for digest in self.sizes:
                self.store.path(digest)  # is it we who have other bytes?
        found = have(self.client, self.sizes)
        for digest, before in self.there.items():  # what arrived and was not answered before a cut
            self.travelled += max(0, found.get(digest, self.sizes[digest]) - before)
        return found

    def piece(self, digest: Digest, size: int, offset: int, length: int) -> Piece:
        if size < _LARGE:
            return Piece(digest, size, offset, length)
        if digest not in self._bases:
            self._bases[digest], self._strange[digest] = self._base(digest), 0
        base = self._bases[digest]
        if base is None:
            return Piece(digest, size, offset, length)
        same = self._same(digest, base, offset)
        if same:
            self._strange[digest] = 0
            return Piece(digest, size, offset, same, base)
        self._strange[digest] += 1
        if self._strange[digest] == _STRANGERS:
            self._bases[digest] = None
        return Piece(digest, size, offset, min(length, _STEP))

    def ask(self, frame: Frame) -> None:
        about, buffers = [], []
        for piece in frame.pieces:
            fields: dict[str, Any] = {"digest": piece.digest, "size": piece.size, "offset": piece.offset}
            if piece.like is not None:
                fields, data = {**fields, "like": piece.like, "length": piece.length}, b""
            else:
                data = self.store.read(piece.digest, piece.offset, piece.length)
                if self.pace.deflate and (small := deflated(data)) is not None:
                    fields, data = {**fields, "raw": len(data)}, small
            about.append(fields)
            buffers.append(data)
        frame.travels = sum(map(len, buffers))
        frame.answer = self.client.send("put", *buffers, pieces=about)

    def take(self, frame: Frame, answer: Answer) -> None:
        self.travelled += frame.travels
        for piece, offset in zip(frame.pieces, frame.rows(answer, "offsets"), strict=True):
            self.arrived(piece, count(offset, piece.size))

    def _base(self, digest: Digest) -> Digest | None:
        """An earlier version: a blob that both ends have, of about this size, with some of the same bytes."""
        size = self.sizes[digest]
        near = [
            (abs(other - size), -number, known)
            for number, (known, other) in enumerate(self.client.known.items())
            if size / 2 <= other <= size * 2
        ]
        near = heapq.nsmallest(_CANDIDATES, near)
        return next((known for _, _, known in near if self._alike(digest, known)), None)

    def _alike(self, digest: Digest, other: Digest) -> bool:
        least = min(self.sizes[digest], self.client.known[other])
        places = [least * part // 4 // _STEP * _STEP for part in range(4)]
        try:
            return any(self.store.read(digest, at, _STEP) == self.store.read(other, at, _STEP) for at in places)
        except BlobMissing:
            return False

    def _same(self, digest: Digest, base: Digest, offset: int) -> int:
        """How many bytes from `offset` on are the same in both blobs, in steps and as many as are copied at once."""
        end = min(self.sizes[digest], self.client.known.get(base, 0), offset + _COPIED)
        at, length = offset, _STEP
        try:
            while at < end:
                length = min(length, end - at)
                ours, theirs = self.store.read(digest, at, length), self.store.read(base, at, length)
                if ours != theirs:
                    step = 0
                    while ours[step : step + _STEP] == theirs[step : step + _STEP]:
                        step += _STEP
                    return at + step - offset
                at, length = at + length, _BLOCK
        except BlobMissing:  # an earlier version that is gone is of no use, ours is missed soon enough
            self._strange[digest] = _STRANGERS - 1
        return at - offset


class _Fetching(Transfer):
    _part: Part | None = None

    def run(self) -> int:
        try:
            return super().run()
        finally:
            self._let_go()

    def missing(self) -> dict[Digest, int]:
        sizes = self.sizes.items()
        missing = {digest: self.store.begun(digest, size) for digest, size in sizes if not self.store.has(digest, size)}
        self.store.evict(sum(self.sizes[digest] - count for digest, count in missing.items()))
        return missing

    def ask(self, frame: Frame) -> None:
        about = [{"digest": piece.digest, "offset": piece.offset, "length": piece.length} for piece in frame.pieces]
        frame.answer = self.client.send("get", pieces=about, deflate=self.pace.deflate)

    def take(self, frame: Frame, answer: Answer) -> None:
        rows = frame.rows(answer, "pieces")
        if len(answer.buffers) != len(rows):
            raise WireError(f"the host sent {len(answer.buffers)} pieces of data where {len(rows)} were asked for")
        for piece, about, data in zip(frame.pieces, rows, answer.buffers, strict=True):
            self.travelled += len(data)
            if not isinstance(about, dict) or about.get("size") != piece.size:
                raise WireError(f"blob {piece.digest} has not the {piece.size:,} bytes that were announced")
            whole = data if about.get("raw") is None else inflated(data, piece.length)
            if len(whole) != piece.length:
                raise WireError(f"the host sent {len(whole):,} bytes where {piece.length:,} were asked for")
            self._keep(piece, whole)

    def _keep(self, piece: Piece, data: bytes) -> None:
        if self._part is None or self._part.digest != piece.digest:
            self._let_go()
            self._part = self.store.part(piece.digest, piece.size)
        self.arrived(piece, self._part.write(piece.offset, data))
        if self._part.offset == piece.size:
            try:
                self._part.finish()
            except BlobDamaged:
                if have(self.client, {piece.digest: piece.size}, verify=True):
                    words = f"blob {piece.digest} was damaged on the host, and was removed there"
                    raise BlobMissing(words, hint="Make it again: run the cell that made it.") from None
                raise  # it was what an earlier attempt had left, or the host lies: once more

    def _let_go(self) -> None:
        if self._part is not None:
            self._part.close()
            self._part = None
