"""Many small files become a few blobs, so that neither end makes a file of its own for each. On the user's side.

A pack is the contents of some files, one behind the other, and a blob like any other. Which content lies where is
remembered beside the digests of the files (`_digests`): what was packed once is neither read nor sent again, and a
file that changes later travels alone. `_contents` is the other end.
"""

from __future__ import annotations

import hashlib

from ._digests import Digests
from ._tree import Sink

#: Files up to this size are packed, when there are so many of them at least; about so many bytes make a pack.
SMALL, FEWEST, FULL = 64 << 10, 32, 4 << 20


def merge(packs: dict[str, dict[str, int]], more: dict[str, dict[str, int]]) -> None:
    """Add the packs of another set of files, which may use the same ones."""
    for pack, places in more.items():
        packs[pack] = {**packs.get(pack, {}), **places}


class Packs:
    """The packs of one set of files: those that are in the store already, and new ones."""

    def __init__(self, sink: Sink, known: Digests) -> None:
        self._sink, self._known = sink, known
        self._used: dict[str, dict[str, tuple[int, int]]] = {}  # pack -> content -> offset, size
        self._have: dict[str, bool] = {}  # pack -> whether the store has it
        self._new: dict[str, bytes] = {}  # contents that are in no pack yet
        self._bytes = 0
        self._sizes: dict[str, int] = {}

    def find(self, digest: str, size: int) -> bool:
        """Whether a pack of the store has this content, or one to come; it counts as used then."""
        if digest in self._new:
            return True
        place = self._known.place(digest)
        if place is None:
            return False
        pack, offset = place
        if pack not in self._have:
            self._have[pack] = self._sink.has(pack)
        if self._have[pack]:
            self._used.setdefault(pack, {})[digest] = offset, size
            self._sizes[digest] = size
        return self._have[pack]

    def size(self, digest: str) -> int:
        """The bytes of a content that is in the store or to come."""
        found = self._sizes.get(digest)
        return self._sink.size(digest) if found is None else found

    def add(self, data: bytes) -> str:
        """Have this content in a pack; its digest."""
        digest = hashlib.sha256(data).hexdigest()
        if not self.find(digest, len(data)):
            self._take(digest, data)
        return digest

    def result(self) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
        """The packs: pack → content → where it begins in it; and pack → size. What is in none is a blob of its own.

        A pack of which most is needed no more is made anew: it would travel whole to the next host.
        """
        for pack in list(self._used):
            if 2 * sum(size for _, size in self._used[pack].values()) < self._sink.size(pack):
                for digest, (offset, size) in self._used.pop(pack).items():
                    self._take(digest, self._sink.read(pack, offset, size))
        if len(self._new) >= FEWEST:
            self._flush()
        for digest, data in self._new.items():
            self._sink.put(data)
            self._known.move(digest, "", 0)
        self._new = {}
        for pack in self._used:
            self._sink.touch(pack)  # what is sent is in use, also when it need not travel
        places = {pack: {digest: at for digest, (at, _) in used.items()} for pack, used in self._used.items()}
        return places, {pack: self._sink.size(pack) for pack in places}

    def _take(self, digest: str, data: bytes) -> None:
        self._new[digest], self._sizes[digest] = data, len(data)
        self._bytes += len(data)
        if self._bytes >= FULL:
            self._flush()

    def _flush(self) -> None:
        pack = self._sink.put(b"".join(self._new.values()))
        offset = 0
        for digest, data in self._new.items():
            self._used.setdefault(pack, {})[digest] = offset, len(data)
            self._known.move(digest, pack, offset)
            offset += len(data)
        self._have[pack], self._new, self._bytes = True, {}, 0
