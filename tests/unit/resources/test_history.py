"""A job's history of its resources: a bounded file that outlives the agent."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from lepton_jupyter.agent.history import MOST_POINTS, History, answer, stored_usage
from lepton_jupyter.errors import UnknownJob


def sample(number: int, util: float = 50.0, devices: int = 1) -> dict[str, Any]:
    holder = {"pid": 1, "user": "ann", "name": "python", "memory": 5, "job": "job2", "mine": True}
    one = {
        "kind": "gpu", "name": "NVIDIA H100 80GB HBM3", "util": util, "memory_used": number, "memory_total": 10**6,
        "temperature": None, "power": 100.0, "processes": [holder],
    }  # fmt: skip
    return {
        "time": float(number), "host": "h", "cpu": {"count": 4, "percent": 10.0}, "memory": {"used": 1, "total": 9},
        "disk": {"path": "/", "used": 1, "total": 2}, "load": 1.0, "queue": [],
        "kernel": {"cpu": 100.0, "memory": number, "gpu_memory": number, "processes": 1},
        "devices": [{**one, "index": index} for index in range(devices)],
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "jobs" / "job2"
    path.mkdir(parents=True)
    return path


def test_points_are_kept_without_what_is_of_the_moment(folder: Path, tmp_path: Path) -> None:
    history = History(str(folder))
    assert history.usage() == {}
    for number in range(3):
        history.add(sample(number))
    told = answer(str(tmp_path), "job2")
    assert [point["time"] for point in told["samples"]] == [0, 1, 2]
    assert "ann" not in json.dumps(told)
    assert told["samples"][1]["devices"][0]["mine"] is True
    assert told["words"] == history.usage()["words"] != ""
    assert stored_usage(str(tmp_path), "job2") == history.usage()
    assert history.usage()["gpu_memory"] == 2
    assert stat.S_IMODE((folder / "resources").stat().st_mode) == 0o600


def test_a_file_has_no_more_points_than_it_may_and_forgets_no_time(folder: Path, tmp_path: Path) -> None:
    history = History(str(folder))
    count = 2 * MOST_POINTS
    for number in range(count):
        history.add(sample(number, util=float(number % 2 * 100)))
    lines = (folder / "resources").read_text().splitlines()
    assert len(lines) <= MOST_POINTS
    points = [json.loads(line) for line in lines]
    assert sum(point.get("n", 1) for point in points) == count
    assert points[-1]["time"] == count - 1
    assert points[0]["n"] > 1
    assert points[0]["devices"][0]["util"] == 50.0  # the mean of 0 and 100
    assert points[0]["devices"][0]["temperature"] is None
    assert [point["time"] for point in points] == sorted(point["time"] for point in points)
    stored = stored_usage(str(tmp_path), "job2")
    assert stored == history.usage()
    assert stored["memory"] == count - 1


def test_an_answer_fits_into_a_message(folder: Path, tmp_path: Path) -> None:
    history = History(str(folder))
    for number in range(1500):
        history.add(sample(number, devices=8))
    told = answer(str(tmp_path), "job2")
    assert len(json.dumps(told)) < 1 << 20
    assert len(told["samples"]) > 100
    assert sum(point.get("n", 1) for point in told["samples"]) == 1500


def test_a_torn_line_is_skipped(folder: Path, tmp_path: Path) -> None:
    History(str(folder)).add(sample(1))
    with (folder / "resources").open("ab") as file:
        file.write(b'{"time": 2, "cp\n\xff\xfe\n[]\n{"time": 3')
    assert [point["time"] for point in answer(str(tmp_path), "job2")["samples"]] == [1]


def test_a_disk_that_refuses_costs_no_job(tmp_path: Path) -> None:
    history = History(str(tmp_path / "gone"))
    history.add(sample(7))
    assert history.usage()["memory"] == 7


def test_a_job_without_points_has_none(tmp_path: Path) -> None:
    assert answer(str(tmp_path), "nobody") == {"samples": [], "words": ""}
    with pytest.raises(UnknownJob):
        answer(str(tmp_path), "../../etc")
