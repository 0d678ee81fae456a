"""What a host says of itself, made safe: a host that lies can put nothing else into a browser or a store."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from lepton_jupyter.remote.samples import clean_history, clean_sample, clean_usage

BLANK = clean_sample({})
WHOLE = {
    "time": 5.0, "host": "gpu1", "cpu": {"count": 8, "percent": 12.5}, "memory": {"used": 1, "total": 2},
    "disk": {"path": "/", "used": 1, "total": 2}, "load": 0.5,
    "devices": [
        {"kind": "tpu", "index": 1, "name": "v5e", "util": 3.0, "memory_used": 1, "memory_total": 2,
         "temperature": None, "power": None,
         "processes": [{"pid": 7, "user": "ann", "name": "python", "memory": None, "job": "job2"}]},
    ],
    "kernel": {"cpu": 100.0, "memory": 5, "gpu_memory": None, "processes": 2},
    "queue": [{"job": "job2", "name": "train", "state": "RUNNING"}], "latency": 0.01,
}  # fmt: skip

anything = some.recursive(
    some.none() | some.booleans() | some.floats() | some.integers() | some.text(max_size=9),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.sampled_from([*BLANK, "x", "used"]), inner),
    max_leaves=20,
)


def test_a_good_sample_passes_as_it_is() -> None:
    assert clean_sample(WHOLE) == WHOLE


def test_what_is_not_known_is_dropped_and_what_is_missing_is_null() -> None:
    odd: dict[str, Any] = {**WHOLE, "html": "<script>", "cpu": {"count": "8", "percent": float("nan"), "more": 1}}
    odd["devices"] = [{"kind": "<b>", "util": True, "processes": "none", "mine": True}, "gpu"]
    found = clean_sample(odd)
    assert "html" not in found
    assert found["cpu"] == {"count": None, "percent": None}
    assert found["devices"] == [
        {
            "kind": "gpu", "index": 0, "name": "", "util": None, "memory_used": None, "memory_total": None,
            "temperature": None, "power": None, "processes": [],
        }
    ]  # fmt: skip
    assert BLANK["kernel"] is None
    assert BLANK["queue"] == []


def test_floods_are_cut() -> None:
    device = {"name": "x" * 10**5, "processes": [{"pid": n} for n in range(10**4)]}
    found = clean_sample({"devices": [device] * 1000, "queue": [{}] * 10**5, "host": "h" * 10**6})
    assert len(json.dumps(found)) < 2_000_000


@pytest.mark.parametrize("clean", [clean_sample, clean_usage, clean_history])
@given(value=anything)
def test_anything_becomes_plain_json_of_one_shape(clean: Any, value: Any) -> None:
    found = clean(value)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    if clean is clean_sample:
        assert found.keys() == BLANK.keys()


def test_a_usage_and_a_history() -> None:
    usage = {"gpu": 23.5, "cpu": 10.0, "memory": 5, "gpu_memory": None, "words": "GPU 24 % busy"}
    assert clean_usage({**usage, "more": 1}) == usage
    assert clean_usage({}) == clean_usage("no") == {}
    history = clean_history({"samples": [WHOLE, 5], "words": "fine", "n": 3})
    assert history["words"] == "fine"
    assert [row["time"] for row in history["samples"]] == [5.0]
    assert "queue" not in history["samples"][0]
