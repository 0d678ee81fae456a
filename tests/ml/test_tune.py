"""Trials of a cell, the study that remembers them, and what is shown of it; without a kernel."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lepton_jupyter.errors import ConfigError, MissingDependency
from lepton_jupyter.ml.metrics import Meter
from lepton_jupyter.ml.tune.result import Result
from lepton_jupyter.ml.tune.runner import InTurn
from lepton_jupyter.ml.tune.space import Choice, Range, Space
from lepton_jupyter.ml.tune.study import Plan, Study, Tried, space_of
from lepton_jupyter.ml.tune.trials import Cell, NoMetric
from lepton_jupyter.ml.tune.watching import Trace, Watch

SPACE: Space = {"x": Range(-2.0, 2.0), "kind": Choice(("a", "b"))}
FIRST = {"x": 1.5, "kind": "b"}
CELL = "x = 1.5\nkind = 'b'\nscore = (x - 0.5) ** 2 + (kind == 'b')"


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Any]:
    """Opens studies in one folder."""
    studies: list[Study] = []

    def make(name: str = "study", **plan: Any) -> Study:
        plan = {"space": SPACE, "first": FIRST, "trials": 8, **plan}
        studies.append(Study(str(tmp_path / "studies"), name, Plan(**plan)))
        return studies[-1]

    yield make
    for study in studies:
        study.close()


def cell_of(tmp_path: Path, code: str = CELL, metric: str = "score", **options: Any) -> Cell:
    names = options.pop("names", {"__name__": "__main__"})
    folder = str(tmp_path / "trials")
    return Cell(
        code=code, namespace=names, meter=options.pop("meter", Meter()), folder=folder, metric=metric, **options
    )


def trials(study: Study, cell: Cell, runner: InTurn | None = None) -> list[Tried]:
    found: list[Tried] = []
    study.begin("run")
    with cell.ready():
        (runner or InTurn()).run(study, cell.run, found.append)
    return found


def test_a_study_begins_with_the_cells_own_values_and_gets_better(opened: Any, tmp_path: Path) -> None:
    study = opened(trials=25)
    found = trials(study, cell_of(tmp_path))
    assert found[0].params == FIRST
    assert found[0].value == 2.0
    assert len(found) == 25
    best = study.best()
    assert best.params["kind"] == "a"
    assert best.value < 0.1
    shares = study.importance()
    assert shares.keys() == {"x", "kind"}
    assert sum(shares.values()) == pytest.approx(1)


def test_it_goes_on_by_its_name_with_what_it_knows(opened: Any, tmp_path: Path) -> None:
    first = trials(opened(trials=4), cell_of(tmp_path))
    again = opened(trials=7)
    rest = trials(again, cell_of(tmp_path))
    assert len(rest) == 3
    assert [each.params for each in again.tried()] == [each.params for each in [*first, *rest]]
    assert len({str(each.params) for each in again.tried()}) == 7
    assert space_of(str(tmp_path / "studies"), "study") == SPACE
    with pytest.raises(ConfigError, match="has another direction: minimize, not maximize"):
        opened(maximize=True)
    with pytest.raises(ConfigError, match="has another metric: val_loss, or loss, not score"):
        opened(metric="score")
    with pytest.raises(ConfigError, match=r"has another space: x=-2\.\.2  kind=a\|b, not y=0\.\.1"):
        opened(space={"y": Range(0, 1)})


def test_a_grid_is_tried_whole(opened: Any, tmp_path: Path) -> None:
    study = opened(space={"x": Range(0, 2), "kind": Choice(("a", "b"))}, sampler="grid", trials=20)
    found = trials(study, cell_of(tmp_path))
    assert sorted((each.params["x"], each.params["kind"]) for each in found) == [
        (x, kind) for x in range(3) for kind in ("a", "b")
    ]
    with pytest.raises(ConfigError, match="3,125 points"):
        opened("other", space={name: Range(0.0, 1.0) for name in "vwxyz"}, sampler="grid").begin("run")


def test_random_values_and_cma_es(opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(trials(opened(sampler="random"), cell_of(tmp_path))) == 8
    with pytest.raises(ConfigError, match="needs a range"):
        opened("other", space={"kind": Choice(("a", "b"))}, sampler="cmaes")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match="needs the package cmaes"):
        opened("third", sampler="cmaes")


KILLED = """
import sys
from lepton_jupyter.ml.tune.space import Range
from lepton_jupyter.ml.tune.study import Plan, Study, Tried
study = Study(sys.argv[1], "study", Plan(space={"x": Range(0.0, 1.0)}, trials=5))
study.begin("run")
for number in range(2):
    trial = study.next()
    study.tell(trial, Tried(number=trial.number, params=trial.params, state="complete", value=trial.params["x"]))
trial = study.next()
print(trial.params["x"], flush=True)
sys.stdin.read()
"""


def test_a_trial_of_a_killed_process_is_tried_again(tmp_path: Path) -> None:
    folder = str(tmp_path)
    command = [sys.executable, "-c", KILLED, folder]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lost = float(process.stdout.readline())
    plan = Plan(space={"x": Range(0.0, 1.0)}, trials=5)
    beside = Study(folder, "study", plan)
    beside.begin("run")
    assert beside.others_run()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not beside.others_run()
    beside.close()
    with open(os.path.join(folder, "study", "journal"), "ab") as file:
        file.write(b'{"op_code":')  # half a line, as a kill may leave it
    study = Study(folder, "study", plan)
    assert study.begin("again") == 2
    found = trials(study, cell_of(tmp_path, "x = 0.5\nscore = x"))
    assert len(found) == 3
    assert found[0].params == {"x": lost}
    assert [each.state for each in study.tried()] == ["complete"] * 5
    study.close()


def test_trials_leave_nothing_behind_but_their_files(opened: Any, tmp_path: Path) -> None:
    kept, seen = [1], {"n": 0}
    names: dict[str, Any] = {"__name__": "__main__", "kept": kept, "score_of": None, "seen": seen}
    exec("def grown():\n    return x + len(kept)", names)  # a function of an earlier cell sees a trial's names
    code = (
        "import pathlib, random\nassert 'left' not in globals() and kept == [1]\nx = 1.5\nkind = 'b'\nleft = 1\n"
        "kept.append(2)\nseen['n'] += 1\npathlib.Path('out.txt').write_text(str(x))\nscore = grown() + random.random()"
    )
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "data.txt").write_text("given")
    state, here = random.getstate(), os.getcwd()
    os.chdir(tmp_path / "home")
    try:
        found = trials(opened(trials=3), cell_of(tmp_path, code, names=names, keep=("left",)))
    finally:
        os.chdir(here)
    assert [each.error for each in found] == ["", "", ""]
    drawn = {round(each.value - each.params["x"], 9) for each in found if each.value is not None}
    assert len(drawn) == 1  # each begins with the same random numbers
    assert random.getstate() == state
    assert kept == [1]
    assert seen == {"n": 0}
    assert "left" not in names
    assert "x" not in names
    assert (tmp_path / "trials" / "trial-0" / "out.txt").read_text() == "1.5"
    assert (tmp_path / "trials" / "trial-0" / "data.txt").read_text() == "given"
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["data.txt"]


def test_a_failing_trial_does_not_end_a_study(opened: Any, tmp_path: Path) -> None:
    code = CELL + "\nif kind == 'a':\n    raise KeyError('no')\nif x > 1:\n    score = float('nan')"
    study = opened(trials=12)
    found = trials(study, cell_of(tmp_path, code))
    assert found[0].error == "score is not finite"
    assert {each.error for each in found} == {"", "score is not finite", "KeyError: 'no'"}
    assert study.best() is not None
    broken = next(each for each in found if "KeyError" in each.error)
    assert "line 5, in <module>" in broken.traceback
    assert "trials.py" not in broken.traceback


def test_a_cell_that_always_fails_ends_it_early(opened: Any, tmp_path: Path) -> None:
    cell = cell_of(tmp_path, CELL + "\n1 / 0")
    with pytest.raises(ConfigError, match=r"all 3 trials failed, each with ZeroDivisionError: division by zero"):
        trials(opened(trials=50), cell)
    assert isinstance(cell.raised, ZeroDivisionError)


def test_a_metric_that_never_comes_is_said_with_what_did(opened: Any, tmp_path: Path) -> None:
    meter = Meter()
    cell = cell_of(tmp_path, "x = 1.5\nkind = 'b'\nscore = 'a'\nlog({'acc': x})", meter=meter)
    cell.namespace["log"] = meter.log
    with pytest.raises(NoMetric, match=r"never told the metric 'score', and its variable score is a str.* It told acc"):
        trials(opened(), cell)
    usual = cell_of(tmp_path, "x = 1.5\nkind = 'b'", metric="")
    with pytest.raises(NoMetric, match=r"neither val_loss nor loss") as caught:
        trials(opened("other"), usual)
    assert "lepton.log(val_loss=…)" in caught.value.hint


def test_what_is_logged_prunes_trials_that_are_behind(opened: Any, tmp_path: Path) -> None:
    meter = Meter()
    code = "x = 1.5\nkind = 'b'\nfor turn in range(9):\n    log({'loss': abs(x) + 1 / (turn + 1)})"
    cell = cell_of(tmp_path, code, metric="", meter=meter)
    cell.namespace["log"] = meter.log
    study = opened(trials=15, pruner="asha")
    study.begin("run")
    with cell.ready():
        InTurn().run(study, cell.run, lambda each: None)
    found = study.tried()
    pruned = [each for each in found if each.state == "pruned"]
    assert pruned
    assert all(len(each.reports) < 9 and each.value is None for each in pruned)
    best = study.best()
    assert best.value == pytest.approx(abs(best.params["x"]) + 1 / 9)
    assert best.metric == "loss"


def test_it_stops_when_asked_and_when_time_is_up(opened: Any, tmp_path: Path) -> None:
    runner = InTurn()
    study, cell = opened(), cell_of(tmp_path)
    study.begin("run")

    def told(each: Tried) -> None:
        runner.stopping = each.number == 1

    with cell.ready():
        runner.run(study, cell.run, told)
    assert len(study.tried()) == 2
    assert study.next() is None  # nor does any other kernel go on
    study.begin("again")
    assert study.next() is not None
    late = opened("late")
    assert trials(late, cell, InTurn(seconds=0)) == []


def test_a_trial_that_is_interrupted_is_tried_again(opened: Any, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    stop = f"if x != 1.5 and not pathlib.Path({str(mark)!r}).exists():\n    raise KeyboardInterrupt"
    code = f"import pathlib\n{CELL}\n{stop}"
    runner, study, cell = InTurn(), opened(trials=3), cell_of(tmp_path, code)
    assert len(trials(study, cell, runner)) == 1
    assert runner.interrupted
    assert study.stopped
    mark.touch()
    dropped = study._study.trials[1].params
    assert trials(study, cell)[0].params == dropped
    assert [each.state for each in study.tried()] == ["complete"] * 3


def test_losses_of_steps_are_kept_in_little() -> None:
    trace = Trace()
    for number in range(10_000):
        trace.add(float(number))
    assert len(trace.counts) <= 64
    assert sum(trace.counts) == 10_000
    assert trace.mean(1.0) == pytest.approx(4999.5)
    assert trace.mean(0.1) == pytest.approx(9499.5, rel=0.02)
    assert Trace().mean() is None


def test_a_watch_takes_the_logged_before_the_seen_before_a_variable() -> None:
    meter = Meter()
    watch = Watch(meter, "acc")
    assert watch.outcome({"acc": 0.25}) == ("acc", 0.25)
    assert watch.outcome({"acc": [1]}) is None
    meter.sources["keras"] = lambda: {"acc": 0.5, "model": object()}
    watch.ended_epoch()
    assert watch.outcome({"acc": 0.25}) == ("acc", 0.5)
    watch.logged({"acc": None})
    assert watch.outcome({"acc": 0.25}) == ("acc", None)


def test_the_result_is_a_table_and_pictures_that_need_no_script(opened: Any, tmp_path: Path) -> None:
    study = opened("a<b", trials=14)
    code = CELL + "\nif x < -1.5:\n    raise ValueError('<b>')"
    trials(study, cell_of(tmp_path, code))
    result = Result.of(study, ["A note."])
    best = study.best()
    assert result.table()[1][0] == str(best.number + 1)
    first = result.rows()[0]
    assert first.pop("seconds") >= 0
    assert first == {"trial": 1, "score": 2.0, **FIRST, "state": "complete", "error": ""}
    page = result._repr_html_()
    pictures = [f"<svg{part.partition('</svg>')[0]}</svg>" for part in page.split("<svg")[1:]]
    assert len(pictures) == 3
    for picture in pictures:
        ET.fromstring(picture)
    assert "<script" not in page
    assert "<b>" not in page
    assert "A note." in page
    assert f"the best score is {best.value:.5g}" in str(result)
    assert result.to_json()["best"] == {"value": best.value, "params": dict(best.params)}


def test_a_result_without_any_end_has_no_pictures() -> None:
    lost = Tried(number=0, params={"x": 1.0}, state="failed", error="no")
    result = Result(study="s", metric="m", maximize=False, space=SPACE, trials=[lost], best=None)
    assert "<svg" not in result._repr_html_()
    assert "1 failed" in str(result)
