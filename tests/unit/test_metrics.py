"""Metrics without code: which loops a step is in, what a host may tell, when a module arrives."""

from __future__ import annotations

import importlib
import linecache
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lepton_jupyter.ml.metrics import Meter
from lepton_jupyter.ml.metrics._arrivals import when_imported
from lepton_jupyter.ml.metrics._loops import Loop, around
from lepton_jupyter.outputs.progress import Progress
from lepton_jupyter.wire import Event


def loops_in(tmp_path: Path, code: str, **names: Any) -> list[list[Loop]]:
    """What `around` finds at each call of `here()` in the code."""
    path = tmp_path / "cell.py"
    path.write_text(code)
    linecache.checkcache(str(path))
    found: list[list[Loop]] = []
    names["here"] = lambda: found.append(around(sys._getframe(1)))
    exec(compile(code, str(path), "exec"), names)
    return found


def test_loops_over_ranges_are_found_through_functions(tmp_path: Path) -> None:
    code = """
def train(epochs, steps):
    for epoch in range(1, epochs + 1):
        for step in tqdm(range(steps)):
            here()
train(3, 2)
"""
    found = loops_in(tmp_path, code, tqdm=lambda given: given)
    assert found[0] == [Loop("epoch", 0, 3), Loop("step", 0, 2)]
    assert found[-1] == [Loop("epoch", 2, 3), Loop("step", 1, 2)]


def test_attributes_are_read_where_they_lie_and_nothing_is_run(tmp_path: Path) -> None:
    class Arguments:
        def __init__(self) -> None:
            self.epochs = 2

        @property
        def hostile(self) -> int:
            raise AssertionError("this is the user's code")

    code = "for epoch in range(args.epochs):\n    here()\nfor epoch in range(args.hostile if 0 else 2):\n    here()\n"
    found = loops_in(tmp_path, code, args=Arguments())
    assert found == [[Loop("epoch", 0, 2)], [Loop("epoch", 1, 2)], [], []]


def test_what_is_no_range_of_numbers_is_left_alone(tmp_path: Path) -> None:
    code = """
for word in ["a", "b"]:
    here()
for number in map(int, "12"):
    here()
while True:
    here()
    break
for index in range(2):
    index = "changed"
    here()
"""
    assert loops_in(tmp_path, code) == [[]] * 7


def test_a_module_is_awaited_and_a_failure_of_ours_is_not_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lepton_awaited.py").write_text("value = 1\n")
    (tmp_path / "lepton_feared.py").write_text("value = 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    came: list[str] = []
    when_imported("lepton_awaited", lambda: came.append(sys.modules["lepton_awaited"].value))
    when_imported("lepton_feared", lambda: 1 // 0)
    finders = len(sys.meta_path)
    assert not came
    assert importlib.import_module("lepton_awaited").value == 1
    assert came == [1]
    assert importlib.import_module("lepton_feared").value == 2
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert len(sys.meta_path) == finders - 2


def test_watching_imports_nothing() -> None:
    code = (
        "import sys\nfrom lepton_jupyter.ml.metrics import Meter, watch\nwatch(Meter())\n"
        "print(sorted({'torch', 'keras', 'tensorflow', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_a_meter_tells_the_rate_of_late_and_only_news() -> None:
    meter = Meter()
    assert meter.read() is None
    meter.sources["test"] = lambda: {"loss": 0.5, "worse": math.nan, "shape": [1, 2]}
    assert meter.step()
    assert not meter.step()
    first = meter.read()
    assert first is not None
    assert (first.steps, first.rate, first.values) == (2, None, {"loss": 0.5, "worse": None})
    assert meter.read() is None
    assert meter.step()
    second = meter.read()
    assert second is not None
    assert second.rate is not None
    assert second.rate > 0


def test_what_is_logged_too_fast_keeps_its_newest_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    meter = Meter()
    for number in range(5000):
        meter.log({"value": number})
    values = [row[2]["value"] for row in meter.logged()]
    assert values[-1] == 4999
    assert len(values) <= 1000
    assert meter.logged() == []
    assert capsys.readouterr().err.count("only the newest are kept") == 1


def told(**fields: Any) -> Event:
    return Event("job", 1, "metrics", {"time": 100.0, **fields})


def test_what_is_measured_becomes_telemetry_and_printed_metrics_go_before() -> None:
    progress = Progress()
    progress.add(told(steps=40, rate=None, values={"loss": 0.51234, "learning_rate": 0.001}, loops=[["epoch", 1, 4]]))
    known = progress.telemetry()
    assert known["metric"]["name"] == "loss"
    assert known["progress"]["fraction"] == 0.25
    assert known["training"]["words"] == "40 steps · loss 0.5123 · learning rate 0.001"
    printed = b'{"name": "stdout", "text": "val_loss: 0.7\\n"}'
    progress.add(Event("job", 2, "iopub", {"msg_type": "stream", "time": 101.0}, (b"{}", printed)))
    assert progress.telemetry()["metric"]["name"] == "val_loss"
    progress.add(told(logged=[[100.5, 3, {"reward": 2.0}]]))
    assert progress.telemetry()["metric"]["name"] == "reward"


@pytest.mark.parametrize(
    "fields",
    [
        {"values": "x"},
        {"values": {"loss": "1"}, "steps": "many", "loops": [["epoch", -1, 4], ["epoch"], 7, ["epoch", 9, 4]]},
        {"values": {"\x1b[31m<b>" * 40: 1e400}, "rate": [], "steps": math.inf},
        {"logged": [[None, 1, {}], [1], {"a": 1}, [1.0, 1, [2]]]},
        {"loops": {"a": 1}, "steps": True},
    ],
    ids=["text", "kinds", "names", "logged", "shapes"],
)
def test_a_host_that_tells_nonsense_breaks_nothing(fields: dict[str, Any]) -> None:
    progress = Progress()
    progress.add(told(**fields))
    known = progress.telemetry()
    assert "progress" not in known
    assert "\x1b" not in known.get("training", {}).get("words", "")
