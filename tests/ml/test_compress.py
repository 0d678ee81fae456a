"""Real models, pruned, shared, packed and loaded: small, nearly as good, and bit for bit what they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lepton_jupyter import registry
from lepton_jupyter.errors import ConfigError
from lepton_jupyter.ml import frameworks, packed
from lepton_jupyter.ml.compressing import run
from lepton_jupyter.ml.compressors.distilling import Distilling
from lepton_jupyter.ml.compressors.pruning import Pruning, lamp
from lepton_jupyter.ml.compressors.quantizing import Quantizing
from lepton_jupyter.ml.compressors.sharing import Sharing
from lepton_jupyter.ml.compressors.structured import Structured

from .digits import DIGITS, MLP, PICTURES, TRAIN, loss, right, task


def kernels(model: nn.Module) -> list[np.ndarray[Any, Any]]:
    return [parameter.detach().numpy() for parameter in model.parameters() if parameter.ndim > 1]


def density(model: nn.Module) -> float:
    return sum(np.count_nonzero(each) for each in kernels(model)) / sum(each.size for each in kernels(model))


def test_prune_share_pack_load(model: nn.Module, tmp_path: Path) -> None:
    """The whole way, for each kind of model."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    steps = [Pruning(density=0.25, rounds=10), Sharing(bits=4, bias_bits=6, rounds=4)]
    report = run(model, steps, task(), evaluate=right, compiled=False, rounds=3)
    small = report.model
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert density(small) == pytest.approx(0.25, abs=0.001)
    assert all(len(np.unique(each[each != 0])) <= 16 for each in kernels(small))
    assert not any(np.signbit(each[each == 0]).any() for each in kernels(small))
    assert report.after.metric and report.before.metric
    assert report.before.metric.value > 0.85
    assert report.after.metric.value > report.before.metric.value - 0.04
    path = tmp_path / "model.lepton"
    size = packed.save(path, frameworks.of(small).state(small))
    assert report.after.sizes and report.before.sizes
    assert size == report.after.sizes.packed < report.before.sizes.memory / 10
    again = type(model)()
    frameworks.of(again).restore(again, packed.load(path).arrays)
    assert all(torch.equal(value, small.state_dict()[name]) for name, value in again.state_dict().items())
    assert (right(again) == right(small)).all()


def test_with_the_users_own_training(mlp: nn.Module) -> None:
    """Any function that trains the model it is given, with an optimizer we know nothing of."""
    calls: list[nn.Module] = []
    pictures, digits = torch.tensor(PICTURES[TRAIN]), torch.tensor(DIGITS[TRAIN])

    def train(model: nn.Module) -> None:
        calls.append(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        for batch in torch.randperm(len(pictures)).split(64):
            optimizer.zero_grad()
            loss(model, pictures[batch], digits[batch]).backward()
            optimizer.step()

    own = task(train=train, data=None, loss=None)
    small = Sharing(bits=3, rounds=2).compress(Pruning(density=0.15, rounds=6).compress(mlp, own), own)
    assert len(calls) == 8
    assert mlp not in calls
    assert density(small) == pytest.approx(0.15, abs=0.001)
    assert right(small).mean() > right(mlp).mean() - 0.04


def test_layers_are_pruned_alike_where_asked(mlp: nn.Module) -> None:
    small = Pruning(density=0.3, rounds=1, over="layer").compress(mlp, task())
    for each in kernels(small):
        assert np.count_nonzero(each) / each.size == pytest.approx(0.3, abs=0.01)


def test_only_what_is_named_is_pruned(mlp: nn.Module) -> None:
    small = Pruning(density=0.3, rounds=1, only=("b.weight",)).compress(mlp, task())
    found = {name: np.count_nonzero(value) / value.numel() for name, value in small.state_dict().items()}
    assert found["b.weight"] == pytest.approx(0.3, abs=0.01)
    assert found["a.weight"] > 0.9


def test_no_layer_dies_however_little_is_left(mlp: nn.Module) -> None:
    assert all(each.any() for each in kernels(Pruning(density=0.002, rounds=1).compress(mlp, task())))


def test_lamp_is_what_its_paper_says() -> None:
    weights = np.array([[1.0, -3.0], [2.0, 0.0]])
    assert lamp(weights) == pytest.approx(np.array([[1 / 14, 1.0], [4 / 13, 0.0]]))


def test_steps_count_while_the_density_falls(mlp: nn.Module) -> None:
    """Not at once: after a third of the time much more is left than at the end."""
    seen: list[float] = []
    spy = task(train=lambda model: (own(model), seen.append(density(model))), data=None, loss=None)

    def own(model: nn.Module) -> None:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for _ in range(10):
            loss(model, torch.tensor(PICTURES[:64]), torch.tensor(DIGITS[:64])).backward()
            optimizer.step()
            optimizer.zero_grad()

    Pruning(density=0.1, rounds=9).compress(mlp, spy)
    assert seen == sorted(seen, reverse=True)
    assert seen[2] > 0.15
    assert seen[-1] == pytest.approx(0.1, abs=0.001)


def test_narrowing_really_shrinks_tensors_and_work(cnn: nn.Module) -> None:
    small = Structured(keep=0.5, rounds=6).compress(cnn, task())
    assert small.a.weight.shape == (12, 1, 3, 3)
    assert small.b.weight.shape == (12, 12, 3, 3)
    assert small.norm.weight.shape == (12,)
    assert small.c.weight.shape == (10, 48)
    assert right(small).mean() > right(cnn).mean() - 0.05


@pytest.mark.parametrize(("kind", "share"), [("mlp", 0.5), ("cnn", 0.4), ("lstm", 0.4), ("transformer", 0.6)])
def test_most_kinds_of_models_can_be_narrowed(kind: str, share: float, request: pytest.FixtureRequest) -> None:
    """What all layers of a transformer add to keeps its width."""
    model = request.getfixturevalue(kind)
    small = Structured(keep=0.5, rounds=4).compress(model, task())
    counts = [sum(parameter.numel() for parameter in each.parameters()) for each in (model, small)]
    assert counts[1] < share * counts[0]
    assert right(small).mean() > right(model).mean() - 0.1


def test_where_nothing_can_be_narrowed_a_student_is_proposed(lstm: nn.Module) -> None:
    with pytest.raises(ConfigError, match=r"(?s)nothing .*student="):
        Structured(keep=0.5, rounds=0, fixed=("rows",)).compress(lstm, task())


def test_a_fixed_layer_keeps_its_width(mlp: nn.Module) -> None:
    small = Structured(keep=0.5, rounds=0, fixed=("a",)).compress(mlp, task())
    assert (small.a.out_features, small.b.out_features) == (100, 30)
    with pytest.raises(ConfigError, match="'a', 'b', 'c'"):
        Structured(fixed=("nobody",)).compress(mlp, task())


class Fixed(MLP):
    """Knows its width by heart."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(torch.relu(self.b(torch.relu(self.a(x.flatten(1))).view(-1, 100))))


def test_a_model_that_cant_be_narrowed_says_why() -> None:
    with pytest.raises(ConfigError, match=r"(?s)narrowed together.*fixed="):
        Structured(keep=0.5, rounds=0).compress(Fixed(), task())


def test_a_student_learns_from_its_teacher(mlp: nn.Module) -> None:
    """It follows the teacher even where the targets say nothing: alpha 1."""
    random = task(data=(PICTURES[TRAIN], np.random.default_rng(0).integers(10, size=1300)))
    student = Distilling(keep=0.4, rounds=10, alpha=1.0).compress(mlp, random)
    assert student.a.out_features == 40
    assert right(student).mean() > right(mlp).mean() - 0.05


def test_a_pruned_student_stays_pruned(mlp: nn.Module) -> None:
    student = Pruning(density=0.2, rounds=1).compress(mlp, task())
    taught = Distilling(student=student, rounds=2).compress(mlp, task())
    assert density(taught) == density(student)


def test_a_student_with_another_answer_is_refused(mlp: nn.Module) -> None:
    with pytest.raises(ConfigError, match="last layer"):
        Distilling(student=nn.Sequential(nn.Flatten(), nn.Linear(64, 9))).compress(mlp, task())


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_eight_bits_answer_like_thirty_two(kind: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(kind)
    fast = Quantizing(threads=1).compress(model, task())
    assert right(fast).mean() > right(model).mean() - 0.02
    assert len(fast.data) < 0.55 * sum(4 * parameter.numel() for parameter in model.parameters()) + 8000
    assert fast(PICTURES[:1]).shape == (1, 10)
    assert fast(PICTURES[:37]).shape == (37, 10)


class Branching(nn.Module):
    """Decides by a value."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.a(x.flatten(1)) if x.sum() > 0 else self.a(-x.flatten(1))


def test_a_model_that_cant_be_exported_says_at_which_line(capfd: pytest.CaptureFixture[str]) -> None:
    """And nothing else: PyTorch would print its graphs."""
    where = r"(?s)can't be exported.*at line \d+ of forward: return self\.a\(x\.flatten\(1\)\) if x\.sum.*torch\.where"
    with pytest.raises(ConfigError, match=where):
        Quantizing().compress(Branching(), task())
    assert capfd.readouterr().err == ""


def test_nothing_trains_after_quantizing(mlp: nn.Module) -> None:
    with pytest.raises(ConfigError, match="before quantizing"):
        run(mlp, [Quantizing(bits=32), Pruning()], task())


def _named(value: Any) -> str:
    """The id of a parameter: the same in every process, so without addresses."""
    if isinstance(value, dict):
        return "+".join(value)
    return value if isinstance(value, str) else type(value).__name__


@pytest.mark.parametrize(
    ("compressor", "given", "words"),
    [
        (Pruning(), {"data": None}, "train="),
        (Pruning(), {"loss": None}, "train="),
        (Pruning(), {"train": lambda model: None}, "no step"),
        (Pruning(), {"loss": lambda model, x, y: loss(model, x, y) * torch.nan}, "not a finite number"),
        (Distilling(), {"loss": None}, "data= and loss="),
        (Distilling(rounds=1), {"loss": lambda model, x, y: model.c.weight.sum()}, "did not call the model"),
        (Quantizing(), {"data": None}, "data="),
        (Structured(), {"data": None}, "data="),
    ],
    ids=_named,
)
def test_what_is_missing_is_asked_for(compressor: Any, given: dict[str, Any], words: str, mlp: nn.Module) -> None:
    with pytest.raises(ConfigError, match=words):
        compressor.compress(mlp, task(**given))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Pruning, {"density": 0}), (Pruning, {"density": 1.5}), (Pruning, {"rounds": 0}), (Sharing, {"bits": 9}),
        (Structured, {"keep": 0}), (Distilling, {"alpha": 2}), (Quantizing, {"bits": 3}),
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(kind: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        kind(**options)


def test_each_file_is_a_compressor_that_can_be_asked_for_by_name() -> None:
    assert {"distilling", "pruning", "quantizing", "semi_structured", "sharing", "structured"} <= set(
        registry.names("ml.compressors")
    )
    for name in registry.names("ml.compressors"):
        assert callable(registry.load("ml.compressors", name)().compress)


@pytest.mark.parametrize("steps", [[Pruning(rounds=1), Sharing(rounds=1)], [Distilling(rounds=1)]], ids=len)
def test_the_same_seed_gives_the_same_model(steps: list[Any], mlp: nn.Module) -> None:
    found = []
    for _ in range(2):
        model: nn.Module = mlp
        for step in steps:
            model = step.compress(model, task())
        found.append(packed.pack(frameworks.of(model).state(model)))
    assert found[0] == found[1]


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"torch\.nn\.Module"):
        Pruning().compress([1, 2], task())


def test_arrays_of_another_model_are_refused(mlp: nn.Module, cnn: nn.Module) -> None:
    with pytest.raises(ConfigError, match="another model"):
        frameworks.of(mlp).restore(mlp, frameworks.of(cnn).state(cnn))


def test_half_precision_comes_back_too() -> None:
    torch.manual_seed(0)
    model = nn.Linear(30, 20).bfloat16()
    found = packed.unpack(packed.pack(frameworks.of(model).state(model))).arrays
    again = nn.Linear(30, 20).bfloat16()
    frameworks.of(again).restore(again, found)
    assert torch.equal(again.weight, model.weight)
