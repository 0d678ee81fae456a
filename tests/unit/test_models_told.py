"""The list of compressed models, read off what jobs show; a host may show anything."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from lepton_jupyter.kernel import compressing
from lepton_jupyter.outputs._models import MIME, Models

FIGURES = {"bytes": 10, "zipped": 8, "memory": 20, "metric": 0.9, "ms": 0.5}
MODEL = {
    "name": "small", "kind": "torch.Net", "judged": "accuracy", "steps": ["Pruning"],
    "before": FIGURES, "after": FIGURES,
    "files": [{"name": "small.lepton", "size": 9}],
}  # fmt: skip


def told(*summaries: Any) -> list[dict[str, Any]]:
    models = Models()
    for summary in summaries:
        models.take(json.dumps({"data": {"text/plain": "x", MIME: {"summary": summary}}}).encode())
    known = models.telemetry().get("models", [])
    json.dumps(known, allow_nan=False)
    return list(known)


def test_both_ends_mean_the_same_type() -> None:
    assert compressing.MIME == MIME


def test_each_model_is_told_as_it_was_shown_last() -> None:
    other, again = {**MODEL, "name": "other"}, {**MODEL, "steps": ["Sharing"]}
    assert told(MODEL, other, again) == [again, other]


def test_what_was_not_measured_is_none() -> None:
    (found,) = told({**MODEL, "after": {"bytes": None, "ms": float("inf"), "metric": True}})
    assert found["after"] == dict.fromkeys(FIGURES)


def test_texts_are_short_and_harmless_and_lists_end() -> None:
    (found,) = told({**MODEL, "name": "a\u202e\n" + "b" * 999, "files": [{"name": "f", "size": 1}] * 999})
    assert found["name"].startswith("a\\u202e b")
    assert len(found["name"]) == 120
    assert len(found["files"]) == 20
    assert len(told(*({**MODEL, "name": str(number)} for number in range(99)))) == 20


@pytest.mark.parametrize("summary", [None, [], "x", {}, {**MODEL, "files": None}, {**MODEL, "before": 3}])
def test_what_follows_no_rule_shows_nothing(summary: Any) -> None:
    assert told(summary) == []


@given(some.recursive(some.none() | some.floats() | some.text(), lambda inner: some.dictionaries(
    some.sampled_from([*MODEL, *FIGURES, "size"]), inner) | some.lists(inner)))  # fmt: skip
def test_nothing_that_a_host_shows_raises(summary: Any) -> None:
    told(summary)


def test_other_displays_are_passed_over() -> None:
    models = Models()
    for body in (b"", b"{", MIME.encode(), json.dumps({"data": {"text/plain": MIME}}).encode()):
        models.take(body)
    assert models.telemetry() == {}
