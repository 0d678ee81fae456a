"""2:4: of each four in a row along the inputs, two at most are left, and the model still answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from lepton_jupyter.errors import ConfigError
from lepton_jupyter.ml.compressors.pruning import Pruning
from lepton_jupyter.ml.compressors.semi_structured import SemiStructured, two_of_four

from .digits import DIGITS, PICTURES, loss, right, task


def most_of_four(weight: torch.Tensor) -> int:
    """How many of four in a row along the inputs are not zero, at most."""
    rows = weight.detach().movedim(1, -1).flatten(0, -2).numpy()
    return max(int(np.count_nonzero(rows[:, at : at + 4], axis=1).max()) for at in range(0, rows.shape[1], 4))


def test_every_kind_of_model_takes_the_pattern(model: nn.Module) -> None:
    small = SemiStructured(rounds=3).compress(model, task())
    for name, weight in small.named_parameters():
        if weight.ndim > 1 and weight.shape[1] >= 4:
            assert most_of_four(weight) == 2, name
            assert torch.count_nonzero(weight) == weight.numel() / 2, name
        else:
            assert weight.all(), name
    assert right(small).mean() > right(model).mean() - 0.04


def test_the_larger_two_stay() -> None:
    array = np.array([[1.0, -4, 3, 2, 5, 0.1, 0.2, -6, 7, 9, -8]])
    assert two_of_four(array, 1).astype(int).tolist() == [[0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1]]
    assert (two_of_four(array, 1) == two_of_four(array.T, 0).T).all()
    assert two_of_four(array, 1, left=0.4).astype(int).tolist() == [[0, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1]]
    assert two_of_four(array, 1, left=1.0).all()


def test_weights_go_little_by_little(mlp: nn.Module) -> None:
    left: list[float] = []

    def train(model: nn.Module) -> None:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for batch in torch.arange(640).split(64):
            loss(model, torch.tensor(PICTURES)[batch], torch.tensor(DIGITS)[batch]).backward()
            optimizer.step()
            optimizer.zero_grad()
        left.append(torch.count_nonzero(model.b.weight).item() / model.b.weight.numel())

    SemiStructured(rounds=6).compress(mlp, task(train=train, data=None, loss=None))
    assert 0.9 > left[1] > left[2] > 0.5
    assert left[-1] == 0.5


def test_what_was_zero_stays_zero(mlp: nn.Module) -> None:
    pruned = Pruning(density=0.3, rounds=1).compress(mlp, task())
    small = SemiStructured(rounds=1).compress(pruned, task())
    for before, after in zip(pruned.parameters(), small.parameters(), strict=True):
        if before.ndim > 1:
            assert not after[before == 0].any()
            assert most_of_four(after) <= 2


def test_only_what_is_named_is_pruned(mlp: nn.Module) -> None:
    small = SemiStructured(rounds=1, only=("b.weight",)).compress(mlp, task())
    assert most_of_four(small.b.weight) == 2
    assert most_of_four(small.a.weight) > 2
    for way in (SemiStructured, Pruning):
        with pytest.raises(ConfigError, match=r"(?s)'nobody'.*'b.weight'"):
            way(rounds=1, only=("nobody",)).compress(mlp, task())


def test_what_has_no_four_inputs_is_told() -> None:
    with pytest.raises(ConfigError, match="four inputs"):
        SemiStructured().compress(nn.Linear(3, 8), task())
