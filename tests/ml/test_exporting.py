"""Files that run elsewhere: loaded again they answer as the model does, and hold nothing but the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lepton_jupyter.errors import ConfigError
from lepton_jupyter.ml import frameworks
from lepton_jupyter.ml.compressors import Task
from lepton_jupyter.ml.compressors.half import Half
from lepton_jupyter.ml.exporting import export
from lepton_jupyter.ml.frameworks.onnx import OnnxModel

from .digits import PICTURES, TRAIN


def dense(model: nn.Module) -> int:
    return sum(4 * parameter.numel() for parameter in model.parameters())


def test_each_format_answers_as_the_model(model: nn.Module, tmp_path: Path) -> None:
    """A whole training set is given to check with: nothing of it stays behind."""
    state = {name: value.clone() for name, value in model.state_dict().items()}
    found = export(model, tmp_path, inputs=(PICTURES[TRAIN],))
    assert [each.format for each in found] == ["onnx", "pt2", "safetensors"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.pt2", "model.safetensors"]
    for each in found:
        assert each.agrees < 1e-4
        assert each.latency.median > 0
        assert each.bytes == each.path.stat().st_size < dense(model) + 70_000 < PICTURES[TRAIN].nbytes
        assert b"digits.py" not in each.path.read_bytes()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_a_part_of_something_larger_does_not_bring_it_along(mlp: nn.Module, tmp_path: Path) -> None:
    model = frameworks.of(mlp).copy(mlp)
    model.c.weight.data = torch.zeros(3_000_000)[:600].view(10, 60)
    (found,) = export(model, tmp_path / "small.pt2", inputs=(PICTURES[:300],))
    assert found.path == tmp_path / "small.pt2"
    assert found.bytes < 100_000


def test_half_precision_can_be_stored(mlp: nn.Module, tmp_path: Path) -> None:
    (found,) = export(Half().compress(mlp, Task()), tmp_path, "safetensors", inputs=(PICTURES[:30],))
    assert found.bytes < 0.55 * dense(mlp)


def test_an_onnx_model_is_a_file_already(mlp: nn.Module, tmp_path: Path) -> None:
    (found,) = export(mlp, tmp_path / "one.onnx", inputs=(PICTURES[:30],))
    (again,) = export(OnnxModel(found.path.read_bytes()), tmp_path / "two.onnx", inputs=(PICTURES[:30],))
    assert again.path.read_bytes() == found.path.read_bytes()


class Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.a(x.flatten(1)) + torch.rand(10)


def test_what_answers_otherwise_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="random numbers"):
        export(Noisy(), tmp_path, "pt2", inputs=(PICTURES[:30],))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("formats", ["litert", "keras", "h5"])
def test_a_format_that_is_not_there_names_those_that_are(formats: str, mlp: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="onnx, pt2, safetensors"):
        export(mlp, tmp_path, formats, inputs=(PICTURES[:30],))


def test_two_formats_are_not_one_file(mlp: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="folder"):
        export(mlp, tmp_path / "model.onnx", ("onnx", "pt2"), inputs=(PICTURES[:30],))
    with pytest.raises(ConfigError, match="inputs="):
        export(mlp, tmp_path, "onnx", inputs=(np.zeros((0, 8, 8), np.float32),))
