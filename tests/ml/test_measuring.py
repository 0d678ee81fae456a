"""What the report says: measured figures, chance given its room, and no bad news left out."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lepton_jupyter.errors import ConfigError
from lepton_jupyter.ml.compressing import run
from lepton_jupyter.ml.compressors.pruning import Pruning
from lepton_jupyter.ml.compressors.sharing import Sharing
from lepton_jupyter.ml.measuring import Latency, Metric, Sizes, latencies, metric, sizes
from lepton_jupyter.ml.report import CompressionReport, Figures

from .digits import MLP, right, task


def test_sizes_are_those_of_real_files(mlp: nn.Module) -> None:
    found = sizes(mlp)
    count = sum(parameter.numel() for parameter in mlp.parameters())
    assert (found.parameters, found.memory) == (count, 4 * count)
    assert found.memory < found.disk < found.memory + 3000
    assert found.packed < found.zipped < found.disk


def test_each_array_is_told(mlp: nn.Module) -> None:
    report = run(mlp, [Pruning(density=0.2, rounds=1), Sharing(bits=2, rounds=0)], task(), compiled=False, rounds=1)
    rows = {row[0]: row for row in report.layers()[1:]}
    assert list(rows) == list(mlp.state_dict())
    assert rows["b.weight"][1] == "60×100"
    assert int(rows["b.weight"][2].replace(",", "")) < 6000
    assert rows["b.weight"][3] == "4"


def test_contenders_take_turns() -> None:
    turns: list[str] = []
    found = latencies({name: lambda name=name: turns.append(name) for name in "ab"}, batch=1, rounds=3, warm_up=2)
    assert turns == ["a", "b"] * 5
    assert (found["a"].rounds, found["a"].warm_up) == (3, 2)


def test_a_slower_call_measures_slower() -> None:
    found = latencies({"quick": lambda: None, "slow": lambda: time.sleep(0.01)}, batch=1, rounds=5)
    assert found["slow"].low >= 10 > found["quick"].median
    assert found["slow"].low <= found["slow"].median <= found["slow"].high


def test_right_or_wrong_gets_wilsons_interval() -> None:
    """The textbook's 8 of 10: 0.490 to 0.943."""
    found = metric(lambda model: [1] * 8 + [0] * 2, None)
    assert (found.value, found.samples) == (0.8, 10)
    assert found.low == pytest.approx(0.490, abs=0.001)
    assert found.high == pytest.approx(0.943, abs=0.001)


def test_other_scores_get_the_normal_interval() -> None:
    scores = np.random.default_rng(0).normal(5, 2, 400)
    found = metric(lambda model: scores, None)
    assert found.low == pytest.approx(found.value - 1.96 * scores.std(ddof=1) / 20, abs=0.001)


def test_one_number_has_no_interval() -> None:
    assert metric(lambda model: torch.tensor(0.5), None) == Metric(value=0.5)


@pytest.mark.parametrize("given", [float("nan"), [1.0, float("inf")], [], "good", None])
def test_a_metric_that_is_no_number_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match="finite"):
        metric(lambda model: given, None)


def test_the_report_of_a_pipeline(mlp: nn.Module) -> None:
    steps = [Pruning(density=0.2, rounds=2), Sharing(bits=3, rounds=1)]
    report = run(mlp, steps, task(), evaluate=right, compiled=False, rounds=3)
    text, html = str(report), report._repr_html_()
    for words in ("Pruning(density=0.2, rounds=2) → Sharing(bits=3, rounds=1)", "3 rounds after 5", "1 thread,"):
        assert words in text
        assert words in html
    before, after = report.before.sizes, report.after.sizes
    assert before and after
    assert f"{after.packed:,} B ({before.memory / after.packed:.1f}×)" in text
    assert [each.batch for each in report.after.latencies] == [1, 128]


def test_compiled_models_are_measured_beside(mlp: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda model: model)  # the real one takes long; benchmarks use it
    report = run(mlp, [], task(), rounds=3)
    assert [row.name for row in report.rows] == ["before", "compiled", "after"]
    assert [each.batch for each in report.rows[1].latencies] == [1, 128]


def test_a_compiler_that_fails_is_told(mlp: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(model: nn.Module) -> None:
        raise RuntimeError("no g++\nmore words")

    monkeypatch.setattr(torch, "compile", fail)
    report = run(mlp, [], task(), rounds=3)
    assert [row.name for row in report.rows] == ["before", "after"]
    assert "Not measured: compiled: RuntimeError: no g++" in str(report)


def figures(name: str, milliseconds: float, value: float) -> Figures:
    latency = Latency(
        batch=1, median=milliseconds, low=milliseconds, high=milliseconds, rounds=3, warm_up=1, threads=1
    )  # fmt: skip
    return Figures(
        name=name,
        sizes=Sizes(parameters=9, nonzero=9, memory=36, disk=40, zipped=30, packed=20),
        metric=Metric(value=value, low=value - 0.01, high=value + 0.01),
        latencies=[latency],
    )


def test_bad_news_is_told() -> None:
    rows = [figures("before", 1, 0.9), figures("after", 2, 0.8)]
    text = str(CompressionReport(model=None, rows=rows, steps=["Some<thing>"], seconds=1))
    assert "slower than before at batch 1" in text
    assert "lower than before by more than chance" in text
    rows = [figures("before", 2, 0.9), figures("after", 1, 0.895)]
    good = CompressionReport(model=None, rows=rows, steps=["Some<thing>"], seconds=1)
    assert "slower" not in str(good)
    assert "lower than before, which may be chance" in str(good)
    assert "Some&lt;thing&gt;" in good._repr_html_()


def test_what_is_measured_is_not_changed() -> None:
    torch.manual_seed(0)
    model = MLP().train()
    model.b.eval()  # as one freezes a layer
    state = {name: value.clone() for name, value in model.state_dict().items()}
    run(model, [], task(), evaluate=right, compiled=False, rounds=2)
    assert [module.training for module in (model, model.a, model.b)] == [True, True, False]
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
