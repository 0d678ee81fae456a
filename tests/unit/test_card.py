"""A job's card as a picture: whatever names, causes and numbers it gets, it is one valid, harmless piece of HTML."""

from __future__ import annotations

import dataclasses
import json
import math
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from lepton_jupyter.job import Job, JobId, JobSpec, JobState
from lepton_jupyter.widgets import static
from lepton_jupyter.widgets.static import Facts, bundle, chart, html, metadata, text

NOW = 1_700_000_000.0
HALF = {
    "progress": {"fraction": 0.35, "done": 7, "total": 20, "unit": "epoch", "eta": 840.0, "time": NOW - 60},
    "metric": {"name": "loss", "value": 0.4142, "points": [[1, 2.3], [2, 1.1], [3, 0.4142]]},
    "usage": {"gpu": 23.4, "cpu": 41, "memory": 3 << 30, "gpu_memory": 5 << 30, "words": "the input is the limit"},
}
SAMPLE = {
    "cpu": {"count": 8, "percent": 12.5},
    "memory": {"used": 9 << 30, "total": 64 << 30},
    "kernel": {"cpu": 97.0, "memory": 2 << 30, "gpu_memory": None, "processes": 3},
    "devices": [
        {"kind": "gpu", "index": 0, "util": 88, "memory_used": 10 << 30, "memory_total": 80 << 30},
        {"kind": "gpu", "index": 1, "util": None, "memory_used": None, "memory_total": None},
    ],
}


def facts(**changes: Any) -> Facts:
    given = {"job_id": "k7m3", "title": "first try", "target": "gpu1", "now": NOW, "started": NOW - 250}
    return Facts(**{**given, **changes})


def test_what_was_measured_at_one_moment_is_drawn_as_it_came() -> None:
    curve = {"metric": {"name": "loss", "value": 1.0, "points": [[2, 1.0], [1, 3.0], [1, 2.0], [1, 2.5]]}}
    assert [value for _, value in static._points(facts(telemetry=curve))] == [3.0, 2.0, 2.5, 1.0]


def test_a_job_that_nobody_follows_is_drawn_from_what_the_store_has() -> None:
    spec = JobSpec(code="fit()", name="first try", target="gpu1")
    job = Job(job_id=JobId("k7m3"), spec=spec, state=JobState.FAILED, cause="out of memory", telemetry=HALF)
    job = dataclasses.replace(job, started=NOW - 250, ended=NOW)
    assert text(static.facts_of(job, 3.6)) == text(
        facts(state=JobState.FAILED, note="out of memory", ended=NOW, telemetry=HALF, price=3.6)
    )


class Reader(HTMLParser):
    """The tags and the text of HTML, as a browser takes them."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.open: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag != "br":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_running_job_says_all_that_is_known() -> None:
    running = facts(state=JobState.RUNNING, telemetry=HALF, sample=SAMPLE, price=3.6)
    shown = Reader(html(running)).text
    for words in (
        "Running", "first try", "on gpu1, job k7m3", "35 %, 7/20 epoch, running for 4 min 10 s, about 13 min left",
        "cost so far 0.25", "loss 0.4142", "GPU 0 88 % 10.0 GiB of 80.0 GiB · GPU 1 – · CPU 97 % · memory 2.0 GiB",
        "%lepton_card k7m3",
    ):  # fmt: skip
        assert words in shown
    assert text(running).splitlines() == [
        "▶ Running: first try   on gpu1, job k7m3",
        "███████░░░░░░░░░░░░░ 35 %, 7/20 epoch, running for 4 min 10 s, about 13 min left, cost so far 0.25",
        "loss 0.4142  █▄▁",
        "GPU 0 88 % 10.0 GiB of 80.0 GiB · GPU 1 – · CPU 97 % · memory 2.0 GiB",
    ]


def test_a_finished_job_says_what_it_took_and_used() -> None:
    ended = facts(state=JobState.COMPLETED, telemetry=HALF, sample=SAMPLE, ended=NOW - 8, price=0.01)
    shown = Reader(html(ended)).text
    assert "Completed" in shown
    assert "took 4 min 2 s, cost less than 0.01" in shown
    assert "GPU 23 % · CPU 41 % · memory up to 3.0 GiB · GPU memory up to 5.0 GiB · the input is the limit" in shown
    assert "%lepton_card" not in shown
    assert "left" not in shown


def test_what_the_curve_leaves_out_is_said_with_where_it_is() -> None:
    metric: dict[str, Any] = {**HALF["metric"], "count": 1200, "others": 1, "recorded": True}
    some = facts(state=JobState.COMPLETED, telemetry={"metric": metric, "training": {"words": "9 steps"}})
    line = f"{len(metric['points'])} of 1,200 values drawn; 1 other metric: %lepton_metrics k7m3"
    assert line in Reader(html(some)).text
    assert text(some).splitlines()[-2:] == [line, "9 steps"]
    printed = facts(telemetry={"metric": {**metric, "count": 3, "others": 40, "recorded": False}})
    assert "40 other metrics: %lepton_logs k7m3" in text(printed)
    assert "other metrics: %" not in text(facts(telemetry=HALF))


def test_a_completed_job_is_not_partly_done() -> None:
    ended = facts(state=JobState.COMPLETED, telemetry=HALF, ended=NOW)
    assert "35 %" not in text(ended) and "7/20" not in text(ended) and "progressbar" not in html(ended)
    assert "35 %, 7/20 epoch, took" in text(facts(state=JobState.CANCELLED, telemetry=HALF, ended=NOW))


@pytest.mark.parametrize("state", JobState)
def test_every_state_is_an_icon_and_a_word(state: JobState) -> None:
    first = text(Facts(job_id="k7m3", title="t", target="local", state=state)).splitlines()[0]
    assert first.split(":")[0] == f"{static.ICONS[state]} {state.value.capitalize().replace('_', ' ')}"
    assert "running for" not in text(Facts(job_id="k7m3", title="t", target="local", state=state))


def test_the_chart_is_a_line_within_its_frame() -> None:
    svg = ElementTree.fromstring(chart(facts(telemetry=HALF)).replace("<br>", "<br/>")).find("svg")
    assert svg is not None
    assert svg.get("aria-label") == "loss 0.4142, between 0.4142 and 2.3"
    line = svg.find("polyline")
    assert line is not None
    assert line.get("points") == "3.0,3.0 240.0,39.9 477.0,61.0"
    assert chart(facts()) == ""
    once = {"metric": {"name": "acc", "value": 0.5, "points": [[1, 0.5]]}}
    assert chart(facts(telemetry=once)) == "<div>acc 0.5</div>"


def test_hostile_names_and_causes_stay_text() -> None:
    hostile = "</div><img src=x onerror=alert(1)><script>alert(1)</script>\" onload=x ' \x1b[31m\u202e\nnext"
    telemetry = {
        "progress": {"fraction": 0.5, "done": 1, "total": 2, "unit": hostile},
        "metric": {"name": hostile, "value": 1, "points": [[0, 1], [1, 2]]},
        "usage": {"words": hostile},
    }
    device = {"kind": hostile, "index": hostile, "util": 1}
    for state, sample in ((JobState.FAILED, {}), (JobState.RUNNING, {"devices": [device]})):
        card = facts(title=hostile, target=hostile, note=hostile, state=state, telemetry=telemetry, sample=sample)
        read = Reader(html(card))
        assert read.tags <= {"div", "span", "strong", "svg", "polyline", "br"}
        assert not {name for name in read.attributes if name.startswith("on") or name in ("src", "href", "id")}
        assert "<script>alert(1)</script>" in read.text
        assert not set("\x1b\u202e") & set(html(card) + text(card))
        assert "\nnext" not in text(card)


VALUES = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=8),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
KEYS = ("fraction", "done", "total", "unit", "eta", "time", "name", "value", "points", "gpu", "memory", "words", "cpu")
PART = some.dictionaries(some.sampled_from(KEYS), VALUES, max_size=8) | VALUES
POINTS = some.lists(some.tuples(some.floats() | some.integers(), some.floats() | some.integers()), max_size=9)


@settings(max_examples=200)
@given(
    state=some.sampled_from(JobState),
    progress=PART,
    metric=PART | some.fixed_dictionaries({"value": some.floats(), "points": POINTS}),
    usage=PART,
    sample=some.dictionaries(some.sampled_from(["cpu", "memory", "devices", "kernel"]), VALUES | some.lists(PART)),
    started=some.none() | some.floats(0, 2e9),
)
def test_numbers_that_make_no_sense_draw_something_valid(
    state: JobState, progress: Any, metric: Any, usage: Any, sample: Any, started: float | None
) -> None:
    telemetry = {"progress": progress, "metric": metric, "usage": usage}
    card = facts(state=state, telemetry=telemetry, sample=sample, started=started, price=math.nan)
    read = Reader(html(card))
    assert read.open == []
    assert "nan" not in chart(card)
    assert text(card)


def test_the_bundle_is_json_with_a_live_view_only_when_there_is_a_model() -> None:
    live, picture = bundle(facts(), "abc"), bundle(facts())
    assert live[static.WIDGET_VIEW] == {"version_major": 2, "version_minor": 0, "model_id": "abc"}
    assert {**live, static.WIDGET_VIEW: None} == {**picture, static.WIDGET_VIEW: None}
    assert sorted(picture) == ["text/html", "text/plain"]
    assert json.loads(json.dumps(live)) == live
    assert metadata("k7m3") == {"lepton": {"card": "k7m3"}}
