"""What all compressors that train share: random numbers are the seed's, and the user's are left alone."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from lepton_jupyter.ml import frameworks
from lepton_jupyter.ml.compressors._base import train
from lepton_jupyter.ml.compressors._seeding import seeded

from .digits import PICTURES, task


@pytest.mark.parametrize("own", [False, True], ids=["data", "train"])
def test_dropout_is_the_same_each_time(own: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10))

    def once(model: nn.Module) -> None:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model.train()(torch.tensor(PICTURES[:99])).square().mean().backward()
        optimizer.step()

    def trained(seed: int) -> torch.Tensor:
        copy = frameworks.of(model).copy(model)
        train(frameworks.of(copy), copy, task(seed=seed, train=once if own else None), 1)
        return copy[2].weight

    first = trained(1)
    torch.rand(3)
    assert torch.equal(trained(1), first)
    assert not torch.equal(trained(2), first)


def test_random_numbers_go_on_where_they_were() -> None:
    def draw() -> tuple[float, ...]:
        return random.random(), np.random.random(), float(torch.rand(1))

    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    wanted = [draw(), draw()]
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    found = [draw()]
    with pytest.raises(ValueError, match="within"):
        with seeded(1):
            inside = draw()
            raise ValueError("within")
    assert [*found, draw()] == wanted
    with seeded(1):
        assert draw() == inside
