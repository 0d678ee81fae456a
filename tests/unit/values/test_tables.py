"""Frames, series, indexes and tables: dtypes, labels, names, missing values and order, exactly."""

from __future__ import annotations

import base64
import datetime
import decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import pandas as hpd

from lepton_jupyter.data import values
from lepton_jupyter.data.values import Malformed, Untransferable
from lepton_jupyter.errors import LeptonError
from tests.unit.values._road import Road

dates = pd.date_range("2024", periods=3, freq="MS", tz="Europe/Berlin")


def same(one: Any, other: Any) -> None:
    """As exactly as pandas can tell, and the types of all elements besides."""
    assert type(one) is type(other)
    if isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other, check_exact=True, check_freq=True, check_flags=True)
        assert one.attrs == other.attrs
        assert one.columns.identical(other.columns)
        assert one.index.identical(other.index)
        for place in range(one.shape[1]):
            same(one.iloc[:, place], other.iloc[:, place])
    elif isinstance(one, pd.Series):
        pd.testing.assert_series_equal(one, other, check_exact=True, check_freq=True, check_flags=True)
        assert repr(one.dtype) == repr(other.dtype)
        assert [*map(type, one.array)] == [*map(type, other.array)]
    elif isinstance(one, pd.Index):
        assert one.identical(other)
        assert getattr(one, "freq", None) == getattr(other, "freq", None)
        assert type(one.name) is type(other.name)
    else:
        assert repr(one) == repr(other)


SERIES = [
    pd.Series([1, 2, 3]), pd.Series([1.5, None]), pd.Series(["a", None, "c"]), pd.Series(["a", None], dtype=object),
    pd.Series([1, None], dtype="Int64"), pd.Series([True, None], dtype="boolean"),
    pd.Series([1.0, None], dtype="Float32"),
    pd.Series(["a", "b", "a", None], dtype="category"), pd.Series(pd.Categorical([1, 2], [3, 2, 1], ordered=True)),
    pd.Series(dates), pd.Series(dates.tz_localize(None)), pd.Series(pd.to_timedelta([1, None])),
    pd.Series([], dtype=float),
    pd.Series(pd.period_range("2024", periods=3, freq="Q")), pd.Series(pd.interval_range(0, 3)),
    pd.Series(pd.arrays.SparseArray([0, 0, 1, 2])), pd.Series(["a", None], dtype="string[python]"),
    pd.Series(["a", None], dtype="string[pyarrow]"), pd.Series([[1], None], dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
    pd.Series([1, None], dtype="int64[pyarrow]"), pd.Series([1, "a", None, [2]], dtype=object), pd.Series([1j]),
    pd.Series(np.array(["2020"], "M8[s]")), pd.Series([1], name=("a", 1)),
    pd.Series(["x"], dtype=pd.StringDtype(na_value=np.nan)),
    pd.Series(pd.array(["a", None], pd.StringDtype("python", na_value=np.nan))), pd.Series(pd.Categorical([])),
    pd.Series(["2020-01-01"], dtype="datetime64[us, UTC]"), pd.Series([1, 2]).astype("uint8"),
    pd.Series([pd.NaT, pd.NA, None, np.nan, pd.Timestamp("2020", tz="UTC"), pd.Timedelta(3)], dtype=object),
]  # fmt: skip
INDEXES = [
    pd.RangeIndex(1, 10, 2, name="r"), pd.Index([1, 2]), pd.Index([1.5]), pd.Index(["a", "b"], name=("x", 1)), dates,
    pd.Index(["a", 1, None], dtype=object), dates[[0, 2]], pd.period_range("2024", periods=3, freq="M"),
    pd.timedelta_range("1D", periods=3), pd.interval_range(0, 3, closed="left"), pd.CategoricalIndex(["a", "b"]),
    pd.MultiIndex.from_tuples([("a", 1), ("b", 2), ("a", None)], names=["x", None]), pd.Index([True, False]),
    pd.MultiIndex.from_product([["a", "b"], dates]), pd.Index([], dtype=object), pd.Index([1], dtype="Int64"),
    pd.Index([1, 2]).astype("int8"), pd.Index([(1, 2), (3, 4)], tupleize_cols=False),
]  # fmt: skip
FRAMES = [
    pd.DataFrame({"a": [1, 2], "b": ["x", "y"], 3: [1.5, None], "o": [object, 1]}), pd.DataFrame(),
    pd.DataFrame(index=[1, 2]),
    pd.DataFrame(columns=["a"]),
    pd.DataFrame(np.arange(6).reshape(2, 3), columns=pd.Index(["a", "a", "b"], name="names")),
    pd.DataFrame(np.random.default_rng(0).random((4, 100))), pd.DataFrame({"x": SERIES[7], "y": SERIES[14]}),
    pd.DataFrame(np.arange(4).reshape(2, 2), columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])),
    pd.DataFrame({"a": dates, "o": pd.Series(["x", None, 1], dtype=object)}, index=dates),
    pd.DataFrame({"a": [1, 2]}, index=[7, 7]), pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False),
    pd.DataFrame({n: pd.Series(["x", None], dtype=object) for n in range(3)}),
]  # fmt: skip
FRAMES[0].attrs = {"source": ["a", 1]}
SCALARS = [
    pd.Timestamp("2020-01-01 12:00:00.123456789", tz="Europe/Berlin"), pd.Timestamp("2020"), pd.Timedelta("1D"),
    pd.NaT, pd.NA,
    pd.Period("2020Q1"), pd.Interval(0, 1), pd.offsets.MonthEnd(2), pd.CategoricalDtype(["a"], ordered=True),
    pd.Int64Dtype(),
    pd.array([1, None]), pd.Categorical(["a"]), pd.Timestamp("2024-10-27 01:30Z").tz_convert("Europe/Berlin"),
]  # fmt: skip


@pytest.mark.parametrize("host", [True, False])
@pytest.mark.parametrize("kind", ["series", "indexes", "frames", "scalars"])
def test_what_arrives_is_what_was_sent(road: Road, kind: str, host: bool) -> None:
    for value in {"series": SERIES, "indexes": INDEXES, "frames": FRAMES, "scalars": SCALARS}[kind]:
        same(road.send(value, host), value)
        assert values.describe(value)
        assert values.nbytes(value) >= 0
        assert values.preview(value) is not None


columns = st.sampled_from(
    [hpd.column(dtype=kind) for kind in ("int8", "float32", "bool", "M8[ns]", "m8[ns]", "complex128")]
    + [hpd.column(elements=st.none() | st.text() | st.integers(), dtype=object)]
    + [hpd.column(elements=st.text(st.characters(exclude_categories=["Cs"])), dtype=object)]
)
labels = hpd.range_indexes(max_size=6) | hpd.indexes(elements=st.text(max_size=3) | st.none(), dtype=object, max_size=6)


def _frames(chosen: list[Any]) -> Any:
    named = [hpd.column(f"c{n}", dtype=one.dtype, elements=one.elements) for n, one in enumerate(chosen)]
    return hpd.data_frames(named, index=labels)


@settings(deadline=None, max_examples=25)
@given(st.lists(columns, min_size=1, max_size=4).flatmap(_frames))
def test_any_frame(road: Road, frame: Any) -> None:
    same(road.send(frame), frame)


def test_a_column_arrives_mapped_and_an_unchanged_one_is_the_same_blob(road: Road) -> None:
    frame = pd.DataFrame({"a": np.arange(10_000), "b": np.arange(10_000.0)})
    before = road.encode(frame).digests
    assert set(before) <= set(road.encode(frame.assign(c=1)).digests)
    found = road.send(frame)
    found.loc[0, "a"] = 7
    assert frame.loc[0, "a"] == 0


def test_words() -> None:
    frame = pd.DataFrame(np.zeros((1000, 8)))
    assert values.describe(frame) == "DataFrame 1,000 × 8"
    assert 64_000 <= values.nbytes(frame) <= 64_500
    assert values.nbytes(pd.DataFrame({"t": ["x" * 1000] * 500}, dtype=object)) >= 4000
    assert len(values.preview(frame).splitlines()) == 7


def test_a_step_that_its_name_does_not_tell_is_refused(road: Road) -> None:
    index = pd.date_range("2024", periods=2, freq=pd.DateOffset(months=1, days=1))
    with pytest.raises(Untransferable, match="index.freq = None"):
        road.encode(index)


TABLE = pa.table(
    {"a": [1, None], "b": ["x", "y"], "c": [[1], [2, 3]], "d": pa.array(["q", "q"]).dictionary_encode(),
    "n": [None, None]},
    metadata={"by": "test"},
)  # fmt: skip


@pytest.mark.parametrize(
    "value",
    [TABLE, TABLE.to_batches()[0], TABLE["b"], pa.array([1.5, None]), TABLE.schema, pa.int8(), pa.array([{"a": 1}]),
     pa.table({}), pa.array([], pa.string()), TABLE.slice(1), pa.chunked_array([[1], [2]]),
     pa.array(["x"], pa.string_view())],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_arrow(road: Road, value: Any) -> None:
    found = road.send(value)
    assert type(found) is type(value)
    assert found.equals(value)
    if isinstance(value, (pa.Table, pa.Schema)):
        assert (value.schema if isinstance(value, pa.Table) else value).equals(
            found.schema if isinstance(value, pa.Table) else found, check_metadata=True
        )


POLARS = pl.DataFrame(
    {
        "a": [1, None], "s": ["x", "é"], "l": [[1], [2, 3]], "st": [{"q": 1}, {"q": 2}], "b": [b"x", None],
        "n": [None, None],
        "c": pl.Series(["a", "b"], dtype=pl.Categorical), "e": pl.Series(["a", "b"], dtype=pl.Enum(["b", "a"])),
        "dt": pl.Series([datetime.datetime(2020, 1, 1)] * 2, dtype=pl.Datetime("ms", "Europe/Berlin")),
        "du": [datetime.timedelta(1)] * 2, "dec": [decimal.Decimal("1.50")] * 2, "da": [datetime.date(2020, 1, 1)] * 2,
        "ti": [datetime.time(1)] * 2, "i8": pl.Series([1, 2], dtype=pl.Int8),
        "arr": pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int64, 2)),
    }
)  # fmt: skip


def test_polars(road: Road) -> None:
    found = road.send(POLARS)
    assert found.schema == POLARS.schema
    assert found.equals(POLARS)
    for column in POLARS:
        assert road.send(column).equals(column, check_names=True, check_dtypes=True)
    assert values.describe(POLARS) == "polars DataFrame 2 × 15"
    with pytest.raises(Untransferable, match="to_list"):
        road.encode(pl.DataFrame({"o": [object()]}))
    with pytest.raises(Untransferable, match="collect"):
        road.encode(POLARS.lazy())


# what an enemy writes


def _stream(table: Any, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _node(data: bytes) -> list[Any]:
    return ["pyarrow.Table", base64.b64encode(data).decode()]


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_a_compressed_stream_is_refused(road: Road, codec: str) -> None:
    bomb = _stream(
        pa.table({"x": np.zeros(3_000_000), "d": pa.array(["a"] * 3_000_000).dictionary_encode()}), compression=codec
    )
    with pytest.raises(Malformed, match="compressed"):
        road.receive(road.document(["pyarrow.Table", [road.store.put(bomb), len(bomb)]]))


def test_an_extension_type_is_refused_both_ways(road: Road) -> None:
    table = pa.table({"x": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16], pa.binary(16)))})
    with pytest.raises(Untransferable, match="extension type"):
        road.encode(table)
    with pytest.raises(Malformed, match="extension type"):
        road.receive(road.document(_node(_stream(table))))


def test_offsets_beyond_the_data_are_refused(road: Road) -> None:
    honest = _stream(pa.table({"x": ["a" * 77, "b" * 66]}))
    ends = np.array([0, 77, 77 + 66], np.int32).tobytes()
    assert honest.count(ends) == 1
    for lie in ([0, 77, 1 << 30], [0, 500, 143], [-9, 77, 143]):
        with pytest.raises(Malformed):
            road.receive(road.document(_node(honest.replace(ends, np.array(lie, np.int32).tobytes()))))


def test_a_column_of_nothing_is_not_endless(road: Road) -> None:
    honest = _stream(pa.table({"x": pa.nulls(12_345_678)}))
    lying = honest.replace((12_345_678).to_bytes(8, "little"), (1 << 50).to_bytes(8, "little"))
    with pytest.raises(Malformed, match="more rows than bits"):
        road.receive(road.document(_node(lying)))


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2000), st.binary(min_size=1, max_size=8))
def test_a_damaged_stream_is_a_table_or_an_error(road: Road, place: int, junk: bytes) -> None:
    data = bytearray(_stream(TABLE))
    data[place : place + len(junk)] = junk
    try:
        found = road.receive(road.document(_node(bytes(data))))
    except LeptonError:
        return
    found.to_pylist()


@pytest.mark.parametrize("value", [FRAMES[0], FRAMES[8], SERIES[7], SERIES[15], INDEXES[11], INDEXES[4]], ids=range(6))
def test_any_number_in_a_document_may_lie(road: Road, value: Any) -> None:
    nodes = road.encode(value).doc["nodes"]
    for place, node in enumerate(nodes):
        for part in range(1, len(node)):
            for lie in (None, -1, 1 << 62, "x", [], [0], {"a": 1}, True):
                changed = [list(n) for n in nodes]
                changed[place][part] = lie
                try:
                    found = road.receive(road.document(*changed))
                except LeptonError:
                    continue
                assert isinstance(values.preview(found), str)
