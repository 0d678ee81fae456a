"""Python's own values come out as they went in: type, value, order and sharing, to the last bit of a NaN."""

from __future__ import annotations

import collections
import datetime
import decimal
import math
import pathlib
import random
import re
import struct
import types
import uuid
import zoneinfo
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lepton_jupyter.data import values
from lepton_jupyter.data.values import Untransferable
from tests.unit.values._road import Road

zones = st.sampled_from(["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5"]).map(zoneinfo.ZoneInfo)
fixed = st.builds(datetime.timezone, st.timedeltas(datetime.timedelta(hours=-23), datetime.timedelta(hours=23)))
hashable = st.deferred(
    lambda: (
        st.none() | st.booleans() | st.integers() | st.integers(-(1 << 200), 1 << 200) | st.floats()
        | st.complex_numbers() | st.text(st.characters(exclude_categories=())) | st.binary() | st.uuids()
        | st.dates() | st.times() | st.timedeltas() | st.datetimes(timezones=st.none() | zones | fixed)
        | st.decimals(allow_nan=False) | st.fractions() | st.builds(range, st.integers(), st.integers(), st.just(-3))
        | st.frozensets(hashable, max_size=3) | st.tuples(hashable, hashable)
    )
)  # fmt: skip
anything = st.recursive(
    hashable,
    lambda parts: (
        st.lists(parts) | st.dictionaries(hashable, parts) | st.sets(hashable) | st.tuples(parts, parts)
        | st.builds(bytearray, st.binary()) | st.builds(collections.deque, st.lists(parts), st.just(5))
        | st.dictionaries(hashable, parts).map(collections.OrderedDict) | st.builds(types.SimpleNamespace, a=parts)
    ),
    max_leaves=20,
)  # fmt: skip


def bits(value: Any) -> Any:
    """A value in a form that compares as exactly as one can: types, order, the sign of zero, the payload of a NaN."""
    kind = type(value)
    if kind is float:
        return (kind, struct.pack("d", value))
    if kind is complex:
        return (kind, bits(value.real), bits(value.imag))
    if kind in (dict, collections.OrderedDict):
        return (kind, [(bits(key), bits(part)) for key, part in value.items()])
    if kind in (list, tuple, collections.deque):
        return (kind, getattr(value, "maxlen", None), [bits(part) for part in value])
    if kind in (set, frozenset):
        return (kind, sorted(repr(bits(part)) for part in value))
    if kind is types.SimpleNamespace:
        return (kind, bits(vars(value)))
    if kind in (datetime.datetime, datetime.time):
        return (kind, repr(value), str(value.tzinfo), value.fold)
    return (kind, value if kind is int else repr(value))


@settings(deadline=None, max_examples=150)
@given(anything, st.booleans())
def test_what_arrives_is_what_was_sent(road: Road, value: Any, host: bool) -> None:
    assert bits(road.send(value, host)) == bits(value)


@pytest.mark.parametrize(
    "value",
    [
        -0.0, math.inf, -math.inf, struct.unpack("d", struct.pack("Q", 0xFFF8DEADBEEF0001))[0],
        1 << 63, -(1 << 63), -(1 << 63) - 1, 1 << 40_000, "\ud800\udc00", "\udc80" * 5000, "ü" * 5000,
        b"x" * 10_000, bytearray(b"y" * 10_000), True, 1, 1.0, [True, 1, 1.0], {1: "one", "1": 1, (1,): {}, None: ()},
        decimal.Decimal("-0E-7"), decimal.Decimal("sNaN12"), decimal.Decimal("1E+999999"), Fraction(-1, 3),
        datetime.time(1, 2, fold=1), datetime.timezone(datetime.timedelta(hours=1), "name"), datetime.timezone.utc,
        datetime.datetime(2024, 10, 27, 2, 30, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"), fold=1),
        slice(None, 3, -1), ..., NotImplemented, uuid.UUID(int=5), pathlib.Path("/ü"), pathlib.PureWindowsPath("C:/x"),
        re.compile("a+", re.IGNORECASE), re.compile(b"x"), collections.Counter("aab"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_special_values(road: Road, value: Any) -> None:
    assert bits(road.send(value)) == bits(value)


def test_kin_of_dict_keep_their_behaviour(road: Road) -> None:
    found = road.send(collections.defaultdict(list, {"a": [1]}))
    assert found["new"] == []
    assert road.send(random.Random(3)).random() == random.Random(3).random()


def test_what_is_shared_is_sent_once_and_shared_again(road: Road) -> None:
    part = [b"x" * 100_000]
    sent = road.encode([part, {"again": part}, (part,)])
    assert sum(sent.digests.values()) == 100_000
    one, other, third = road.receive(sent.doc)
    assert one is other["again"] is third[0]


def test_an_unchanged_part_of_a_changed_value_is_the_same_blob(road: Road) -> None:
    big = b"x" * 100_000
    before, after = road.encode({"big": big, "n": 1}), road.encode({"big": bytes(bytearray(big)), "n": 2})
    assert before.digests == after.digests
    assert before.doc != after.doc


def test_equal_sets_make_equal_documents(road: Road) -> None:
    names = [f"name {n}" for n in range(100)]
    assert road.encode(set(names)).doc == road.encode({*names[50:], *names}).doc


def test_a_value_may_change_once_it_is_encoded(road: Road) -> None:
    value = {"list": [1], "bytes": bytearray(b"x" * 10_000)}
    sent = road.encode(value)
    value["list"].append(2)
    value["bytes"][:] = b"y"
    assert road.receive(sent.doc) == {"list": [1], "bytes": bytearray(b"x" * 10_000)}


def test_a_cycle_is_refused_with_its_place(road: Road) -> None:
    value: dict[str, Any] = {"x": [1]}
    value["x"].append({"self": value})
    with pytest.raises(Untransferable, match=r"value\['x'\]\[1\]\['self'\] cannot be sent: it contains itself"):
        road.encode(value)


def test_depth_is_limited(road: Road) -> None:
    value: list[Any] = []
    for _ in range(95):
        value = [value]
    assert road.send(value) == value
    for _ in range(20):
        value = [value]
    with pytest.raises(Untransferable, match="nested more than 100 deep"):
        road.encode(value)


def test_a_million_numbers(road: Road) -> None:
    value = list(range(1_000_000))
    assert road.send(value) == value


def test_the_size_is_what_travels(road: Road) -> None:
    sent = road.encode({"big": b"x" * 50_000, "small": "text"})
    assert 50_000 < sent.size < 50_300
    assert sent.words == "dict of 2"


@pytest.mark.parametrize(
    ("value", "words", "size"),
    [
        (None, "None", (0, 100)),
        (3.5, "float", (0, 100)),
        ("x" * 1000, "str of 1,000 characters", (1000, 1100)),
        ([b"x" * 1000] * 3, "list of 3", (1000, 1300)),  # shared: once
        ([bytes([n]) * 1000 for n in range(9)], "list of 9", (9000, 10_000)),
        ([bytes(1000) + bytes([n % 256, n >> 8]) for n in range(5000)], "list of 5,000", (5_000_000, 5_500_000)),
        ({n: bytes(1000) + bytes([n]) for n in range(9)}, "dict of 9", (9000, 10_000)),
    ],
    ids=lambda part: f"{part!s:.12}",
)
def test_words_and_sizes_without_encoding(value: Any, words: str, size: tuple[int, int]) -> None:
    assert values.describe(value) == words
    assert size[0] <= values.nbytes(value) <= size[1]


def test_words_cope_with_any_value() -> None:
    class Rude:
        def __repr__(self) -> str:
            raise RuntimeError

    circle: list[Any] = []
    circle += [circle, circle]
    wide = [[["x"] * 50 for _ in range(50)] for _ in range(200)]
    for value in (Rude(), circle, wide, "x\n" * 1000, 1 << 100_000, {"a": Rude()}):
        assert values.describe(value)
        assert values.nbytes(value) > 0
        shown = values.preview(value)
        assert len(shown.splitlines()) <= 12
        assert all(len(line) <= 100 for line in shown.splitlines())
