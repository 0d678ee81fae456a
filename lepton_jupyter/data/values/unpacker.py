"""From a document to the value it describes, whoever wrote it. The receiving end, either side.

Nothing here unpickles, evaluates or, on the user's side, imports what the document names. Every length is held against
the bytes that are really there before memory is taken for it; whatever else a document provokes ends as Malformed.
"""

from __future__ import annotations

import base64
import binascii
import mmap
import os
from collections.abc import Callable
from typing import Any, Protocol

from ...errors import LeptonError, Malformed
from .trust import Trust

#: How much hashing the keys of one document may cost, in nodes: shared parts can make a small key enormous.
_KEYS = 10_000_000


class Source(Protocol):
    """Where blobs are; a BlobStore is one."""

    def path(self, digest: str) -> str:
        """A local file with exactly the bytes of that digest."""

    def buffer(self, digest: str) -> bytearray | mmap.mmap:
        """Those bytes to work with: private and writable."""


class Unpacker:
    """One document being read; what codecs read from."""

    def __init__(
        self, blobs: Source, by_tag: Callable[[str], Any], *, trust: Trust, device: str, allow_pickle: bool
    ) -> None:
        self.trust, self.device, self.allow_pickle = trust, device, allow_pickle
        self._blobs, self._by_tag = blobs, by_tag
        self._values: list[Any] = []
        self._costs: list[int] = []  # of each value: it and all within, counted as often as they appear
        self._cost = self._keys = 0

    def document(self, doc: Any) -> Any:
        """The value of a document. Raises Malformed, UnknownClass, MissingDependency or the store's error."""
        nodes = doc.get("nodes") if isinstance(doc, dict) and doc.get("lepton") == 1 else None
        if not isinstance(nodes, list):
            raise Malformed("this is no document of a value", hint="Do both ends run the same version of lepton?")
        for node in nodes:
            if not (isinstance(node, list) and node and isinstance(node[0], str)):
                raise Malformed("a document with a node that is none")
            self._cost = 1
            try:
                value = self._by_tag(node[0]).decode(node[1:], self)
            except LeptonError:
                raise
            except Exception as error:
                raise Malformed(f"a broken {node[0]}: {type(error).__name__}: {error!s:.200}") from error
            self._values.append(value)
            self._costs.append(self._cost)
        return self.child(doc.get("root"))

    def child(self, item: Any) -> Any:
        """The value of an item."""
        if type(item) is list:
            if len(item) == 1 and type(item[0]) is int and 0 <= item[0] < len(self._values):
                self._cost += self._costs[item[0]]
                return self._values[item[0]]
        elif item is None or type(item) in (bool, int, float, str):
            self._cost += 1
            return item
        raise Malformed(f"an item that is none: {item!r:.60}")

    def children(self, items: list[Any]) -> list[Any]:
        """The values of items in order."""
        return [self.child(item) for item in items]

    def keys(self, items: list[Any]) -> list[Any]:
        """The values of items that are going to be hashed."""
        before = self._cost
        values = self.children(items)
        self._keys += self._cost - before
        if self._keys > _KEYS:
            raise Malformed("keys that are too large to be hashed")
        return values

    def text(self, item: Any) -> str:
        """The value of an item that must be a str."""
        value = self.child(item)
        if type(value) is str:
            return value
        raise Malformed("something else where a text belongs")

    def bytes(self, leaf: Any) -> bytes:
        """The bytes of a leaf."""
        if type(leaf) is str:
            try:
                return base64.b64decode(leaf, validate=True)
            except binascii.Error as error:
                raise Malformed(f"bytes that are no base64: {error}") from None
        with open(self.path(leaf), "rb") as file:
            return file.read()

    def buffer(self, leaf: Any) -> bytearray | mmap.mmap:
        """The bytes of a leaf to work with: private, writable."""
        if type(leaf) is str:
            return bytearray(self.bytes(leaf))
        digest, size = self._blob(leaf)
        found = self._blobs.buffer(digest)
        self._held(digest, size, len(found))
        return found

    def path(self, leaf: Any) -> str:
        """The file of a leaf that is a blob, verified, and of the size that was announced."""
        digest, size = self._blob(leaf)
        path = self._blobs.path(digest)
        self._held(digest, size, os.path.getsize(path))
        return path

    @staticmethod
    def _blob(leaf: Any) -> tuple[str, int]:
        if not (type(leaf) is list and len(leaf) == 2 and type(leaf[0]) is str and type(leaf[1]) is int):
            raise Malformed(f"bytes that are none: {leaf!r:.60}")
        return leaf[0], leaf[1]

    @staticmethod
    def _held(digest: str, announced: int, found: int) -> None:
        if found != announced:
            raise Malformed(f"blob {digest:.64} has not the size that was announced")
