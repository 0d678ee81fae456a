"""Codecs for pandas: DataFrame, Series, every Index and array, and the scalars in them. Both ends.

A frame is its axes and its columns, each as the array that it is: NumPy's, which arrives mapped, or one of pandas' own,
taken apart into NumPy arrays and Arrow ones. Arrow alone would change labels, objects, missing values and names
(docs/decisions/0019-typed-values.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import Malformed
from . import of_pandas_arrays
from .codec import Codec, fields, library
from .of_pandas_arrays import writable

if TYPE_CHECKING:
    from .packer import Packer
    from .unpacker import Unpacker

#: A frame of one NumPy dtype and more columns than this travels as one array.
_WIDE = 64


class _Frame(Codec):
    tag = "pandas.DataFrame"

    def accepts(self, value: Any) -> bool:
        return type(value) is library("pandas").DataFrame

    def encode(self, value: Any, out: Packer) -> list[Any]:
        numpy = library("numpy")
        axes = [out.child(value.columns, ".", "columns"), out.child(value.index, ".", "index")]
        about = [out.child(value.attrs or None, ".", "attrs"), value.flags.allows_duplicate_labels]
        kinds = set(value.dtypes)
        if len(value.columns) > _WIDE and len(kinds) == 1 and isinstance(next(iter(kinds)), numpy.dtype):
            return [*axes, *about, "wide", out.child(value.to_numpy())]
        columns = [value.iloc[:, place] for place in range(len(value.columns))]
        steps = list(value.columns)
        return [*axes, *about, "columns", [out.child(_values(c), "[", s) for c, s in zip(columns, steps)]]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        pandas = library("pandas")
        columns, index, attrs, unique, kind, data = fields(body, list, list, object, bool, str, list)
        columns, index = _index(columns, src), _index(index, src)
        if kind == "wide":
            frame = pandas.DataFrame(writable(src.child(data)), index=index, copy=False)
        else:
            arrays = [writable(array) for array in src.children(data)]
            if any(getattr(array, "shape", None) != (len(index),) for array in arrays):
                raise Malformed("a DataFrame with columns of another length")
            made = (pandas.Series(array, index=index, dtype=array.dtype, copy=False) for array in arrays)
            frame = pandas.DataFrame(dict(enumerate(made)), index=index, copy=False)
        if frame.shape != (len(index), len(columns)):
            raise Malformed("a DataFrame with more columns than names, or fewer")
        frame.columns = columns
        return _finish(frame, attrs, unique, src)

    def describe(self, value: Any) -> str:
        return f"DataFrame {len(value):,} × {len(value.columns):,}"

    def nbytes(self, value: Any) -> int:
        return int(value.memory_usage(deep=False).sum())

    def parts(self, value: Any) -> Any:
        return [part for _, column in value.items() if column.dtype == object for part in column.array[:1000]]

    def preview(self, value: Any) -> str:
        return str(value.head(6).to_string(max_cols=8, max_colwidth=20))


class _Series(Codec):
    tag = "pandas.Series"

    def accepts(self, value: Any) -> bool:
        return type(value) is library("pandas").Series

    def encode(self, value: Any, out: Packer) -> list[Any]:
        name, index = out.child(value.name), out.child(value.index, ".", "index")
        about = [out.child(value.attrs or None, ".", "attrs"), value.flags.allows_duplicate_labels]
        return [name, index, *about, out.child(_values(value))]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        name, index, attrs, unique, data = fields(body, object, list, object, bool, list)
        index, array = _index(index, src), writable(src.child(data))
        if getattr(array, "shape", None) != (len(index),):
            raise Malformed("a Series with values of another length")
        series = library("pandas").Series(array, index, array.dtype, src.child(name), copy=False)
        return _finish(series, attrs, unique, src)

    def describe(self, value: Any) -> str:
        return f"Series {len(value):,} {value.dtype}"

    def nbytes(self, value: Any) -> int:
        return int(value.memory_usage(deep=False))

    def parts(self, value: Any) -> Any:
        return list(value.array[:1000]) if value.dtype == object else ()

    def preview(self, value: Any) -> str:
        return str(value.head(8).to_string())


class _Index(Codec):
    tag = "pandas.Index"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, library("pandas").Index) and type(value).__module__.partition(".")[0] == "pandas"

    def encode(self, value: Any, out: Packer) -> list[Any]:
        kind = type(value).__name__
        if kind == "MultiIndex":
            codes = [out.child(part) for part in map(library("numpy").asarray, value.codes)]
            return [kind, out.children(list(value.names)), [out.child(level) for level in value.levels], codes]
        name = out.child(value.name)
        if kind == "RangeIndex":
            return [kind, name, *(out.child(int(n)) for n in (value.start, value.stop, value.step))]
        return [kind, name, out.child(_values(value)), _frequency(value, out)]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        pandas = library("pandas")
        kind, *rest = body
        if kind == "MultiIndex":
            names, levels, codes = fields(rest, list, list, list)
            parts = [_index(level, src) for level in levels]
            return pandas.MultiIndex(parts, src.children(codes), names=src.children(names), verify_integrity=True)
        if kind == "RangeIndex":
            name, *steps = src.children(rest)
            return pandas.RangeIndex(*fields(steps, int, int, int), name=name)
        name, data, frequency = fields(rest, object, list, object)
        array = src.child(data)
        if getattr(array, "ndim", None) != 1:
            raise Malformed("an index without values")
        made = pandas.Index(array, name=src.child(name), dtype=array.dtype, copy=False)
        if type(made).__name__ != kind:
            raise Malformed(f"an index that is no {kind!r:.40}")
        if frequency is not None:
            made.freq = src.text(frequency)
        return made

    def describe(self, value: Any) -> str:
        return f"{type(value).__name__} of {len(value):,}"

    def nbytes(self, value: Any) -> int:
        return int(value.memory_usage(deep=False))

    def parts(self, value: Any) -> Any:
        return list(value[:1000]) if value.dtype == object else ()


CODECS: tuple[Codec, ...] = (_Frame(), _Series(), _Index(), *of_pandas_arrays.CODECS)


def _values(column: Any) -> Any:
    """The array in a Series or Index: a NumPy one where it is one."""
    if isinstance(column.dtype, library("numpy").dtype) and column.dtype.kind not in "mM":
        return column.to_numpy()
    return column.array


def _index(item: Any, src: Unpacker) -> Any:
    index = src.child(item)
    if isinstance(index, library("pandas").Index):
        return index
    raise Malformed("something else where an index belongs")


def _finish(made: Any, attrs: Any, unique: bool, src: Unpacker) -> Any:
    attributes = src.child(attrs)
    if type(attributes) is dict:
        made.attrs = attributes
    if not unique:
        made.flags.allows_duplicate_labels = False
    return made


def _frequency(index: Any, out: Packer) -> Any:
    """The name of a date index's step, if it has one. Refuses one that its name does not tell."""
    step = getattr(index, "freq", None)
    if step is None or type(index).__name__ == "PeriodIndex":
        return None
    try:
        told = library("pandas").tseries.frequencies.to_offset(step.freqstr) == step
    except ValueError:
        told = False
    if not told:
        out.refuse(f"its step is {step!r:.80}", "Drop it: index.freq = None.")
    return step.freqstr
