"""Codecs for PyArrow and polars: tables, columns, types, as Arrow's stream of batches. Both ends.

A stream is held against its own rules before anything uses it: no compression (a small stream could claim any size),
no extension types (they may run code), and every offset and text within bounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import Malformed
from .codec import Codec, fields, library

if TYPE_CHECKING:
    from .packer import Packer
    from .unpacker import Unpacker

#: More rows than this must have bytes to show for it.
_ROWS = 10_000_000
#: In Arrow's flatbuffers (Message.fbs): kinds of messages, and the places of fields in their tables.
_DICTIONARY, _BATCH = 2, 3
_HEADER_TYPE, _HEADER = 1, 2
_DICTIONARY_DATA, _BATCH_COMPRESSION = 1, 3


def write_table(table: Any, out: Packer) -> Any:
    """The leaf of a table."""
    pa = library("pyarrow")
    for name, kind in zip(table.schema.names, table.schema.types):
        if isinstance(kind, pa.BaseExtensionType):
            out.refuse(f"the column {name!r:.60} has the extension type {kind}", "Cast it to its storage type.")
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return out.leaf(sink.getvalue())


def read_table(leaf: Any, src: Unpacker) -> Any:
    """The table of a leaf, mapped from its file. Raises Malformed."""
    pa = library("pyarrow")
    data = pa.py_buffer(src.buffer(leaf))
    stream = pa.BufferReader(data)
    while stream.tell() < len(data) - 8:
        message = pa.ipc.read_message(stream)
        if _is_compressed(memoryview(message.metadata)):
            raise Malformed("a compressed Arrow stream")
    table = pa.ipc.open_stream(data).read_all()
    if any(_has_extension(kind) for kind in table.schema.types):
        raise Malformed("an Arrow stream with an extension type")
    if table.num_rows > max(_ROWS, 8 * len(data)):  # columns of nothing but nulls take no bytes
        raise Malformed("an Arrow stream with more rows than bits")
    table.validate(full=True)
    return table


class _Table(Codec):
    tag = "pyarrow.Table"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, library("pyarrow").Table)

    def encode(self, value: Any, out: Packer) -> list[Any]:
        return [write_table(value, out)]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        return read_table(fields(body, object)[0], src)

    def describe(self, value: Any) -> str:
        return f"Table {value.num_rows:,} × {value.num_columns:,}"

    def nbytes(self, value: Any) -> int:
        return int(value.nbytes)

    def preview(self, value: Any) -> str:
        return str(value.slice(0, 5).to_string(preview_cols=8))


class _Batch(_Table):
    tag = "pyarrow.RecordBatch"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, library("pyarrow").RecordBatch)

    def encode(self, value: Any, out: Packer) -> list[Any]:
        return [write_table(library("pyarrow").Table.from_batches([value]), out)]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        table = super().decode(body, src)
        batches = table.to_batches()
        if len(batches) == 1:
            return batches[0]
        return library("pyarrow").RecordBatch.from_pylist([], schema=table.schema)

    def describe(self, value: Any) -> str:
        return f"RecordBatch {value.num_rows:,} × {value.num_columns:,}"


class _Column(Codec):
    """pyarrow.Array, ChunkedArray: a table of one column."""

    tag = "pyarrow.Array"

    def accepts(self, value: Any) -> bool:
        pa = library("pyarrow")
        return isinstance(value, (pa.Array, pa.ChunkedArray))

    def encode(self, value: Any, out: Packer) -> list[Any]:
        pa = library("pyarrow")
        chunked = isinstance(value, pa.ChunkedArray)
        return [chunked, write_table(pa.table({"": value}), out)]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        chunked, leaf = fields(body, bool, object)
        (column,) = read_table(leaf, src).columns
        if chunked:
            return column
        pa = library("pyarrow")
        return column.chunk(0) if column.num_chunks else pa.array([], column.type)

    def describe(self, value: Any) -> str:
        return f"{value.type} {type(value).__name__} of {len(value):,}"

    def nbytes(self, value: Any) -> int:
        return int(value.nbytes)


class _Schema(Codec):
    """pyarrow.Schema, DataType: a table without rows."""

    tag = "pyarrow.Schema"

    def accepts(self, value: Any) -> bool:
        pa = library("pyarrow")
        return isinstance(value, (pa.Schema, pa.DataType))

    def encode(self, value: Any, out: Packer) -> list[Any]:
        pa = library("pyarrow")
        single = isinstance(value, pa.DataType)
        schema = pa.schema([("", value)]) if single else value
        return [single, write_table(schema.empty_table(), out)]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        single, leaf = fields(body, bool, object)
        schema = read_table(leaf, src).schema
        return schema.field(0).type if single else schema


class _Polars(Codec):
    """polars.DataFrame, Series."""

    tag = "polars.DataFrame"

    def accepts(self, value: Any) -> bool:
        pl = library("polars")
        return type(value) in (pl.DataFrame, pl.Series)

    def encode(self, value: Any, out: Packer) -> list[Any]:
        pl = library("polars")
        single = type(value) is pl.Series
        frame = value.to_frame() if single else value
        for column in frame:
            if column.dtype == pl.Object:
                out.refuse(f"the column {column.name!r:.60} holds Python objects", "Send column.to_list() instead.")
        return [single, write_table(frame.to_arrow(), out)]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        single, leaf = fields(body, bool, object)
        pl, table = library("polars"), read_table(leaf, src)
        try:
            frame = pl.from_arrow(table, rechunk=False)
        except pl.exceptions.PanicException as error:  # no Exception, but a BaseException
            raise Malformed(f"a table that polars cannot read: {error!s:.100}") from None
        return frame.to_series() if single else frame

    def describe(self, value: Any) -> str:
        if type(value).__name__ == "Series":
            return f"polars Series {len(value):,} {value.dtype}"
        return f"polars DataFrame {value.height:,} × {value.width:,}"

    def nbytes(self, value: Any) -> int:
        return int(value.estimated_size())

    def preview(self, value: Any) -> str:
        return str(value.head(4))


CODECS: tuple[Codec, ...] = (_Table(), _Batch(), _Column(), _Schema(), _Polars())


def _has_extension(kind: Any) -> bool:
    pa = library("pyarrow")
    inner = [kind.field(n).type for n in range(kind.num_fields)]
    if isinstance(kind, pa.DictionaryType):
        inner.append(kind.value_type)
    return isinstance(kind, pa.BaseExtensionType) or any(map(_has_extension, inner))


def _is_compressed(message: memoryview) -> bool:
    """Whether the batch in an Arrow message is compressed; PyArrow has checked the message's structure."""
    root = _uint(message, 0)
    header = _field(message, root, _HEADER)
    kind = _field(message, root, _HEADER_TYPE)
    if not header or not kind or message[kind] not in (_DICTIONARY, _BATCH):
        return False
    batch = header + _uint(message, header)
    if message[kind] == _DICTIONARY:
        data = _field(message, batch, _DICTIONARY_DATA)
        batch = data + _uint(message, data)
    return bool(_field(message, batch, _BATCH_COMPRESSION))


def _field(message: memoryview, table: int, place: int) -> int:
    """Where a field of a flatbuffers table lies; 0 when the table does not have it."""
    vtable = table - int.from_bytes(message[table : table + 4], "little", signed=True)
    if 4 + 2 * place >= int.from_bytes(message[vtable : vtable + 2], "little"):
        return 0
    entry = vtable + 4 + 2 * place
    offset = int.from_bytes(message[entry : entry + 2], "little")
    return table + offset if offset else 0


def _uint(message: memoryview, place: int) -> int:
    return int.from_bytes(message[place : place + 4], "little")
