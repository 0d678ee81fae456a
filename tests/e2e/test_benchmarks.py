"""The benchmarks run, and their table says what was measured. How fast anything is, is no test's affair."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import _table, run
from benchmarks._table import END, MARK, Row, Sample, span, table, write_readme


def test_an_unknown_figure_is_answered_by_those_that_exist(repository: Path) -> None:
    line = [sys.executable, "-m", "benchmarks.run", "wram"]
    done = subprocess.run(line, cwd=repository, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "unknown: wram" in done.stderr and "warm" in done.stderr


def test_the_table_says_what_was_met_and_what_was_not() -> None:
    rows = [
        Row(figure="a", goal="≤ 1", ours="1", peer="2", ratio="0.50", met=True),
        Row(figure="b | c", goal="≤ 1", ours="3", peer="2", met=False),
    ]
    text = table(rows, quick=False)
    assert "| a | ≤ 1 | 1 | 2 | 0.50 | met |" in text
    assert "| b \\| c | ≤ 1 | 3 | 2 |  | **not met** |" in text


def test_a_sample_is_its_median_and_middle_half() -> None:
    assert str(Sample(values=(0.001, 0.002, 0.003, 0.004, 0.1))) == "3.0 ms (2.0 ms–4.0 ms)"
    assert [span(0.25), span(12.3456)] == ["250 ms", "12.35 s"]


def test_the_readme_gets_one_table_however_often_it_is_written(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n\n{MARK}\n\nafter\n", "utf-8")
    write_readme(readme, "| old |\n")
    write_readme(readme, "| new |\n")
    assert readme.read_text("utf-8") == f"before\n\n{MARK}\n| new |\n{END}\n\nafter\n"


def test_the_readme_shows_what_is_kept(repository: Path) -> None:
    text = (repository / "README.md").read_text("utf-8")
    assert _table.kept(run.FIGURES).split("\n", 1)[1] in text  # but for the machine that reads it


def test_what_is_measured_again_takes_the_place_of_what_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "figures.json"
    path.write_text("{}")
    monkeypatch.setattr(_table, "KEPT", path)
    for ours in ("1", "2"):
        _table.keep({"b": [Row(figure="b", goal="", ours=ours, peer="")], "a": []})
    assert [line for line in _table.kept(["a", "b", "c"]).splitlines() if line.startswith("| b")] == [
        f"| b |  | 2 |  |  |  | {time.strftime('%Y-%m-%d')} |"
    ]


def test_our_readme_has_a_place_for_the_table(repository: Path) -> None:
    assert (repository / "README.md").read_text("utf-8").count(MARK) == 1
