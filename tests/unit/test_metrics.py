"""Metrics without code: which loops a step is in, what a host may tell, when a module arrives."""

from __future__ import annotations

import importlib
import linecache
import math
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lepton_jupyter.ml.metrics import Meter, Trainer, of_lightning, of_transformers
from lepton_jupyter.ml.metrics._arrivals import when_imported
from lepton_jupyter.ml.metrics._loops import Loop, around
from lepton_jupyter.ml.tune.watching import Watch
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


def test_a_loop_is_found_beyond_the_frames_of_a_deep_library(tmp_path: Path) -> None:
    library: dict[str, Any] = {}
    code = "def train(call, deep):\n    for _ in range(2):\n        return train(call, deep - 1) if deep else call()\n"
    exec(compile(code, f"{sysconfig.get_paths()['purelib']}/trainer.py", "exec"), library)
    found = loops_in(tmp_path, "for fold in range(3):\n    train(lambda: here(), 200)\n", train=library["train"])
    assert found == [[Loop("fold", turn, 3)] for turn in range(3)]


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
    when_imported("lepton_awaited", lambda: 1 // 0)()  # taken back
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


def test_what_cannot_be_read_is_said_once_and_costs_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    meter = Meter()

    def lost() -> dict[str, Any]:
        raise RuntimeError("the GPU has fallen off the bus\nand more")

    meter.sources.update(torch=lost, keras=lambda: {"loss": 0.5, "confusion": [1, 2]})
    for _ in range(3):
        meter.step()
        reading = meter.read()
        assert reading is not None
        assert reading.values == {"loss": 0.5}
    said = capsys.readouterr().err
    assert said.count("what torch tells cannot be read (RuntimeError: the GPU has fallen off the bus)") == 1
    assert said.count("confusion cannot be read (TypeError") == 1


def test_names_beyond_what_is_shown_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    meter = Meter()
    meter.sources["test"] = lambda: {str(number): number for number in range(10_005)}
    meter.step()
    reading = meter.read()
    assert reading is not None
    assert len(reading.values) == 10_000
    assert "only the first 10,000 of 10,005 names" in capsys.readouterr().err


def test_a_trainer_tells_its_loops_until_another_training_begins(capsys: pytest.CaptureFixture[str]) -> None:
    class Known(Trainer):
        def loops(self) -> list[Loop]:
            return [Loop("epoch", 1, 4)]

        def values(self) -> dict[str, Any]:
            return {"train_loss": 0.5, "loss": None}

    meter, trainer = Meter(), Known()
    meter.sources["torch"] = lambda: {"loss": 0.5, "grad_norm": 2.0}
    meter.begin_training(trainer)
    meter.own(1)
    meter.loops = [Loop("fold", 0, 2)]
    meter.step()
    trainer.over = True
    reading = meter.read()
    assert reading is not None
    assert reading.values == {"grad_norm": 2.0, "train_loss": 0.5}
    assert (reading.loops, reading.trainer) == ([Loop("fold", 0, 2), Loop("epoch", 1, 4)], True)

    def changed() -> list[Loop]:
        raise AttributeError("no max_epochs in this version")

    trainer.loops = changed  # type: ignore[method-assign]
    assert meter.around() == [Loop("fold", 0, 2)]
    assert "no max_epochs in this version" in capsys.readouterr().err
    meter.own(2)
    meter.step()
    reading = meter.read()
    assert reading is not None
    assert (reading.loops, reading.trainer) == ([Loop("fold", 0, 2)], False)
    assert reading.values["loss"] == 0.5


def test_a_trials_loss_is_followed_to_its_end_whatever_else_is_logged() -> None:
    meter = Meter()
    meter.listener = watch = Watch(meter)
    losses = iter(range(100, 0, -1))
    meter.sources["torch"] = lambda: {"loss": next(losses)}
    for step in range(100):
        meter.step()
        if step == 10:
            meter.log({"train_accuracy": 0.5})
    assert watch.outcome({}) == ("loss", pytest.approx(5.5, abs=1))
    meter.log({"eval_loss": 0.25})
    assert watch.outcome({}) == ("eval_loss", 0.25)


@pytest.mark.parametrize(
    ("epochs", "most", "done", "total", "loops"),
    [
        (3, -1, 25, 60, [Loop("epoch", 1, 3), Loop("batch", 5, 20)]),
        (3, -1, 60, 60, [Loop("epoch", 3, 3)]),
        (2.5, -1, 50, 50, [Loop("epoch", 2.5, 2.5)]),
        (3, 100, 25, 100, [Loop("step", 25, 100)]),
        (3, -1, 0, 0, []),
    ],
    ids=["within", "end", "part of an epoch", "steps", "unknown"],
)
def test_how_far_transformers_is(epochs: float, most: int, done: int, total: int, loops: list[Loop]) -> None:
    arguments = SimpleNamespace(num_train_epochs=epochs, max_steps=most, gradient_accumulation_steps=2)
    training = of_transformers._Training(arguments, SimpleNamespace(global_step=done, max_steps=total))
    assert training.loops() == loops
    assert training.parts == 2


@pytest.mark.parametrize(
    ("epochs", "steps", "batches", "loops"),
    [
        (3, -1, 20, [Loop("epoch", 1, 3), Loop("batch", 5, 20)]),
        (3, -1, math.inf, [Loop("epoch", 1, 3)]),
        (-1, 100, 20, [Loop("step", 25, 100)]),
        (3, 100, 20, [Loop("epoch", 1, 3), Loop("batch", 5, 20)]),
        (9, 100, 20, [Loop("step", 25, 100)]),
        (-1, -1, 20, []),
    ],
    ids=["epochs", "a stream", "steps", "epochs end first", "steps end first", "for ever"],
)
def test_how_far_lightning_is(epochs: int, steps: int, batches: float, loops: list[Loop]) -> None:
    trainer = SimpleNamespace(max_epochs=epochs, max_steps=steps, num_training_batches=batches, current_epoch=1,
                              global_step=25, accumulate_grad_batches=1)  # fmt: skip
    assert of_lightning._loops(trainer, 5) == loops


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


def test_a_trainers_own_count_goes_before_its_bars_while_it_trains() -> None:
    progress = Progress()
    bar = b'{"name": "stdout", "text": "Epoch 7/7 \\u2501\\u2501 3/23\\n"}'
    progress.add(Event("job", 1, "iopub", {"msg_type": "stream", "time": 99.0}, (b"{}", bar)))
    progress.add(told(steps=160, values={}, loops=[["epoch", 7, 8], ["batch", 3, 23]], trainer=True))
    assert progress.telemetry()["progress"]["total"] == 8
    progress.add(told(steps=184, values={}, loops=[["epoch", 8, 8]], trainer=True))
    assert progress.telemetry()["progress"]["total"] == 7  # what comes after training shows its own


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
