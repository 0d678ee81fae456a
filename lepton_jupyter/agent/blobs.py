"""Blobs asked for and brought over one link. Runs on the host, in the agent and in the reader.

A thread of its own carries the requests out, in order, so that a slow disk holds up neither the link's other requests
nor its events. What waits for it is bounded: then the link is not read, and the sender waits.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable
from typing import Any

from ..blobs import BlobStore, Part, checked, checked_size
from ..errors import BlobMissing, HostStorage, WireError
from ..wire import Message, deflated, inflated

#: Requests that may wait, and bytes that one of them may bring or ask for.
_WAITING = 64
_MOST = 8 << 20
#: Seconds in which what has arrived must be stored once the link is gone; the client sends the rest again.
_PARTING = 5.0


class BlobDesk:
    """The store of `root` for one client. `serve` is called in the desk's thread with each request."""

    def __init__(self, root: str, serve: Callable[[Message], None]) -> None:
        self._root, self._serve = root, serve
        self._asked: queue.Queue[Message | None] = queue.Queue(_WAITING)
        self._open = True
        self._store: BlobStore | None = None
        self._parts: dict[str, Part] = {}
        self._thread = threading.Thread(target=self._work, name="blobs", daemon=True)
        self._thread.start()

    def ask(self, message: Message) -> None:
        """Have a request served, in its turn."""
        if self._open:
            self._asked.put(message)

    def close(self) -> None:
        """Take no more requests. On return what has arrived of blobs is kept, unless that takes seconds."""
        if self._open:
            self._open = False
            self._asked.put(None)
        self._thread.join(_PARTING)

    def carry_out(self, message: Message) -> tuple[dict[str, Any], tuple[bytes, ...]]:
        """Do what a request asks; its answer's fields and buffers. Raises LeptonError, or KeyError and such."""
        try:
            return self._carry_out(message)
        except OSError as error:
            raise HostStorage(f"the data in {self._root}/blobs cannot be used: {error.strerror}") from error

    def _carry_out(self, message: Message) -> tuple[dict[str, Any], tuple[bytes, ...]]:
        if self._store is None:
            self._store = BlobStore(os.path.join(self._root, "blobs"), fault=HostStorage)
        if message.kind == "have":
            return {"missing": self._missing(self._store, message.fields)}, ()
        if message.kind == "put":
            if len(message.fields["pieces"]) != len(message.buffers) or sum(map(len, message.buffers)) > _MOST:
                raise WireError("the pieces of a request are too large, or not as many as it says")
            offsets = [self._put(self._store, *pair) for pair in zip(message.fields["pieces"], message.buffers)]
            return {"offsets": offsets}, ()
        if sum(int(piece["length"]) for piece in message.fields["pieces"]) > _MOST:
            raise WireError(f"more than {_MOST:,} bytes were asked for at once")
        found = [self._get(self._store, piece, bool(message.fields["deflate"])) for piece in message.fields["pieces"]]
        return {"pieces": [fields for fields, _ in found]}, tuple(data for _, data in found)

    def _missing(self, store: BlobStore, fields: dict[str, Any]) -> dict[str, int]:
        """Of each blob that is not here how many bytes are; room is made for the rest."""
        missing = {}
        room = 0
        for digest, said in fields["blobs"].items():
            size = checked_size(int(said))
            if fields.get("verify"):
                with contextlib.suppress(BlobMissing):
                    store.path(digest)
            if store.has(digest, size):
                store.touch(digest)
            else:
                missing[digest] = store.begun(digest, size)
                room += size - missing[digest]
        if room:
            store.evict(room)
        return missing

    def _put(self, store: BlobStore, piece: dict[str, Any], data: bytes) -> int:
        digest, size = checked(piece["digest"]), int(piece["size"])
        if piece.get("like") is not None:
            with contextlib.suppress(BlobMissing):  # then a gap stays, and the sender asks what is here
                data = store.read(piece["like"], int(piece["offset"]), min(int(piece["length"]), _MOST))
        elif piece.get("raw") is not None:
            data = inflated(data, min(int(piece["raw"]), _MOST))
        part = self._parts.get(digest)
        if part is None or part.size != size:
            self._let_go(digest)
            if len(self._parts) >= _WAITING:
                self._let_go(next(iter(self._parts)))
            part = self._parts[digest] = store.part(digest, size)
        try:
            offset = part.write(int(piece["offset"]), data)
            if offset == size:
                part.finish()
                self._let_go(digest)
        except BaseException:
            self._let_go(digest)
            raise
        return offset

    def _get(self, store: BlobStore, piece: dict[str, Any], deflate: bool) -> tuple[dict[str, Any], bytes]:
        digest = checked(piece["digest"])
        data = store.read(digest, int(piece["offset"]), int(piece["length"]))
        fields: dict[str, Any] = {"size": store.size(digest)}
        small = deflated(data) if deflate else None
        return (fields, data) if small is None else ({**fields, "raw": len(data)}, small)

    def _let_go(self, digest: str) -> None:
        part = self._parts.pop(digest, None)
        if part is not None:
            part.close()

    def _work(self) -> None:
        while (message := self._asked.get()) is not None:
            self._serve(message)
        for digest in list(self._parts):
            self._let_go(digest)
