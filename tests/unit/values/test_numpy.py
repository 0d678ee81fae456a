"""Arrays arrive with every bit, dtype, order and flag; a document that lies about them is refused before memory is."""

from __future__ import annotations

import base64
import warnings
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lepton_jupyter.data import values
from lepton_jupyter.data.values import Malformed, Packer, Untransferable, packer, registry
from lepton_jupyter.errors import LeptonError
from tests.unit.values._road import Road

dtypes = hnp.scalar_dtypes() | hnp.nested_dtypes(max_itemsize=400)
shapes = hnp.array_shapes(min_dims=0, min_side=0, max_side=6)


def same(one: Any, other: Any) -> None:
    """Two arrays are the same in everything but where they lie."""
    assert type(one) is type(other)
    assert one.dtype == other.dtype
    assert one.dtype.isalignedstruct == other.dtype.isalignedstruct
    assert one.shape == other.shape
    assert one.flags.writeable == other.flags.writeable
    if one.dtype.hasobject:
        assert repr(one.tolist()) == repr(other.tolist())
    else:
        assert one.tobytes() == other.tobytes()
    if other.flags.forc:
        assert (one.flags.c_contiguous, one.flags.f_contiguous) == (other.flags.c_contiguous, other.flags.f_contiguous)


@settings(deadline=None, max_examples=100)
@given(hnp.arrays(dtypes, shapes), st.sampled_from(["C", "F", "T", "::2"]))
def test_what_arrives_is_what_was_sent(road: Road, array: Any, how: str) -> None:
    if how == "T":
        array = array.T
    elif how == "::2" and array.ndim:
        array = array[::2]
    elif how == "F":
        array = np.asfortranarray(array)
    same(road.send(array), array)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 5)), np.array(3), np.array("x\0y"), np.array(["2020", "NaT"], "M8[ns]"), np.array([1], "m8"),
        np.array([1], "m8[25us]"), np.zeros(3, [("a", "f4"), ("b", ">i2", (2,)), ("c", "U3"), (("title", "d"), "?")]),
        np.zeros(2, np.dtype([("a", "i1"), ("b", "f8")], align=True)), np.zeros(2, np.longdouble), np.zeros(3, "V8"),
        np.array([1, "a", None, np.float32(2)], object), np.array([["a", None], [np.nan, "\ud800"]], object),
        np.array([(1, "a", [2])], [("x", int), ("y", object), ("z", object)]), np.zeros((2, 3), object),
        np.array([([None, 1], 2)], [("x", object, (2,)), ("y", int)]), np.zeros((0,), object),
        np.ones((1, 2)).view(np.matrix), np.rec.array([(1, 2.0)], dtype=[("x", int), ("y", float)]),
        np.char.array(["a", "b"]),
        np.arange(100_000.0), np.asfortranarray(np.arange(20_000.0).reshape(100, 200)), np.arange(10).astype(">i4"),
        np.array([1.5, 2], ml_dtypes.bfloat16), np.array([1], ml_dtypes.float8_e4m3fn), np.array([1], ml_dtypes.int4),
        np.zeros(3, "V0"), np.array(["a", "b" * 100], np.dtypes.StringDType()),
        np.array(["a", None], np.dtypes.StringDType(na_object=None)), np.zeros((2, 0, 3), "U5"),
    ],
    ids=lambda array: f"{array.dtype!s:.20}-{array.shape}",
)  # fmt: skip
def test_special_arrays(road: Road, array: Any) -> None:
    same(road.send(array), array)
    assert values.describe(array)
    assert len(values.preview(array)) < 1200


def test_an_array_of_arrays(road: Road) -> None:
    value = np.empty(2, object)
    value[0], value[1] = np.arange(2), [np.arange(3)]
    found = road.send(value)
    same(found[0], value[0])
    same(found[1][0], value[1][0])


def test_a_read_only_array_stays_one(road: Road) -> None:
    array = np.arange(3)
    array.flags.writeable = False
    same(road.send(array), array)


def test_a_large_array_is_mapped_and_private(road: Road) -> None:
    array = np.arange(100_000)
    sent = road.encode(array)
    one, other = road.receive(sent.doc), road.receive(sent.doc)
    base = one
    while isinstance(base, np.ndarray):
        base = base.base
    assert type(getattr(base, "obj", base)).__name__ == "mmap"
    one[0] = 7
    assert (other[0], road.receive(sent.doc)[0]) == (0, 0)


def test_a_memory_mapped_array_is_sent_as_an_array(road: Road, tmp_path: Any) -> None:
    array = np.memmap(tmp_path / "file", np.int32, "w+", shape=(5000,))
    array[:] = np.arange(5000)
    same(road.send(array), np.arange(5000, dtype=np.int32))


def test_an_array_may_change_once_it_is_encoded(road: Road) -> None:
    array = np.zeros(10_000)
    sent = road.encode(array)
    array[:] = 1
    assert road.receive(sent.doc).sum() == 0


@pytest.mark.parametrize("copied", [1 << 30, 0])
def test_an_array_that_changes_while_it_is_sent_is_one_version_or_refused(
    road: Road, monkeypatch: pytest.MonkeyPatch, copied: int
) -> None:
    monkeypatch.setattr(packer, "_COPIED", copied)
    array = np.zeros(10_000)

    def put(data: Any) -> str:
        digest = road.store.put(data)
        array[5000] += 1  # as another thread may
        return digest

    out = Packer(SimpleNamespace(put=put), registry.find, pickle=None, name="value")
    if copied:
        assert road.receive(out.document(array)).sum() == 0
    else:
        with pytest.raises(Untransferable, match="value cannot be sent: it changed while it was sent"):
            out.document(array)


@pytest.mark.parametrize(
    "value",
    [
        np.float32(1), np.str_("a\0"), np.bytes_(b"a\0"), np.datetime64("2020"), np.timedelta64("NaT"), np.bool_(True),
        np.zeros(1, [("a", int)])[0], np.rec.array([(1, 2.0)], dtype=[("x", int), ("y", float)])[0], np.float16("nan"),
        np.longdouble(1) / 3, np.complex64(1j), ml_dtypes.bfloat16(2), np.dtype("f4"), np.float32,
    ],
    ids=repr,
)  # fmt: skip
def test_scalars_and_types(road: Road, value: Any) -> None:
    found = road.send(value)
    assert type(found) is type(value)
    assert repr(found) == repr(value)
    assert found == value or value != value


def test_masked_arrays(road: Road) -> None:
    array = np.ma.masked_array([1.0, 2, 3], [0, 1, 0], fill_value=7.0, hard_mask=True)
    found = road.send(array)
    assert (found.fill_value, found.hardmask) == (7.0, True)
    same(found.data, array.data)
    same(found.mask, array.mask)
    assert road.send(np.ma.array([1])).mask is np.ma.nomask
    assert road.send(np.ma.masked) is np.ma.masked


def test_random_generators_go_on_where_they_were(road: Road) -> None:
    for bits in (np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64, np.random.PCG64DXSM):
        generator = np.random.Generator(bits(1))
        generator.random(5)
        assert road.send(generator).random() == generator.random()
    legacy = np.random.RandomState(3)
    legacy.randn()
    assert road.send(legacy).randn() == legacy.randn()


def test_words() -> None:
    assert values.describe(np.zeros((3, 4), np.float32)) == "float32 array (3, 4)"
    assert values.nbytes(np.zeros((3, 4), np.float32)) == 48
    assert values.describe(np.zeros(2, [("a", int), ("b", int)])) == "record (a, b) array (2,)"


# what an enemy writes

FINE = ["numpy.ndarray", "<f8", [2], "ndarray", "C", True, "A" * 20 + "=="]


def test_the_honest_document_of_the_tests_below(road: Road) -> None:
    node = road.encode(np.zeros(2)).doc["nodes"][0]
    assert node[:-1] == FINE[:-1]


@pytest.mark.parametrize(
    "change",
    [
        {1: "O"}, {1: "|O"}, {1: "O8"}, {1: "f8,O"}, {1: "<f8,<f8"}, {1: "object"}, {1: 8}, {1: "<U99999999"},
        {1: {"fields": [["a", None, "O", 0]], "size": 8, "aligned": False, "record": False}},
        {1: {"fields": [["a", None, "<f8", -8]], "size": 16, "aligned": False, "record": False}},
        {1: {"fields": [["a", None, "<f8", 1 << 70]], "size": 1 << 71, "aligned": False, "record": False}},
        {1: {"base": "<f8", "shape": [1 << 30, 1 << 30]}}, {1: {"base": "<f8", "shape": [-1]}}, {1: {"small": "dtype"}},
        {1: {"small": "__builtins__"}}, {1: {}}, {1: {"strings": True}}, {1: "<M8[generic]"}, {1: "<M8[7eggs]"},
        {2: [1 << 60]}, {2: [-2]}, {2: [2.0]}, {2: ["2"]}, {2: [True]}, {2: [1 << 40, 1 << 40]}, {2: [1] * 65}, {2: 2},
        {2: [0, 1 << 63]}, {2: [3]}, {2: []}, {3: "dtype"}, {3: "__class__"}, {4: "K"}, {5: 1}, {6: ["x", 16]},
        {6: "not base64"}, {6: "AA"}, {6: [0]}, {1: "|V0", 2: [1 << 61]}, {1: "<U0", 2: [1 << 50], 6: ""},
    ],
    ids=str,
)  # fmt: skip
def test_a_document_that_lies_is_refused(road: Road, change: dict[int, Any]) -> None:
    node = list(FINE)
    for index, item in change.items():
        node[index] = item
    with warnings.catch_warnings(), pytest.raises(LeptonError):
        warnings.simplefilter("ignore")
        found = road.receive(road.document(node))
        assert found.nbytes == 0, "memory was taken"
        raise Malformed("an array without a byte costs nothing")


def test_texts_that_lie_are_refused(road: Road) -> None:
    node = road.encode(np.array(["ab", None], object)).doc["nodes"][0]
    assert road.receive(road.document(node)).tolist() == ["ab", None]
    kinds, _, texts = node[-1]
    for ends in ([-1, 2], [1, 0], [2, 1 << 40], [2], [2, 2, 2]):
        wrong = [*node[:-1], [kinds, base64.b64encode(np.array(ends, np.int64)).decode(), texts]]
        with pytest.raises(Malformed):
            road.receive(road.document(wrong))


def test_records_with_gaps_take_no_memory(road: Road) -> None:
    spec = {"fields": [["a", None, "O", 0]], "size": 1 << 30, "aligned": False, "record": False}
    column = ["numpy.ndarray", "O", [100], "ndarray", "C", True, [list(range(100))]]
    wrong = ["numpy.ndarray", spec, [100], "ndarray", "C", True, [[0]]]
    with pytest.raises(Malformed, match="more gaps than fields"):
        road.receive(road.document(column, wrong))
