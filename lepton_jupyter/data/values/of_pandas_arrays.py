"""Codecs for the arrays that pandas adds to NumPy's, their dtypes, and their scalars. Both ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import Malformed
from .codec import Codec, fields, library

if TYPE_CHECKING:
    from .packer import Packer
    from .unpacker import Unpacker

#: Integers, floats and booleans with missing values: the dtype's class -> its array's.
_MASKED = {
    **{f"{sign}Int{bits}Dtype": "IntegerArray" for sign in ("", "U") for bits in (8, 16, 32, 64)},
    "Float32Dtype": "FloatingArray", "Float64Dtype": "FloatingArray", "BooleanDtype": "BooleanArray",
}  # fmt: skip


class _DType(Codec):
    tag = "pandas.dtype"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, library("pandas").api.extensions.ExtensionDtype)

    def encode(self, value: Any, out: Packer) -> list[Any]:
        kind = type(value).__name__
        if kind == "CategoricalDtype":
            return [kind, out.child(value.categories), value.ordered]
        if kind == "DatetimeTZDtype":
            return [kind, value.unit, out.child(value.tz)]
        if kind == "StringDtype":
            return [kind, value.storage, out.child(value.na_value)]
        if kind == "PeriodDtype":
            return [kind, value.name]
        if kind == "IntervalDtype":
            return [kind, out.child(value.subtype), value.closed]
        if kind == "SparseDtype":
            return [kind, out.child(value.subtype), out.child(value.fill_value)]
        if kind == "ArrowDtype":
            return [kind, out.child(value.pyarrow_dtype)]
        if kind not in _MASKED:
            out.refuse(f"its dtype is {value}", "Convert it with .astype(…) to one of pandas' own.")
        return [kind]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        pandas = library("pandas")
        kind, *rest = body
        if kind in _MASKED:
            return getattr(pandas, kind)(*fields(rest))
        if kind == "CategoricalDtype":
            categories, ordered = fields(rest, object, bool)
            return pandas.CategoricalDtype(src.child(categories), ordered)
        if kind == "DatetimeTZDtype":
            unit, zone = fields(rest, str, object)
            return pandas.DatetimeTZDtype(unit, src.child(zone))
        if kind == "StringDtype":
            storage, missing = fields(rest, str, object)
            options = {} if src.child(missing) is pandas.NA else {"na_value": src.child(missing)}
            return pandas.StringDtype(storage, **options)
        if kind == "PeriodDtype":
            (name,) = fields(rest, str)
            return pandas.PeriodDtype(name[len("period[") : -1])
        if kind == "IntervalDtype":
            subtype, closed = fields(rest, object, str)
            return pandas.IntervalDtype(src.child(subtype), closed)
        if kind == "SparseDtype":
            return pandas.SparseDtype(*src.children(fields(rest, object, object)))
        if kind == "ArrowDtype":
            return pandas.ArrowDtype(src.child(fields(rest, object)[0]))
        raise Malformed(f"an unknown dtype of pandas: {kind!r:.40}")

    def describe(self, value: Any) -> str:
        return f"dtype {value}"


class _Array(Codec):
    """Every array of pandas: its dtype, and what is in it by the kind of that."""

    tag = "pandas.array"

    def accepts(self, value: Any) -> bool:
        pandas = library("pandas")
        own = type(value).__module__.partition(".")[0] == "pandas"
        return own and isinstance(value, pandas.api.extensions.ExtensionArray)

    def encode(self, value: Any, out: Packer) -> list[Any]:
        dtype = out.child(value.dtype)
        return [dtype, [out.child(part) for part in self._taken(value, out)]]

    def _taken(self, value: Any, out: Packer) -> list[Any]:
        numpy = library("numpy")
        kind = type(value.dtype).__name__
        if isinstance(value.dtype, numpy.dtype):
            return [_step(value), value.to_numpy()]
        if kind in _MASKED:
            plain = value.to_numpy(dtype=value.dtype.numpy_dtype, na_value=value.dtype.numpy_dtype.type(0))
            return [plain, value.isna()]
        if kind == "CategoricalDtype":
            return [value.codes]
        if kind == "DatetimeTZDtype":
            return [_step(value), value.view("i8") if hasattr(value, "view") else value.asi8]
        if kind == "StringDtype":
            if value.dtype.storage == "pyarrow":
                return [library("pyarrow").chunked_array(value.__arrow_array__())]
            return [value.to_numpy(dtype=object)]
        if kind == "PeriodDtype":
            return [value.asi8]
        if kind == "IntervalDtype":
            return [value.left, value.right]
        if kind == "SparseDtype":
            return [value.sp_values, value.sp_index.indices, len(value)]
        return [library("pyarrow").chunked_array(value.__arrow_array__())]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        pandas, numpy = library("pandas"), library("numpy")
        item, parts = fields(body, list, list)
        dtype, parts = src.child(item), [writable(part) for part in src.children(parts)]
        kind = type(dtype).__name__
        if isinstance(dtype, numpy.dtype) and dtype.kind in "mM":
            step, values = parts
            made = pandas.array(values.view(dtype), dtype=dtype, copy=False)
            made.freq = step
            return made
        if isinstance(dtype, numpy.dtype):
            return pandas.arrays.NumpyExtensionArray(parts[1])
        if kind in _MASKED:
            return getattr(pandas.arrays, _MASKED[kind])(*parts)
        if kind == "CategoricalDtype":
            return pandas.Categorical.from_codes(*parts, dtype=dtype)
        if kind == "DatetimeTZDtype":
            step, values = parts
            made = pandas.array(values.view(f"M8[{dtype.unit}]"), copy=False).tz_localize("UTC").tz_convert(dtype.tz)
            made.freq = step
            return made
        if kind == "PeriodDtype":
            return pandas.arrays.PeriodArray(parts[0], dtype=dtype)
        if kind == "IntervalDtype":
            return pandas.arrays.IntervalArray.from_arrays(*parts, closed=dtype.closed, dtype=dtype)
        if kind == "SparseDtype":
            values, places, length = parts
            if not 0 <= length < 1 << 31:
                raise Malformed("a sparse array that is too long")
            cls = pandas.arrays.SparseArray
            if hasattr(cls, "from_indices"):
                return cls.from_indices(values, places, length, dtype.fill_value, dtype=dtype.subtype)
            index = pandas._libs.sparse.IntIndex(length, places.astype("i4"), check_integrity=True)
            return cls(values, sparse_index=index, dtype=dtype)  # pandas before 3.1
        if kind == "StringDtype":
            cls = type(pandas.array([], dtype=dtype))
            try:
                return cls(parts[0], dtype=dtype)
            except TypeError:  # pandas before 3
                return pandas.array(numpy.asarray(parts[0], dtype=object), dtype=dtype)
        if kind == "ArrowDtype":
            return pandas.arrays.ArrowExtensionArray(parts[0])
        raise Malformed("an array of pandas of another dtype")

    def describe(self, value: Any) -> str:
        return f"{type(value).__name__} of {len(value):,}"

    def nbytes(self, value: Any) -> int:
        return int(value.nbytes)


class _Scalar(Codec):
    """Timestamp, Timedelta, Period, Interval, an offset, NaT, NA."""

    tag = "pandas.scalar"

    def accepts(self, value: Any) -> bool:
        pandas = library("pandas")
        kinds = (pandas.Timestamp, pandas.Timedelta, pandas.Period, pandas.Interval, pandas.offsets.BaseOffset)
        return value is pandas.NaT or value is pandas.NA or isinstance(value, kinds)

    def encode(self, value: Any, out: Packer) -> list[Any]:
        pandas = library("pandas")
        if value is pandas.NaT or value is pandas.NA:
            return ["NaT" if value is pandas.NaT else "NA"]
        if isinstance(value, pandas.Timestamp):
            return ["Timestamp", out.child(value.to_datetime64()), out.child(value.tz), value.fold]
        if isinstance(value, pandas.Timedelta):
            return ["Timedelta", out.child(value.to_timedelta64())]
        if isinstance(value, pandas.Period):
            return ["Period", value.ordinal, value.freqstr]
        if isinstance(value, pandas.Interval):
            return ["Interval", out.child(value.left), out.child(value.right), value.closed]
        try:
            told = pandas.tseries.frequencies.to_offset(value.freqstr) == value
        except ValueError:
            told = False
        if not told:
            out.refuse(f"{value!r:.80} has no name that tells it", "Make it in the cell.")
        return ["offset", value.freqstr]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        pandas, numpy = library("pandas"), library("numpy")
        kind, *rest = body
        if kind in ("NaT", "NA"):
            return getattr(pandas, kind, *fields(rest))
        if kind == "Timestamp":
            item, zone, fold = fields(rest, list, object, int)
            made, zone = pandas.Timestamp(_of(numpy.datetime64, item, src)), src.child(zone)
            return made if zone is None else made.tz_localize("UTC").tz_convert(zone).replace(fold=fold)
        if kind == "Timedelta":
            return pandas.Timedelta(_of(numpy.timedelta64, fields(rest, list)[0], src))
        if kind == "Period":
            ordinal, step = fields(rest, int, str)
            return pandas.Period(ordinal=ordinal, freq=step)
        if kind == "Interval":
            left, right, closed = fields(rest, object, object, str)
            return pandas.Interval(src.child(left), src.child(right), closed)
        if kind == "offset":
            return pandas.tseries.frequencies.to_offset(*fields(rest, str))
        raise Malformed("an unknown value of pandas")


CODECS: tuple[Codec, ...] = (_DType(), _Scalar(), _Array())


def writable(part: Any) -> Any:
    """An array that may be changed: pandas shows its own as read-only, and ours is private."""
    if isinstance(part, library("numpy").ndarray):
        part.flags.writeable = True
    return part


def _of(cls: type, item: Any, src: Unpacker) -> Any:
    value = src.child(item)
    if isinstance(value, cls):
        return value
    raise Malformed("something else where a time belongs")


def _step(value: Any) -> Any:
    return getattr(value, "freq", None)
