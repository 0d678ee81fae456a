"""From a value to a document: a flat list of nodes, each after those it is made of. The sending end, either side.

A document is ``{"lepton": 1, "nodes": [[tag, …], …], "root": item}``. An item is null, a boolean, a number or a text
as such, or ``[n]``, which is node n. So a value met twice is sent once and is one object again on arrival, a reader
needs no recursion, and a value that contains itself cannot be written: it is refused. Bytes are in the document
as base64 up to 4 KiB, and beyond that blobs, ``[digest, size]``, so an unchanged array in a changed dict stays put.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol, Union

from ...errors import LeptonError, Untransferable

Digest = str
Data = Union[bytes, bytearray, memoryview]

#: Bytes up to here are part of the document.
INLINE = 4096
#: Deeper values are refused.
DEPTH = 100

#: More bytes than this are not copied before they are sent, but looked at again afterwards.
_COPIED = 256 << 20

_BUSY = -1


class Sink(Protocol):
    """Where bytes go; a BlobStore is one."""

    def put(self, data: Data) -> Digest:
        """Keep a copy of `data`; its digest."""

    def put_file(self, path: str) -> Digest:
        """Keep a copy of the file as it is now; its digest."""


@dataclass(frozen=True)
class Encoded:
    """A value ready to travel: its JSON document, the blobs that this needs (their sizes), all bytes, and words."""

    doc: dict[str, Any]
    digests: dict[Digest, int] = field(default_factory=dict)
    size: int = 0
    words: str = ""


class Packer:
    """One document in the making; what codecs write to."""

    def __init__(self, blobs: Sink, find: Callable[[Any], Any], *, pickle: Any, name: str) -> None:
        """`find` gives the codec for a value; `pickle` is the one for what has no other, None when it may not be."""
        self.allow_pickle = pickle is not None
        self._find, self._pickle = find, pickle
        self.digests: dict[Digest, int] = {}
        self._blobs, self._steps = blobs, [("", name)]
        self._nodes: list[list[Any]] = []
        self._known: dict[int, int] = {}  # id of a value -> its node
        self._alive: list[Any] = []  # so that no id is given out twice
        self._late: list[tuple[int, Callable[[], list[Any]]]] = []
        self.notes: dict[str, Any] = {}  # what codecs want to remember for this document, by their tags

    def document(self, value: Any) -> dict[str, Any]:
        """The document of `value`. Raises Untransferable."""
        root = self.child(value)
        for index, content in self._late:
            self._nodes[index] = content()
        return {"lepton": 1, "nodes": self._nodes, "root": root}

    def child(self, value: Any, *step: Any) -> Any:
        """The item for a value within; `step` says in an error where it is: ``"[", key`` or ``".", name``."""
        kind = type(value)
        if (
            value is None
            or kind is bool
            or (kind is int and -(1 << 63) <= value < 1 << 63)
            or (kind is float and math.isfinite(value))
            or (kind is str and len(value) <= INLINE and _whole(value))
        ):
            return value
        node = self._known.get(id(value))
        if node is None:
            self._steps.append(step)
            node = self._node(value)
            self._steps.pop()
        elif node == _BUSY:
            self._steps.append(step)
            self.refuse("it contains itself", "Break the cycle, or send its parts.")
        return [node]

    def children(self, values: Sequence[Any]) -> list[Any]:
        """The items of values in order."""
        return [self.child(value, "[", index) for index, value in enumerate(values)]

    def reserve(self, content: Callable[[], list[Any]]) -> Any:
        """The item for a node, tag and all, whose content is asked for when everything else is written."""
        self._late.append((len(self._nodes), content))
        self._nodes.append([])
        return [len(self._nodes) - 1]

    def leaf(self, data: Any) -> Any:
        """The item for bytes, or for anything contiguous with a buffer. What is sent is a copy made now.

        Raises Untransferable when another thread changes them meanwhile and they are too many to be copied first.
        """
        view = data if isinstance(data, bytes) else memoryview(data).cast("B")
        if len(view) <= INLINE:
            return base64.b64encode(view).decode()
        if isinstance(data, bytes) or len(view) > _COPIED:
            digest = self._blobs.put(view)
            if not isinstance(data, bytes) and hashlib.sha256(view).hexdigest() != digest:
                self.refuse("it changed while it was sent", "Send it while nothing writes to it.")
        else:
            digest = self._blobs.put(bytes(view))
        return self._blob(digest, len(view))

    def file(self, path: str, size: int) -> Any:
        """The item for the bytes of a file."""
        return self._blob(self._blobs.put_file(path), size)

    def refuse(self, reason: str, choices: str) -> NoReturn:
        """Raise Untransferable for the value being encoded: where it is, why, and what can be done."""
        raise Untransferable(f"{self.place} cannot be sent: {reason}", hint=choices)

    @property
    def place(self) -> str:
        """The value being encoded, as one would write it: ``config["x"][3].model``."""
        written = ""
        for step in self._steps:
            if step and step[0] == "[":
                written += f"[{step[1]!r:.60}]"
            elif step:
                written += "".join(map(str, step))
        return written

    def _node(self, value: Any) -> int:
        if len(self._steps) > DEPTH:
            self.refuse(f"it is nested more than {DEPTH} deep", "Send a flatter form of it.")
        self._alive.append(value)
        self._known[id(value)] = _BUSY
        codec, depth = self._find(value), len(self._steps)
        try:
            body = self._encoded(codec, value)
        except Untransferable:
            if self._pickle in (None, codec):
                raise
            del self._steps[depth:]
            codec = self._pickle
            body = codec.encode(value, self)
        self._nodes.append([codec.tag, *body])
        self._known[id(value)] = len(self._nodes) - 1
        return len(self._nodes) - 1

    def _encoded(self, codec: Any, value: Any) -> list[Any]:
        try:
            body: list[Any] = codec.encode(value, self)
        except LeptonError:
            raise
        except Exception as error:
            words = f"{type(value).__qualname__} raised {type(error).__name__}: {error!s:.200}"
            raise Untransferable(f"{self.place} cannot be sent: {words}", hint="Send what it is made of.") from error
        return body

    def _blob(self, digest: Digest, size: int) -> list[Any]:
        self.digests[digest] = size
        return [digest, size]


def _whole(text: str) -> bool:
    """Whether UTF-8 has it: no lone surrogates."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
