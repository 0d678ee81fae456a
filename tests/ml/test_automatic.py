"""The automatic mode: the best within the tolerance, in the time that was given, the same again with the same seed."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from optuna.trial import FixedTrial
from torch import nn

from lepton_jupyter.errors import ConfigError
from lepton_jupyter.ml import _pipelines, compress, frameworks
from lepton_jupyter.ml._clock import Clock
from lepton_jupyter.ml._making import GivenUp, Maker
from lepton_jupyter.ml._pipelines import Pipeline
from lepton_jupyter.ml.automatic import Search
from lepton_jupyter.ml.measuring import Metric, Sizes
from lepton_jupyter.ml.pareto import Candidate, best, front
from lepton_jupyter.ml.report import CompressionReport, Figures

from .digits import DIGITS, PICTURES, right, task


def goods(row: Figures) -> tuple[float, float, float]:
    assert row.sizes and row.speed and row.metric
    return -row.sizes.zipped, row.speed, row.metric.value


def check(report: CompressionReport, tolerance: float = 0.01) -> None:
    """What every answer of the automatic mode must hold."""
    before, after = report.before, report.after
    assert before.metric and after.metric and before.sizes and after.sizes
    assert after.metric.value >= before.metric.value - tolerance
    assert after.sizes.zipped < before.sizes.zipped
    assert " → ".join(report.steps) in [row.name for row in report.pareto]
    for row in report.pareto:
        assert not any(all(np.array(goods(other)) >= goods(row)) for other in report.pareto if other is not row)
    assert {row.name for row in report.pareto} <= {each.name for each in report.tried}
    assert report.seconds > 0
    json.dumps(report.to_json(), allow_nan=False)
    assert report._repr_html_().count("<svg") == 2


def test_finds_something_smaller_and_as_good(cnn: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """Judged by the clock. It ends when all there is to try was tried, which is little here, long before the time."""
    few = {"FIRST": (), "KEEPS": (1.0, 0.75), "DENSITIES": (1.0,), "PALETTES": (0,), "RUNTIMES": {"torch": (0, 8)}}
    for name, values in few.items():
        monkeypatch.setattr(_pipelines, name, values)
    told = list[float]()
    before = {name: value.clone() for name, value in cnn.state_dict().items()}
    report = compress(cnn, data=(PICTURES, DIGITS), budget=110, progress=lambda share, words: told.append(share))
    check(report)
    assert report.judged == "accuracy"
    assert len(report.tried) == 3
    assert report.seconds < 110
    assert all(torch.equal(value, before[name]) for name, value in cnn.state_dict().items())
    assert told == sorted(told)
    assert told[-1] == 1


def test_the_same_seed_gives_the_same_answer(mlp: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """One guess of ours, and then as Optuna proposes it."""
    monkeypatch.setattr(_pipelines, "FIRST", ({"density": 1, "bits": 2},))
    reports = [
        compress(mlp, data=(PICTURES, DIGITS), trials=trials, budget=119, seed=seed, tolerance=0.05)
        for seed, trials in ((3, 4), (3, 4), (4, 2))
    ]
    check(reports[0], tolerance=0.05)
    tried = [[replace(each, seconds=0) for each in report.tried] for report in reports]
    assert tried[0] == tried[1]
    assert [each.name for each in tried[2]] != [each.name for each in tried[0][:2]]
    assert reports[0].steps == reports[1].steps
    assert (reports[0].judged, reports[0].chose) == ("accuracy", "accuracy that chose")
    assert reports[0].after.metric and reports[0].after.metric.samples == 180
    assert "accuracy that chose" in str(reports[0])
    states = [frameworks.of(report.model).state(report.model) for report in reports[:2]]
    assert all((array == states[1][name]).all() for name, array in states[0].items())


def test_no_round_of_training_begins_after_the_time(mlp: nn.Module) -> None:
    begun: list[float] = []

    def train(model: nn.Module) -> None:
        begun.append(time.monotonic())
        time.sleep(0.2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        model(torch.tensor(PICTURES[:64])).square().mean().backward()
        optimizer.step()

    start = time.monotonic()
    with pytest.raises(ConfigError, match="budget="):
        compress(mlp, train=train, evaluate=lambda model: 1.0 if model is mlp else 0.0, budget=1.5)
    assert len(begun) > 2
    assert begun[-1] < start + 1.5


@pytest.mark.parametrize("value", [0.5, float("nan")])
def test_where_nothing_is_good_enough_the_nearest_is_shown(value: float, mlp: nn.Module) -> None:
    words = "nothing was compressed.*nan" if np.isnan(value) else r"none stays within 0.01.*the nearest is .* with 0.5"
    with pytest.raises(ConfigError, match=f"(?s){words}"):
        compress(mlp, data=(PICTURES, DIGITS), evaluate=lambda model: 1.0 if model is mlp else value, trials=1)


def test_a_metric_that_is_no_number_is_refused_at_once(mlp: nn.Module) -> None:
    with pytest.raises(ConfigError, match="finite"):
        compress(mlp, data=(PICTURES, DIGITS), evaluate=lambda model: float("nan"))


def test_there_must_be_something_to_judge_by(mlp: nn.Module) -> None:
    with pytest.raises(ConfigError, match="evaluate="):
        compress(mlp)
    with pytest.raises(ConfigError, match="not a time"):
        compress(mlp, data=(PICTURES, DIGITS), budget="soon")
    with pytest.raises(ConfigError, match="before the model itself"):
        compress(mlp, data=(PICTURES, DIGITS), budget=1e-6)
    with pytest.raises(ConfigError, match="bits="):
        compress(mlp, data=(PICTURES, DIGITS), bits=8)


def test_a_student_that_cannot_learn_is_refused_at_once(mlp: nn.Module) -> None:
    narrow = nn.Sequential(nn.Flatten(), nn.Linear(64, 5))
    with pytest.raises(ConfigError, match=r"\(2, 5\), the model in \(2, 10\)"):
        compress(mlp, data=(PICTURES, DIGITS), student=narrow)
    with pytest.raises(ConfigError, match="data= and loss="):
        compress(mlp, evaluate=right, student=narrow)


@dataclass
class Pretended(Maker):
    """Makes nothing, and says at once how good it would be: the less is left, the worse."""

    fails: tuple[Any, ...] = ()
    takes: float = 0.0

    def make(self, pipeline: Pipeline, *, longer: bool = False) -> Candidate:
        self.clock.budget -= self.takes
        if pipeline.keep < 1 and "keep" in self.fails:
            raise GivenUp("it can't be narrowed", failed=("keep", pipeline.keep))
        if pipeline.runtime in self.fails:
            raise GivenUp("it can't be exported", failed=("runtime", pipeline.runtime))
        left = pipeline.keep * pipeline.density * (pipeline.bits or 8) / 8
        return Candidate(
            name=repr(pipeline),
            model=None,
            metric=Metric(value=self.base.value - 0.002 / left + 0.002),
            sizes=Sizes(parameters=1, nonzero=1, memory=1, disk=1, zipped=round(self.sizes.zipped * left), packed=0),
            speed=1 / pipeline.keep,
        )


def search(model: nn.Module, trials: int | None, **pretended: Any) -> Search:
    maker = Pretended(
        model=model, evaluate=right, task=task(), clock=Clock(100), tolerance=0.02, timed=False, **pretended
    )
    return Search(maker, trials=trials)


def test_proposals_learn_from_what_was_tried(mlp: nn.Module) -> None:
    """Down to a tenth of the size is within the tolerance, if it is reached by narrowing."""
    found = search(mlp, trials=60)
    chosen = found.run()
    assert chosen.gain(found._maker.sizes.zipped) > 4.5
    assert len({each.name for each in found.tried}) == 60
    assert chosen in found.front


@pytest.mark.parametrize(
    ("fails", "why"), [(("keep",), "it can't be narrowed"), (_pipelines.RUNTIMES["torch"][1:], "it can't be exported")]
)
def test_what_fails_twice_is_not_proposed_again(fails: tuple[Any, ...], why: str, mlp: nn.Module) -> None:
    found = search(mlp, trials=30, fails=fails)
    found.run()
    assert [each.why for each in found.tried].count(why) == 2
    assert len(found.tried) == 30


def test_a_runtime_that_fails_twice_leaves_the_others(mlp: nn.Module) -> None:
    found = search(mlp, trials=40, fails=(8,))
    assert found.run().name
    assert [each.why for each in found.tried].count("it can't be exported") == 2
    assert sum("runtime='weights'" in each.name for each in found.tried) > 1


def test_what_trains_nothing_is_tried_first_and_what_there_was_no_time_for_is_named(mlp: nn.Module) -> None:
    found = search(mlp, trials=None, takes=30)
    assert found.run() in found.front
    assert len(found.tried) == 4
    assert not any(step in str(found.tried) for step in ("density=0", "keep=0", "bits=6"))
    assert found.untried[:2] == [
        "Pruning(density=0.5, rounds=3) → Sharing(bits=5, rounds=1)",
        "Structured(rounds=2) → Quantizing()",
    ]
    assert search(mlp, trials=2).untried == []


def test_every_pipeline_can_be_named_and_every_first_guess_is_one() -> None:
    for framework, runtimes in _pipelines.RUNTIMES.items():
        for trains in (True, False):
            able = _pipelines.able(framework, trains, student=False)
            guesses = [Pipeline.suggested(FixedTrial(guess), able) for guess in _pipelines.start(able)]
            assert len(set(guesses)) == len(guesses) > 2
            assert Pipeline() not in guesses
        for runtime in runtimes[1:]:
            assert len(Pipeline(runtime=runtime).steps(None, longer=False)) == 1
            assert _pipelines.COSTS[runtime] < 1


def candidate(name: str, zipped: int, speed: float, value: float) -> Candidate:
    sizes = Sizes(parameters=1, nonzero=1, memory=1, disk=1, zipped=zipped, packed=0)
    return Candidate(name=name, model=None, metric=Metric(value=value), sizes=sizes, speed=speed)


def test_the_front_is_what_nothing_beats() -> None:
    small, fast, good = candidate("small", 10, 1, 0.8), candidate("fast", 20, 4, 0.8), candidate("good", 90, 1, 0.9)
    beaten, same = candidate("beaten", 21, 4, 0.8), candidate("same", 10, 1, 0.8)
    assert [each.name for each in front([good, beaten, fast, small, same])] == ["small", "same", "fast", "good"]
    assert best([small, fast, good], 100) is fast
    assert best([], 100) is None
