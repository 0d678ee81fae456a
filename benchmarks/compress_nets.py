"""The nets, data and training that benchmarks/compress.py compresses: what a user would have written in a notebook."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .compress_data import BLACK, SIDE, Data, arrays


def data(folder: Path | None, *, validate: bool = False, quick: bool = False) -> Data:
    """See `arrays`, as tensors."""
    found = arrays(folder, validate=validate, quick=quick)
    parts = (found.pictures, found.digits, found.test_pictures, found.test_digits)
    return Data(found.name, *(torch.from_numpy(np.ascontiguousarray(part)) for part in parts))


class LeNet300(nn.Module):
    """LeNet-300-100: 266,610 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(SIDE * SIDE, 300), nn.Linear(300, 100), nn.Linear(100, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc3(functional.relu(self.fc2(functional.relu(self.fc1(x.flatten(1))))))


class LeNet5(nn.Module):
    """LeNet-5 as Caffe has it: 431,080 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 20, 5), nn.Conv2d(20, 50, 5)
        self.fc1, self.fc2 = nn.Linear(800, 500), nn.Linear(500, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(self.conv2(functional.max_pool2d(self.conv1(x), 2)), 2)
        return self.fc2(functional.relu(self.fc1(x.flatten(1))))


class Wide(nn.Module):
    """A perceptron with two hidden layers of 2048."""

    def __init__(self, width: int = 2048) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(SIDE * SIDE, width), nn.Linear(width, width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(functional.relu(self.b(functional.relu(self.a(x.flatten(1))))))


class Convolutions(nn.Module):
    """Three convolutions of 32, 64 and 128 channels with batch normalisation, and one layer after them."""

    def __init__(self) -> None:
        super().__init__()
        widths = (1, 32, 64, 128)
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths[1:])
        self.last = nn.Linear(widths[-1] * 9, 10)

    def forward(self, x: Tensor) -> Tensor:
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = functional.max_pool2d(functional.relu(norm(convolution(x))), 2)
        return self.last(x.flatten(1))


class Trainer:
    """`trainer(model)` trains for one epoch; over `epochs` of them the rate falls along a cosine to almost nothing.

    With a teacher, half of the loss is distillation. `drop` is the share of pixels that are blacked out, and each batch
    is moved by up to `shift` pixels.
    """

    def __init__(
        self,
        given: Data,
        epochs: int,
        rate: float,
        *,
        seed: int,
        teacher: nn.Module | None = None,
        drop: float = 0.0,
        shift: int = 0,
    ) -> None:
        self._given, self._epochs, self._rate, self._drop, self._shift = given, epochs, rate, drop, shift
        self._chance = torch.Generator().manual_seed(seed)
        self._steps, self._model = 0, None
        self._soft = None
        if teacher is not None:
            with torch.no_grad():
                answers = torch.cat([teacher(part) for part in given.pictures.split(1000)])
            self._soft = torch.log_softmax(answers / 3, 1)

    def __call__(self, model: nn.Module) -> None:
        if model is not self._model:
            self._model, self._optimizer = model, torch.optim.Adam(model.parameters(), lr=self._rate)
        model.train()
        batches = torch.randperm(len(self._given.pictures), generator=self._chance).split(128)
        for batch in batches:
            way = min(self._steps / (self._epochs * len(batches)), 1)
            self._steps += 1
            for group in self._optimizer.param_groups:
                group["lr"] = self._rate * (0.02 + 0.49 * (1 + math.cos(math.pi * way)))
            self._optimizer.zero_grad()
            self._loss(model, batch).backward()
            self._optimizer.step()
        model.eval()

    def _loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        pictures = self._given.pictures[batch]
        if self._drop:
            pictures = torch.where(torch.rand(pictures.shape, generator=self._chance) < self._drop, BLACK, pictures)
        if self._shift:
            by = torch.randint(-self._shift, self._shift + 1, (2,), generator=self._chance).tolist()
            pictures = torch.roll(pictures, by, (2, 3))
        answers = model(pictures)
        loss = functional.cross_entropy(answers, self._given.digits[batch])
        if self._soft is None:
            return loss
        soft = torch.log_softmax(answers / 3, 1)
        return (loss + 9 * functional.kl_div(soft, self._soft[batch], log_target=True, reduction="batchmean")) / 2


def trained(kind: Callable[[], nn.Module], given: Data, epochs: int, *, seed: int, drop: float = 0.0) -> nn.Module:
    """The model in 32 bits that all is compared with."""
    torch.manual_seed(seed)
    model = kind()
    train = Trainer(given, epochs, 1e-3, seed=seed, drop=drop)
    for _ in range(epochs):
        train(model)
    return model
