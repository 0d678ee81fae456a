"""Codecs for NumPy: arrays and scalars of every dtype, masked arrays, random generators. Both ends.

An array is its dtype, its shape, its order and its bytes; no .npy header, which would be one more thing to be parsed.
Arrays over 4 KiB arrive mapped to the blob's file, copy-on-write. Objects travel one by one, columns of texts as one
run of UTF-8.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ...errors import Malformed
from .codec import Codec, fields, library
from .dtypes import dtype_from_json, dtype_to_json, is_plain
from .texts import pack_texts, unpack_texts

if TYPE_CHECKING:
    from .packer import Packer
    from .unpacker import Unpacker

#: Views that NumPy itself has of an array.
_VIEWS = ("ndarray", "memmap", "matrix", "recarray", "chararray")
_GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")


class _Array(Codec):
    tag = "numpy.ndarray"

    def accepts(self, value: Any) -> bool:
        kind = type(value)
        return kind.__module__.partition(".")[0] == "numpy" and kind.__name__ in _VIEWS

    def encode(self, value: Any, out: Packer) -> list[Any]:
        numpy = library("numpy")
        view = type(value).__name__
        array = value.view(numpy.ndarray)
        order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        shape = [int(n) for n in array.shape]
        flags = [view if view != "memmap" else "ndarray", order, bool(array.flags.writeable)]
        return [dtype_to_json(array.dtype, out), shape, *flags, self._data(array, order, out)]

    def _data(self, array: Any, order: str, out: Packer) -> Any:
        numpy = library("numpy")
        dtype = array.dtype
        if dtype.kind == "T":
            return self._strings(array, order, out)
        if dtype.hasobject and dtype.names:
            return [out.child(array[name], "[", name) for name in dtype.names]
        if dtype.hasobject:
            flat = array.ravel(order)
            texts = pack_texts(flat)
            if texts is not None:
                return [out.leaf(part) for part in texts]
            return [out.children(flat.tolist())]
        flat = numpy.ascontiguousarray(array.T if order == "F" else array)
        return out.leaf(flat.reshape(-1).view(numpy.uint8) if flat.size and dtype.itemsize else b"")

    def _strings(self, array: Any, order: str, out: Packer) -> Any:
        return [out.child(array.ravel(order).astype(object))]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        numpy = library("numpy")
        spec, shape, view, order, writeable, data = fields(body, object, list, str, str, bool, object)
        dtype = dtype_from_json(spec, src)
        size = _size(shape)
        if view not in _VIEWS or order not in ("C", "F"):
            raise Malformed("an array with an unknown view or order")
        if is_plain(dtype):
            array = self._plain(numpy, dtype, size, data, src)
        else:
            array = self._objects(numpy, dtype, size, data, src)
        array = array.reshape(shape, order=order)
        if view != "ndarray":
            array = array.view(numpy.char.chararray if view == "chararray" else getattr(numpy, view))
        array.flags.writeable = writeable
        return array

    def _plain(self, numpy: Any, dtype: Any, size: int, data: Any, src: Unpacker) -> Any:
        buffer = src.buffer(data)
        if len(buffer) != size * dtype.itemsize:
            raise Malformed(f"an array of {size} × {dtype.itemsize} bytes came with {len(buffer)}")
        if not len(buffer):  # `empty` would make room for elements of no size
            return numpy.ndarray(size, dtype, buffer=bytearray(1))
        return numpy.frombuffer(buffer, numpy.uint8).view(dtype)

    def _objects(self, numpy: Any, dtype: Any, size: int, data: Any, src: Unpacker) -> Any:
        if type(data) is not list:
            raise Malformed("an array of objects without them")
        if dtype.names:
            return self._records(numpy, dtype, size, data, src)
        if dtype.kind == "T":
            (item,) = data
            found = src.child(item)
            if getattr(found, "shape", None) != (size,):
                raise Malformed("an array of strings with more or fewer of them")
            return found.astype(dtype)
        if len(data) == 3:
            kinds, ends, texts = data
            found = unpack_texts(kinds, ends, texts, src)
        else:
            (items,) = data
            found = src.children(items)
        if len(found) != size:
            raise Malformed(f"an array of {size} objects came with {len(found)}")
        array = numpy.empty(size, object)
        for index, value in enumerate(found):
            array[index] = value
        return array

    def _records(self, numpy: Any, dtype: Any, size: int, data: list[Any], src: Unpacker) -> Any:
        columns = src.children(data)
        if len(columns) != len(dtype.names) or any(len(column.reshape(-1)) < size for column in columns):
            raise Malformed("an array of records with other fields")
        if dtype.itemsize > 64 + 2 * sum(dtype[name].itemsize for name in dtype.names):
            raise Malformed("records with more gaps than fields")
        array = numpy.zeros(size, dtype)
        for name, column in zip(dtype.names, columns):
            array[name] = column.reshape(size, *column.shape[column.ndim - len(array.dtype[name].shape) :])
        return array

    def describe(self, value: Any) -> str:
        return f"{_words(value.dtype)} array {tuple(map(int, value.shape))}"

    def nbytes(self, value: Any) -> int:
        return int(value.nbytes)

    def parts(self, value: Any) -> Any:
        return value.reshape(-1)[:10_000].tolist() if value.dtype == object else ()

    def preview(self, value: Any) -> str:
        return str(library("numpy").array2string(value, threshold=60, edgeitems=3, max_line_width=100))


class _Masked(Codec):
    tag = "numpy.MaskedArray"

    def accepts(self, value: Any) -> bool:
        kind = type(value)
        return kind.__name__ in ("MaskedArray", "MaskedConstant") and kind.__module__.startswith("numpy.ma")

    def encode(self, value: Any, out: Packer) -> list[Any]:
        if value is library("numpy").ma.masked:
            return []
        nomask = library("numpy").ma.nomask
        mask = None if value.mask is nomask else value.mask
        fill = None if value._fill_value is None else value.fill_value
        return [out.child(value.data), out.child(mask), out.child(fill), bool(value.hardmask)]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        numpy = library("numpy")
        if not body:
            return numpy.ma.masked
        data, mask, fill, hard = fields(body, object, object, object, bool)
        mask = numpy.ma.nomask if mask is None else src.child(mask)
        return numpy.ma.MaskedArray(src.child(data), mask, fill_value=src.child(fill), hard_mask=hard)

    def describe(self, value: Any) -> str:
        return f"masked {_words(value.dtype)} array {value.shape}"

    def nbytes(self, value: Any) -> int:
        return int(value.nbytes) + int(value.size)


class _Scalar(Codec):
    tag = "numpy.generic"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, library("numpy").generic)

    def encode(self, value: Any, out: Packer) -> list[Any]:
        numpy = library("numpy")
        if type(value) in (numpy.str_, numpy.bytes_):  # whose trailing zeros an array would drop
            return [type(value).__name__, out.child(value[:])]
        array = numpy.empty((), value.dtype)
        array[()] = value
        record = isinstance(value, numpy.record)
        return ["record" if record else "", out.child(array)]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        numpy = library("numpy")
        kind, item = fields(body, str, object)
        found = src.child(item)
        if kind == "str_" and type(found) is str:
            return numpy.str_(found)
        if kind == "bytes_" and type(found) is bytes:
            return numpy.bytes_(found)
        if kind not in ("", "record") or not isinstance(found, numpy.ndarray) or found.shape != ():
            raise Malformed("a number that is none")
        return found[()]

    def describe(self, value: Any) -> str:
        return str(value.dtype)


class _DType(Codec):
    tag = "numpy.dtype"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, library("numpy").dtype)

    def encode(self, value: Any, out: Packer) -> list[Any]:
        return [dtype_to_json(value, out)]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        return dtype_from_json(fields(body, object)[0], src)

    def describe(self, value: Any) -> str:
        return f"dtype {value}"


class _Random(Codec):
    """Generator, RandomState: the state they are in."""

    tag = "numpy.random"

    def accepts(self, value: Any) -> bool:
        return type(value).__name__ in ("Generator", "RandomState") and type(value).__module__.startswith(
            "numpy.random"
        )

    def encode(self, value: Any, out: Packer) -> list[Any]:
        if type(value).__name__ == "RandomState":
            return ["RandomState", out.child(value.get_state(legacy=False))]
        name = type(value.bit_generator).__name__
        if name not in _GENERATORS:
            out.refuse(f"its bit generator is {name}", f"Those that travel: {', '.join(_GENERATORS)}.")
        return ["Generator", out.child(value.bit_generator.state)]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        random = library("numpy").random
        kind, item = fields(body, str, object)
        state = src.child(item)
        name = state["bit_generator"]
        if kind == "RandomState" and name == "MT19937":
            made = random.RandomState()
            made.set_state(state)
            return made
        if kind != "Generator" or name not in _GENERATORS:
            raise Malformed("an unknown random generator")
        bits = getattr(random, name)()
        bits.state = state
        return random.Generator(bits)


CODECS: tuple[Codec, ...] = (_Array(), _Masked(), _Scalar(), _DType(), _Random())


def _words(dtype: Any) -> str:
    return f"record ({', '.join(dtype.names)})" if dtype.names else str(dtype)


def _size(shape: list[Any]) -> int:
    if len(shape) > 64 or not all(type(n) is int and 0 <= n < 1 << 62 for n in shape):
        raise Malformed(f"a shape that is none: {shape!r:.60}")
    return math.prod(shape)
