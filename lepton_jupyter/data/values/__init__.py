"""Values of a notebook as documents and blobs, and back: typed, exact, without pickle. Both ends.

`encode` and `decode` are the whole road; `describe`, `nbytes` and `preview` are what is said about a value that stays.
Codecs by library stand in `of_*.py` and import it at use. Standard library alone, Python 3.9.
"""

from __future__ import annotations

import json
from typing import Any

from ...errors import Malformed, UnknownClass, Untransferable
from .codec import Codec, fields, library
from .packer import Encoded, Packer, Sink
from .registry import by_tag, find
from .trust import Trust
from .unpacker import Source, Unpacker
from .words import describe, nbytes, preview

__all__ = [
    "Codec",
    "Encoded",
    "Malformed",
    "Packer",
    "Sink",
    "Source",
    "Trust",
    "UnknownClass",
    "Unpacker",
    "Untransferable",
    "decode",
    "describe",
    "encode",
    "fields",
    "library",
    "nbytes",
    "preview",
]


def encode(value: Any, blobs: Sink, *, allow_pickle: bool = False, name: str = "value") -> Encoded:
    """Write `value` as a document, with its large parts as blobs; a later change of the value changes neither.

    Raises Untransferable when a part of it has no safe form, with the part's place (`name` is that of the whole), its
    type and the choices; with `allow_pickle` such parts are pickled.
    """
    out = Packer(blobs, find, pickle=by_tag("pickle") if allow_pickle else None, name=name)
    doc = out.document(value)
    size = sum(out.digests.values()) + len(json.dumps(doc, separators=(",", ":")))
    return Encoded(doc, out.digests, size, describe(value))


def decode(doc: Any, blobs: Source, *, trust: Trust, device: str = "cpu", allow_pickle: bool = False) -> Any:
    """The value of a document that `encode` made at the other end; or an error, whatever the document holds.

    `trust` says which classes may be used. Tensors arrive on `device`. Without `allow_pickle` no pickle is opened.
    Raises Malformed; UnknownClass when this end lacks a class; MissingDependency when it lacks a library.
    """
    return Unpacker(blobs, by_tag, trust=trust, device=device, allow_pickle=allow_pickle).document(doc)
