"""What users give to compress(): data in any usual form, no loss, no metric, names of methods, their own evaluate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from lepton_jupyter.errors import ConfigError
from lepton_jupyter.ml import compress, defaults, examples, frameworks, methods
from lepton_jupyter.ml._clock import seconds
from lepton_jupyter.ml._judging import Judging, judging
from lepton_jupyter.ml.answering import InKind, in_kind
from lepton_jupyter.ml.compressors.distilling import Distilling
from lepton_jupyter.ml.compressors.pruning import Pruning
from lepton_jupyter.ml.compressors.quantizing import Quantizing
from lepton_jupyter.ml.compressors.sharing import Sharing
from lepton_jupyter.ml.compressors.structured import Structured
from lepton_jupyter.ml.frameworks.onnx import OnnxModel

from .digits import DIGITS, PICTURES, TEST, task

X, Y = torch.tensor(PICTURES[:50]), torch.tensor(DIGITS[:50])


@pytest.fixture(autouse=True)
def nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real compiler takes long; benchmarks use it."""
    monkeypatch.setattr(torch, "compile", lambda model: model)


class One(Dataset[Any]):
    """Examples one by one, the target an ordinary number."""

    def __len__(self) -> int:
        return 50

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return X[index], int(Y[index])


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield from ((X[index % 50], int(Y[index % 50])) for index in range(10**9))


def test_all_usual_forms_of_data_are_the_same_arrays() -> None:
    forms = [
        (PICTURES[:50], DIGITS[:50]),
        [X.double(), Y.int()],
        (X.tolist(), Y.tolist()),
        TensorDataset(X, Y),
        One(),
        DataLoader(One(), batch_size=16),
        DataLoader(TensorDataset(X, Y), batch_size=None),
    ]
    for form in forms:
        inputs, targets = examples.arrays(form)
        assert (inputs.dtype, targets.dtype) == (np.float32, np.int64)
        assert (inputs == PICTURES[:50]).all()
        assert (targets == DIGITS[:50]).all()


def test_data_that_is_shuffled_comes_in_the_seeds_order() -> None:
    loader = DataLoader(TensorDataset(X, Y), batch_size=7, shuffle=True)
    first, second, other = (examples.arrays(loader, seed)[1] for seed in (1, 1, 2))
    assert (first == second).all()
    assert (first != other).any()
    assert sorted(first) == sorted(DIGITS[:50])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (PICTURES, "ndarray"),
        ((PICTURES,), "no targets"),
        ((PICTURES, DIGITS[:5]), "different lengths: 1797, 5"),
        ((PICTURES[:3], DIGITS[:3]), "too few"),
        ((["a"] * 20, [1] * 20), "not numbers"),
        (([[1], [1, 2]] * 10, [1] * 20), "one shape"),
        (DataLoader([{"x": X[0], "y": Y[0]}] * 20, batch_size=4), r"have names \(x, y\)"),
    ],
    ids=["array", "alone", "lengths", "few", "words", "ragged", "names"],
)
def test_what_is_no_data_says_what_is(data: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        examples.arrays(data)


def test_data_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "LIMIT", 100_000)
    with pytest.raises(ConfigError, match="take"):
        examples.arrays(Endless())


def test_a_fifth_is_held_out_and_nothing_is_lost() -> None:
    kept, held = examples.split((np.arange(103), np.arange(103) + 1000), seed=5)
    assert (len(kept[0]), len(held[0])) == (83, 20)
    assert sorted([*kept[0], *held[0]]) == list(range(103))
    assert (held[1] == held[0] + 1000).all()


NUMBERS = (np.arange(1797), np.arange(1797))


def judged(monkeypatch: pytest.MonkeyPatch, parts: Any = NUMBERS, **given: Any) -> tuple[Judging, Any]:
    """Metrics that are the examples they judge on, and what is left of `parts`."""
    monkeypatch.setattr(defaults, "metric", lambda means, data: data[0].tolist())
    monkeypatch.setattr(defaults, "answers", lambda model, data: defaults.Answers(what="classes"))
    means = defaults.Answers(what="classes")
    return judging(None, parts, means, **({"evaluate": None, "test": None, "seed": 0, "choosing": True} | given))


def test_what_is_reported_has_neither_trained_nor_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    found, left = judged(monkeypatch)
    chose, reported = found.chooses, found.reports
    assert isinstance(chose, list) and isinstance(reported, list)
    assert (len(left[0]), len(chose), len(reported)) == (1438, 179, 180)
    assert sorted([*left[0], *chose, *reported]) == NUMBERS[0].tolist()
    assert "Of 1797 examples 1438 trained and 179 chose; the accuracy is that on the other 180." in found.notes
    assert judged(monkeypatch)[0] == found


def test_a_test_is_only_reported_by(monkeypatch: pytest.MonkeyPatch) -> None:
    test = (np.arange(5000, 5100), np.arange(100))
    found, left = judged(monkeypatch, test=test)
    assert (len(left[0]), len(found.chooses or ()), found.reports) == (1438, 359, test[0].tolist())  # type: ignore[arg-type]
    assert "100 examples of test=" in found.notes[0]
    found, left = judged(monkeypatch, test=test, choosing=False)
    assert (found.reports, len(left[0])) == (test[0].tolist(), 1797)
    found, left = judged(monkeypatch, test=lambda model: 0.75, evaluate=lambda model: 0.5)
    assert found.chooses and found.reports and left is NUMBERS
    assert (found.chooses(None), found.reports(None)) == (0.5, 0.75)
    with pytest.raises(ConfigError, match="one of the two"):
        judged(monkeypatch, test=test, evaluate=lambda model: 0.5, choosing=False)


def test_where_the_same_examples_chose_and_judged_the_report_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    few = (np.arange(990), np.arange(990))
    for found, _ in (judged(monkeypatch, parts=few), judged(monkeypatch, evaluate=lambda model: 0.5)):
        assert found.chooses is found.reports
        assert "also chose" in found.notes[0] and "test=" in found.notes[0]
    found, _ = judged(monkeypatch, choosing=False)  # then there is nothing to flatter
    assert found.notes == ("The accuracy is that on 359 examples that were held out.",)


def trained_by_default(model: nn.Module, data: tuple[Any, ...]) -> tuple[defaults.Answers, float, float]:
    """What the answers mean, and the metric before and after 60 steps down the usual loss."""
    torch.manual_seed(0)
    means = defaults.answers(model, data)
    loss, judge = defaults.loss(frameworks.of(model), model, means), defaults.metric(means, data)
    assert loss is not None
    before = judge(model)
    step = frameworks.of(model).trainer(model, loss)
    for _ in range(60):
        step(0.01, data)
    assert len(before) == len(data[0])
    return means, float(before.mean()), float(judge(model).mean())


@pytest.mark.parametrize(
    ("model", "targets", "what", "sure"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), DIGITS, "classes", False),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Softmax(-1)), DIGITS[:, None], "classes", True),
        (nn.Sequential(nn.Linear(8, 2)), (PICTURES.mean(2) > 0.3).astype(int), "classes", False),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 1)), (DIGITS > 4).astype(int), "yes or no", False),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 1), nn.Sigmoid()), DIGITS > 4, "yes or no", True),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 1)), DIGITS / 10, "numbers", False),
        (nn.Sequential(nn.Conv1d(8, 3, 1)), np.argmax(PICTURES[:, :3], 1), "classes", False),
    ],
    ids=["logits", "probabilities", "each row", "logit", "probability", "numbers", "channels first"],
)
def test_loss_and_metric_are_found(model: nn.Module, targets: Any, what: str, sure: bool) -> None:
    means, before, after = trained_by_default(model, examples.arrays((PICTURES, targets)))
    assert (means.what, means.probabilities) == (what, sure)
    assert after > before
    assert after > (0.6 if what != "numbers" else -0.1)


def test_answers_that_fit_no_target_ask_for_a_loss(mlp: nn.Module) -> None:
    with pytest.raises(ConfigError, match=r"(?s)\(256, 10\).*loss="):
        defaults.answers(mlp, examples.arrays((PICTURES, PICTURES)))


def test_inputs_that_the_model_does_not_take_are_named(mlp: nn.Module) -> None:
    data = (PICTURES[:, :4], DIGITS)
    with pytest.raises(ConfigError, match=r"does not take inputs of the shape \(256, 4, 8\) \(float32\)"):
        compress(mlp, data=data)
    with pytest.raises(ConfigError, match="test=: the model does not take"):
        compress(mlp, data=(PICTURES, DIGITS), test=data)


def accuracy(model: Any) -> float:
    """As a user writes it for a Module."""
    model.eval()
    with torch.no_grad():
        answers = model(torch.tensor(PICTURES[TEST]).to("cpu"))
    return float((answers.argmax(1) == torch.tensor(DIGITS[TEST])).float().mean())


def test_the_users_own_metric_takes_a_model_that_left_the_framework(mlp: nn.Module) -> None:
    report = compress(mlp, methods="quantize", data=(PICTURES, DIGITS), evaluate=accuracy)
    assert isinstance(report.model, OnnxModel)
    assert report.before.metric and report.after.metric
    assert report.after.metric.value == accuracy(InKind(report.model)) > report.before.metric.value - 0.02
    answer = InKind(report.model).predict(PICTURES[:40], verbose=0)
    assert answer.shape == (40, 10)
    with pytest.raises(ConfigError, match=r"model\.layers"):
        in_kind(lambda model: len(model.layers))(report.model)


def test_methods_by_name_take_their_options(mlp: nn.Module) -> None:
    assert methods.steps("prune", sparsity=0.75) == [Pruning(density=0.25)]
    assert methods.steps(["structured", "quantize"], sparsity=0.5, bits=32) == [
        Structured(keep=0.5), Quantizing(bits=32),
    ]  # fmt: skip
    assert methods.steps(["structured", "prune", "share"], sparsity=0.75, bits=3) == [
        Structured(), Pruning(density=0.25), Sharing(bits=3),
    ]  # fmt: skip
    assert methods.steps("prune(density=0.2, over='layer'), share,quantize", bits=32) == [
        Pruning(density=0.2, over="layer"), Sharing(), Quantizing(bits=32),
    ]  # fmt: skip
    assert methods.steps("distill(hints=(('a', 'b'),), keep=0.75)") == [Distilling(hints=(("a", "b"),), keep=0.75)]
    assert methods.steps(["distill", Sharing(bits=2)], student=mlp) == [Distilling(student=mlp), Sharing(bits=2)]
    assert methods.words([Pruning(density=0.25), Sharing()]) == "Pruning(density=0.25) → Sharing()"


@pytest.mark.parametrize(
    ("names", "options", "words"),
    [
        ("shrink", {}, "'shrink'.*prune, share"), ([], {}, "no method"), ("prune", {"bits": 4}, "quantize and share"),
        ("prune", {"sparsity": 1.0}, "leaves nothing"), ("share", {"student": 1}, '"distill"'),
        ("prune(depth=2)", {}, "no option depth.*density"), ("prune(0.5)", {}, "in brackets"),
        ("prune(density=x)", {}, "in brackets"), ("prune(", {}, "in brackets"), ("prune(density='a')", {}, "Pruning"),
    ],
)  # fmt: skip
def test_methods_that_do_not_fit_say_why(names: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){words}"):
        methods.steps(names, **options)


def test_budgets_are_times() -> None:
    assert [seconds(each) for each in (7, "90s", "5m", "1h30m", "0.5 m")] == [7, 90, 300, 5400, 30]
    for wrong in ("5", "m", "1d", -1, 0, float("inf")):
        with pytest.raises(ConfigError, match="90s"):
            seconds(wrong)


def test_without_data_there_is_still_quantizing(mlp: nn.Module) -> None:
    report = compress(mlp, methods="quantize", inputs=PICTURES[:64])
    assert report.after.metric is None
    assert [each.batch for each in report.after.latencies] == [1, 128]
    with pytest.raises(ConfigError, match="loss="):
        compress(mlp, methods="prune", inputs=PICTURES[:64])


def test_pruning_by_name_is_trained_by_default(mlp: nn.Module) -> None:
    report = compress(mlp, methods=("prune",), data=(PICTURES, DIGITS), sparsity=0.5)
    assert report.after.metric and report.before.metric and report.after.sizes
    assert report.after.metric.value > report.before.metric.value - 0.03
    assert report.after.sizes.nonzero < 0.52 * report.after.sizes.parameters
    assert task().data is not None
