"""Small models of four kinds, trained on scikit-learn's digits: what the tests of ml/ compress."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from lepton_jupyter.ml import frameworks
from lepton_jupyter.ml.compressors import Task
from lepton_jupyter.ml.compressors._base import train

PICTURES, DIGITS = (lambda found: ((found.images / 16).astype(np.float32), found.target))(load_digits())
TRAIN, TEST = slice(0, 1300), slice(1300, None)


class MLP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(64, 100), nn.Linear(100, 60), nn.Linear(60, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(functional.relu(self.b(functional.relu(self.a(x.flatten(1))))))


class CNN(nn.Module):
    """With batch normalisation, and a sum of two branches: their channels can only go together."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 24, 3, padding=1), nn.Conv2d(24, 24, 3, padding=1)
        self.norm, self.c = nn.BatchNorm2d(24), nn.Linear(24 * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.norm(self.a(x[:, None]))), 2)
        x = functional.max_pool2d(x + functional.relu(self.b(x)), 2)
        return self.c(x.flatten(1))


class LSTM(nn.Module):
    """Reads a picture row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.c = nn.LSTM(8, 48, batch_first=True), nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.rows(x)[0][:, -1])


class Transformer(nn.Module):
    """Looks at all rows at once; its output layer is tied to nothing, its places are learned."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.places = nn.Linear(8, 32), nn.Parameter(torch.zeros(1, 8, 32))
        self.layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.c = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.layer(self.embed(x) + self.places).mean(1))


KINDS: dict[str, Callable[[], nn.Module]] = {"mlp": MLP, "cnn": CNN, "lstm": LSTM, "transformer": Transformer}


def loss(model: nn.Module, pictures: Tensor, digits: Tensor) -> Tensor:
    return functional.cross_entropy(model(pictures), digits)


def task(**changes: Any) -> Task:
    given: dict[str, Any] = {"data": (PICTURES[TRAIN], DIGITS[TRAIN]), "loss": loss, "rate": 5e-3, "batch": 64}
    return Task(**(given | changes))


def right(model: Any) -> np.ndarray[Any, Any]:
    """1 for each test picture that is told right, else 0."""
    found = frameworks.of(model).predict(model, (PICTURES[TEST],))
    return (found.argmax(1) == DIGITS[TEST]).astype(float)


@cache
def trained(kind: str) -> nn.Module:
    torch.manual_seed(0)
    model = KINDS[kind]()
    train(frameworks.of(model), model, task(), 15)
    return model
