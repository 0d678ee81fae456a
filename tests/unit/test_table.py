"""Tables show any text as text: no cell can break a row, colour a terminal or run in a browser."""

from __future__ import annotations

import dataclasses
import html.parser
import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from lepton_jupyter.job import Job, JobId, JobSpec, JobState
from lepton_jupyter.magics._table import Table, columns_of, findings_table, jobs_table
from lepton_jupyter.outputs.words import clock, duration, escaped, size, visible
from lepton_jupyter.targets._base import Finding

HOSTILE = {
    "colour": "\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "lines": "one\ntwo\r\nthree\rfour\u2028five",
    "tag": "<script>alert('x')</script><img src=x onerror=alert(1)>",
    "entity": "&lt;b&gt; \" ' &",
    "reversed": "\u202egnp.exe\u2066",
    "wide": "日本語のタイトル",
    "emoji": "👨‍👩‍👧 ok",
    "bytes": "caf\udce9",
    "null": "a\x00b\x7f\x9b31m",
}


class Cells(html.parser.HTMLParser):
    """What a browser would see: the elements, and the text of each cell."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.cells: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "td":
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells and self.tags[-1] == "td":
            self.cells[-1] += data


def job(**fields: object) -> Job:
    spec = JobSpec(code="", target="gpu1", name=str(fields.pop("name", "")))
    return Job(job_id=JobId("abc2345678"), spec=spec, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_text(text: str) -> None:
    table = jobs_table([job(name=text, cause=text)])
    lines = str(table).splitlines()
    assert len(lines) == 3
    assert not any(unicodedata.category(char) in ("Cc", "Cs") for char in "".join(lines))
    page = Cells(table._repr_html_())
    assert set(page.tags) <= {"table", "thead", "tbody", "tr", "th", "td", "p"}
    assert page.attributes <= {"class", "style", "scope"}
    assert page.cells[2] == visible(text[:60])
    lines = text.splitlines()
    assert page.cells[6] == visible(lines[0] + " …" * (len(lines) > 1))


@settings(deadline=None)
@given(some.lists(some.text(some.characters(codec=None)), min_size=2, max_size=2), some.integers(20, 120))
def test_any_text_keeps_the_form(row: list[str], width: int) -> None:
    table = Table(columns=("first", "second"), rows=[row, ["x", "y"]])
    assert len(table.text().split("\n")) == 4
    assert all(columns_of(line) <= width for line in table.text(width).split("\n"))
    assert Cells(table._repr_html_()).cells[:2] == [visible(text) for text in row]


def test_what_is_cut_says_so() -> None:
    table = jobs_table([job(cause="word " * 50)])
    assert all(columns_of(line) <= 80 for line in table.text(80).splitlines())
    assert table.text(80).splitlines()[2].endswith("…")
    assert ("word " * 50).strip() in table.text()


def test_cures_are_never_cut() -> None:
    cure = "ssh gpu1 /opt/conda/bin/python -m pip install ipykernel jupyter_client"
    text = findings_table([Finding(subject="kernel", ok=False, value="no ipykernel", cure=cure)]).text(60)
    assert all(columns_of(line) <= 60 for line in text.splitlines())
    assert "…" not in text
    head, _, *lines = text.splitlines()
    assert " ".join(" ".join(line[head.index("what to do") :] for line in lines).split()) == cure


def test_findings_speak_by_signs() -> None:
    found = [Finding(subject=sign, ok=ok, value="v") for sign, ok in (("a", True), ("b", False), ("c", None))]
    assert [line[0] for line in str(findings_table(found)).splitlines()[2:]] == ["✓", "✗", "–"]


def test_columns_stand_under_their_heads() -> None:
    lines = str(Table(columns=("a", "b"), rows=[("日本", "x"), ("abcdef", "y")])).splitlines()
    assert [columns_of(line[: line.index(mark)]) for line, mark in zip(lines, ("b", "─", "x", "y"), strict=True)] == [
        8, 0, 8, 8,
    ]  # fmt: skip


def test_a_job_that_nobody_follows_says_that_its_row_may_be_old() -> None:
    watched, alone = job(), dataclasses.replace(job(), job_id=JobId("alone23456"))
    text = str(jobs_table([watched, alone], unwatched={alone.job_id}))
    assert f"lepton_attach {alone.job_id}" in text
    assert f"lepton_attach {watched.job_id}" not in text


def test_a_short_list_tells_how_many_there_are() -> None:
    table = jobs_table([job()], total=1234)
    assert "1 of 1,234 jobs" in str(table)
    assert "1 of 1,234 jobs" in table._repr_html_()
    assert "jobs" not in str(jobs_table([job()], total=1))


def test_an_empty_table_says_what_to_do() -> None:
    assert "%%lepton_train" in str(jobs_table([]))
    assert "%%lepton_train" in jobs_table([])._repr_html_()


def test_running_jobs_take_longer_and_longer() -> None:
    def took(**fields: object) -> str:
        return str(jobs_table([job(**fields)]).rows[0][5])

    assert took(state=JobState.RUNNING, started=time.time() - 61) == "1 min 1 s …"
    assert took(state=JobState.COMPLETED, started=100.0, ended=108.0) == "8.0 s"
    assert took() == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (0.44, "0.4 s"),
        (9.97, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (3600, "1 h"),
        (11109, "3 h 5 min"),
        (187200, "2 d 4 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_moment_of_another_day_has_its_date() -> None:
    assert clock(None) == ""
    assert clock(time.time()).count(":") == 2
    assert clock(0.0)[:3] in ("197", "196")


def test_sizes_have_three_digits_at_most() -> None:
    counts = [0, 1023, 1024, 1536, 200 << 20, 3.1 * 2**30, 5 << 50]
    assert [size(count) for count in counts] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "1.5 KiB",
        "200 MiB",
        "3.1 GiB",
        "5120 TiB",
    ]


def test_escaped_text_cannot_end_an_attribute() -> None:
    assert escaped('"><img src=x>\n') == "&quot;&gt;&lt;img src=x&gt;"
