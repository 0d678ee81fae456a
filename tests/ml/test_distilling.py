"""Students made from their teacher, narrower and shallower, and hints from the teacher's layers."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lepton_jupyter.errors import ConfigError
from lepton_jupyter.ml import frameworks
from lepton_jupyter.ml.compressors._base import train
from lepton_jupyter.ml.compressors._parts_base import parts, repeated, taken
from lepton_jupyter.ml.compressors._parts_torch import shallower, until
from lepton_jupyter.ml.compressors.distilling import Distilling
from lepton_jupyter.ml.frameworks.onnx import FRAMEWORK

from .digits import PICTURES, TEST, right, task

TWO = (PICTURES[:2],)


class Deep(nn.Module):
    """A transformer of several layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 24, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.answer = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.answer(self.encoder(self.embed(x)).flatten(2).mean(1))


@cache
def deep() -> Deep:
    torch.manual_seed(0)
    model = Deep()
    train(frameworks.of(model), model, task(), 6)
    return model


def features(model: nn.Module, layer: str) -> np.ndarray[Any, Any]:
    return frameworks.of(model).predict(until(model, layer), (PICTURES[TEST],))


def test_a_transformer_loses_every_other_layer() -> None:
    teacher = deep()
    student = Distilling(depth=0.5, keep=1.0, rounds=4).compress(teacher, task())
    assert len(student.encoder.layers) == student.encoder.num_layers == 2
    assert len(teacher.encoder.layers) == 4
    assert right(student).mean() > right(teacher).mean() - 0.05


def test_the_layers_that_stay_are_the_teachers() -> None:
    teacher = deep()
    student = shallower(teacher, 0.5, TWO)
    for mine, theirs in zip(
        student.encoder.layers, (teacher.encoder.layers[0], teacher.encoder.layers[3]), strict=True
    ):
        assert torch.equal(mine.linear1.weight, theirs.linear1.weight)
        assert mine.linear1.weight is not theirs.linear1.weight


def test_a_student_is_narrower_and_shallower_at_once() -> None:
    student = Distilling(depth=0.5, keep=0.5, rounds=1).compress(deep(), task())
    assert len(student.encoder.layers) == 2
    assert [layer.linear1.out_features for layer in student.encoder.layers] == [12, 12]


def test_blocks_of_several_modules_go_together() -> None:
    def block() -> list[nn.Module]:
        return [nn.Linear(20, 20), nn.BatchNorm1d(20), nn.ReLU()]

    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 20), *block(), *block(), *block(), nn.Linear(20, 10))
    student = shallower(model, 0.6, TWO)
    assert [type(each).__name__ for each in student] == [
        "Flatten", *["Linear", "Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d", "ReLU"], "Linear",
    ]  # fmt: skip
    assert torch.equal(student[5].weight, model[8].weight)
    assert frameworks.of(student).predict(student, TWO).shape == (2, 10)


@pytest.mark.parametrize(
    ("signs", "found"),
    [
        ("abbbc", (1, 3, 1)), ("abab", (0, 2, 2)), ("xabcabcabcy", (1, 3, 3)), ("abc", None), ("aabbbb", (2, 4, 1)),
        ("..a.a.a", (1, 3, 2)), ("....", None), ("", None),
    ],
)  # fmt: skip
def test_what_repeats_is_found(signs: str, found: tuple[int, int, int] | None) -> None:
    assert repeated([None if sign == "." else sign for sign in signs]) == found


@pytest.mark.parametrize(
    ("count", "share", "stay"), [(4, 0.5, [0, 3]), (6, 0.5, [0, 2, 5]), (5, 0.1, [0]), (3, 0.9, [0, 1, 2])]
)
def test_blocks_stay_evenly(count: int, share: float, stay: list[int]) -> None:
    assert taken(count, share) == stay


class ByHeart(nn.Module):
    """Knows the number of its blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(64, 64) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return self.blocks[2](self.blocks[1](self.blocks[0](x)))


@pytest.mark.parametrize("model", [ByHeart(), nn.Sequential(nn.Flatten(), nn.Linear(64, 10))], ids=["by heart", "none"])
def test_what_has_no_blocks_to_take_out_is_told(model: nn.Module) -> None:
    with pytest.raises(ConfigError, match=r"(?s)no blocks.*student="):
        Distilling(depth=0.5).compress(model, task())


def narrow() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 30), nn.ReLU(), nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 10))


def unexplained(student: nn.Module, teacher: nn.Module) -> float:
    """The share of what the teacher's layer says that no line through the student's tells, on pictures unseen."""
    mine, theirs = features(student, "3"), features(teacher, "b")
    mine = np.hstack([mine, np.ones((len(mine), 1))])
    return float((theirs - mine @ np.linalg.lstsq(mine, theirs, rcond=None)[0]).var() / theirs.var())


def test_hints_bring_a_layer_near_to_the_teachers(mlp: nn.Module) -> None:
    student = narrow()
    options = {"student": student, "rounds": 1, "alpha": 1.0}
    without = Distilling(**options).compress(mlp, task())
    hinted = Distilling(**options, hints=(("b", "3"),), hint_rounds=6).compress(mlp, task())
    assert list(hinted.state_dict()) == list(student.state_dict())
    assert unexplained(hinted, mlp) < 0.75 * unexplained(without, mlp)
    assert right(hinted).mean() > right(without).mean()


def test_hints_between_channels_need_no_other_adapter(cnn: nn.Module) -> None:
    student = nn.Sequential(
        nn.Unflatten(1, (1, 8)), nn.Conv2d(1, 6, 3, padding=1), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(24, 10)
    )
    taught = Distilling(student=student, rounds=1, hints=(("a", "1"),), hint_rounds=1).compress(cnn, task())
    assert not torch.equal(taught[1].weight, student[1].weight)
    assert not any(module.training for module in cnn.modules())


def test_a_student_made_here_has_the_teachers_layers_to_name(transformer: nn.Module) -> None:
    hinted = Distilling(keep=0.5, rounds=1, hints=(("layer", "layer"),), hint_rounds=1).compress(transformer, task())
    assert hinted.layer.linear1.out_features == 32


@pytest.mark.parametrize(
    ("hints", "words"),
    [
        ((("nobody", "1"),), "'a', 'b', 'c'"),
        ((("b", "nobody"),), "'1', '2', '3'"),
        ((("b", "0"),), None),
        ((("layer", "1"),), "adapter"),
    ],
)
def test_hints_that_do_not_fit_are_told(
    hints: tuple[tuple[str, str], ...], words: str | None, mlp: nn.Module, transformer: nn.Module
) -> None:
    teacher = transformer if hints[0][0] == "layer" else mlp
    way = Distilling(student=narrow(), rounds=1, hints=hints, hint_rounds=1)
    if words is None:
        assert way.compress(teacher, task()) is not None
    else:
        with pytest.raises(ConfigError, match=words):
            way.compress(teacher, task())


@pytest.mark.parametrize("options", [{"hints": ("ab",)}, {"depth": 0}, {"keep": 2}, {"hint_rounds": 0}], ids="+".join)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Distilling(**options)


def test_a_finished_model_is_no_teacher_of_layers() -> None:
    with pytest.raises(ConfigError, match="before quantizing"):
        parts(FRAMEWORK)
