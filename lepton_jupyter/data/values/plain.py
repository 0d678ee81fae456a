"""Codecs for Python's own values: numbers, texts, bytes, containers. Both ends.

Numbers and texts that JSON holds exactly are items and need no codec; here are the others: large integers, floats
that are not finite (with all bits of a NaN), long texts, texts with lone surrogates.
"""

from __future__ import annotations

import collections
import struct
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from ...errors import Malformed
from .codec import Codec, Exact, fields

if TYPE_CHECKING:
    from .packer import Packer
    from .unpacker import Unpacker


class _NoneCodec(Exact):
    """Never in a document; for the words alone."""

    tag = "none"
    kind: Any = type(None)

    def describe(self, value: Any) -> str:
        return "None"


class _Scalar(_NoneCodec):
    tag = "bool"
    kind: Any = bool

    def describe(self, value: Any) -> str:
        return type(value).__name__


class _Int(Exact):
    tag = "int"
    kind: Any = int

    def encode(self, value: int, out: Packer) -> list[Any]:
        return [out.leaf(value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True))]

    def decode(self, body: list[Any], src: Unpacker) -> int:
        return int.from_bytes(src.bytes(fields(body, object)[0]), "little", signed=True)

    def preview(self, value: int) -> str:
        return repr(value) if value.bit_length() < 256 else f"an int of {value.bit_length():,} bits"


class _Float(Exact):
    tag = "float"
    kind: Any = float

    def encode(self, value: float, out: Packer) -> list[Any]:
        return [_bits(value)]

    def decode(self, body: list[Any], src: Unpacker) -> float:
        return _from_bits(fields(body, str)[0])


class _Complex(Exact):
    tag = "complex"
    kind: Any = complex

    def encode(self, value: complex, out: Packer) -> list[Any]:
        return [_bits(value.real), _bits(value.imag)]

    def decode(self, body: list[Any], src: Unpacker) -> complex:
        real, imag = fields(body, str, str)
        return complex(_from_bits(real), _from_bits(imag))


class _Str(Exact):
    tag = "str"
    kind: Any = str

    def encode(self, value: str, out: Packer) -> list[Any]:
        return [out.leaf(value.encode("utf-8", "surrogatepass"))]

    def decode(self, body: list[Any], src: Unpacker) -> str:
        return src.bytes(fields(body, object)[0]).decode("utf-8", "surrogatepass")

    def describe(self, value: str) -> str:
        return f"str of {len(value):,} characters"


class _Bytes(Exact):
    tag = "bytes"
    kind: Any = bytes

    def encode(self, value: Any, out: Packer) -> list[Any]:
        return [out.leaf(value)]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        return self.kind(src.bytes(fields(body, object)[0]))

    def describe(self, value: Any) -> str:
        return f"{self.tag} of {len(value):,}"


class _ByteArray(_Bytes):
    tag = "bytearray"
    kind: Any = bytearray


class _Sequence(Exact):
    """list, tuple: their items."""

    def encode(self, value: Any, out: Packer) -> list[Any]:
        return out.children(value)

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        return self.kind(src.children(body))

    def describe(self, value: Any) -> str:
        return f"{self.tag} of {len(value):,}"

    def parts(self, value: Any) -> Collection[Any]:
        return value  # type: ignore[no-any-return]


class _List(_Sequence):
    tag = "list"
    kind: Any = list


class _Tuple(_Sequence):
    tag = "tuple"
    kind: Any = tuple


class _Set(_Sequence):
    """set, frozenset: an equal set is written equally, unless its elements are nodes."""

    tag = "set"
    kind: Any = set

    def encode(self, value: Any, out: Packer) -> list[Any]:
        return sorted((out.child(element, "[", element) for element in value), key=repr)

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        return self.kind(src.keys(body))


class _FrozenSet(_Set):
    tag = "frozenset"
    kind: Any = frozenset


class _Deque(_Sequence):
    tag = "deque"
    kind: Any = collections.deque

    def encode(self, value: Any, out: Packer) -> list[Any]:
        return [value.maxlen, out.children(list(value))]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        maxlen, items = fields(body, object, list)
        return collections.deque(src.children(items), maxlen)


class _Dict(_Sequence):
    """dict and its kin: keys and values, in order."""

    tag = "dict"
    kind: Any = dict

    def encode(self, value: Any, out: Packer) -> list[Any]:
        items = list(value.items())
        return [[out.child(key) for key, _ in items], [out.child(part, "[", key) for key, part in items]]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        return self._filled(self.kind(), body, src)

    def _filled(self, into: Any, body: list[Any], src: Unpacker) -> Any:
        keys, values = fields(body, list, list)
        if len(keys) != len(values):
            raise Malformed("a dict with more keys than values, or fewer")
        for key, value in zip(src.keys(keys), src.children(values)):
            dict.__setitem__(into, key, value)
        return into

    def parts(self, value: Any) -> Collection[Any]:
        return value.values()  # type: ignore[no-any-return]


class _OrderedDict(_Dict):
    tag = "OrderedDict"
    kind: Any = collections.OrderedDict

    def encode(self, value: Any, out: Packer) -> list[Any]:
        return [*super().encode(value, out), out.child(vars(value) or None)]  # a state_dict has an attribute

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        keys, values, attributes = fields(body, list, list, object)
        made = collections.OrderedDict(self._filled({}, [keys, values], src))
        vars(made).update(src.child(attributes) or {})
        return made


class _Counter(_Dict):
    tag = "Counter"
    kind: Any = collections.Counter


class _DefaultDict(_Dict):
    tag = "defaultdict"
    kind: Any = collections.defaultdict

    def encode(self, value: Any, out: Packer) -> list[Any]:
        return [out.child(value.default_factory, ".", "default_factory"), *super().encode(value, out)]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        factory, *rest = fields(body, object, list, list)
        return self._filled(collections.defaultdict(src.child(factory)), rest, src)


CODECS: tuple[Codec, ...] = (
    _NoneCodec(), _Scalar(), _Int(), _Float(), _Complex(), _Str(), _Bytes(), _ByteArray(),
    _List(), _Tuple(), _Set(), _FrozenSet(), _Deque(), _Dict(), _OrderedDict(), _Counter(), _DefaultDict(),
)  # fmt: skip


def _bits(value: float) -> str:
    return struct.pack(">d", value).hex()


def _from_bits(text: str) -> float:
    (value,) = struct.unpack(">d", bytes.fromhex(text))
    return float(value)
