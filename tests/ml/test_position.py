"""A checkpoint within an epoch knows its place: what goes on there ends bit for bit as what was never interrupted."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lepton_jupyter.kernel.checkpoints import Checkpoints, Folder
from lepton_jupyter.kernel.inside import Lepton
from lepton_jupyter.ml.metrics import Meter

BEGIN = """
import random
import numpy as np, torch
from torch import nn
from torch.utils.data import *

class Noisy(Dataset):
    "Draws random numbers of three kinds for each example."
    loaded = []
    def __len__(self):
        return 61
    def __getitem__(self, index):
        self.loaded.append(index)
        x = torch.full((4,), index / 61) + 0.1 * torch.rand(4) + 0.1 * random.random() + 0.1 * np.random.rand()
        return x.float(), x.sum().float()

random.seed(1); np.random.seed(1); torch.manual_seed(1)
model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.Linear(8, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 30)
generator = torch.Generator().manual_seed(5)
state = dict(model=model, optimizer=optimizer, scheduler=scheduler)

def step(batch):
    x, y = batch
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(x)[:, 0], y) * (1 + 0.01 * random.random())
    loss.backward(); optimizer.step(); scheduler.step()
    done(loss.item(), lambda: lepton.checkpoint(**state))
"""
PLAIN = """
loader = {loader}
lepton.restore(**state)
for epoch in lepton.epochs(3):
    order = torch.randperm(3)
    for number, batch in enumerate(loader):
        step(batch)
    lepton.checkpoint(**state)
"""
#: An evaluation in front and one in between, and two loops that train.
TWO = """
train, more = DataLoader(Noisy(), 8, shuffle=True), DataLoader(Noisy(), 4, shuffle=True)
test = DataLoader(TensorDataset(torch.arange(6.0)), 2)
lepton.restore(**state)
for epoch in lepton.epochs(2):
    assert sum(len(x) for x, in test) == 6
    next(iter(test))
    for batch in train:
        step(batch)
        if random.random() < 0.3:
            assert len(list(test)) == 3
    for batch in more:
        step(batch)
"""
#: A second loader that begins again whenever it is through, and an outer loop of the user's own.
ENDLESS = """
train, other = DataLoader(Noisy(), 8, shuffle=True), DataLoader(Noisy(), 16, shuffle=True)
lepton.restore(**state)
turns = iter(other)
for epoch in range(1):
    for batch in train:
        try:
            extra = next(turns)
        except StopIteration:
            turns = iter(other)
            extra = next(turns)
        step([torch.cat(both) for both in zip(batch, extra)])
"""
PLAIN_INDEX = """
x = torch.randn(64, 4)
lepton.restore(**state)
for epoch in lepton.epochs(3):
    order = torch.randperm(64)
    for start in lepton.batches(range(0, 64, 8)):
        part = x[order[start:start + 8]]
        step((part, part.sum(1)))
"""
LOADERS = {
    "shuffled": "DataLoader(Noisy(), 8, shuffle=True)",
    "own generator": "DataLoader(Noisy(), 8, shuffle=True, generator=generator)",
    "replaced": "DataLoader(Noisy(), 8, sampler=RandomSampler(range(61), replacement=True, generator=generator))",
    "weighted": "DataLoader(Noisy(), batch_sampler=BatchSampler(WeightedRandomSampler([1.0] * 61, 50), 8, True))",
    "workers": "DataLoader(Noisy(), 8, shuffle=True, num_workers=2, multiprocessing_context='fork')",
    "persistent": "DataLoader(Noisy(), 8, shuffle=True, num_workers=2, persistent_workers=True, generator=generator,"
    " multiprocessing_context='fork')",
}


class Killed(BaseException):
    pass


class Runs:
    """Runs of one cell, each as if in a new process."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._number = folder, 0
        self.told: list[str] = []

    def __call__(self, code: str, *, resume: bool = False, kill: int = 0, every: int = 3) -> list[float]:
        """The losses; up to where it was killed, or from where it was resumed."""
        losses: list[float] = []

        def done(loss: float, checkpoint: Any) -> None:
            losses.append(loss)
            if len(losses) == kill:
                raise Killed
            if len(losses) % every == 0:
                checkpoint()

        self._number += 1
        lepton = Lepton(lambda path, name: None)
        kept = Checkpoints(Folder(str(self._folder), f"run{self._number}"), resume, {}, self.told.append)
        lepton.begin(Meter(), kept)
        self.names: dict[str, Any] = {"lepton": lepton, "done": done, "__name__": "cell"}
        try:
            exec(compile(code, "<cell>", "exec"), self.names)
        except Killed:
            pass
        finally:
            kept.settle()
        return losses


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    before = torch.utils.data.DataLoader.__iter__
    yield Runs(tmp_path / "checkpoints")
    assert torch.utils.data.DataLoader.__iter__ is before  # nothing is left in torch


def goes_on(runs: Runs, code: str, *, every: int = 3) -> None:
    """Two kills, the second one in a run that was resumed."""
    whole = runs(code, every=1000)
    first = random.randint(every + 1, len(whole) - 4)
    assert runs(code, kill=first, every=every) == whole[:first]
    behind = (first - 1) // every * every
    again = runs(code, kill=3, every=2, resume=True)
    begun = next(n for n in range(behind, -1, -1) if whole[n : n + 3] == again)
    assert behind - begun < 3, "it went on from an earlier checkpoint than the last"
    rest = runs(code, resume=True, every=1000)
    assert rest == whole[len(whole) - len(rest) :]
    assert len(rest) == len(whole) - begun - 2


@pytest.mark.parametrize("kind", LOADERS)
def test_the_rest_of_the_epoch_comes_as_it_would_have(runs: Runs, kind: str) -> None:
    goes_on(runs, BEGIN + PLAIN.format(loader=LOADERS[kind]))


@pytest.mark.parametrize("code", [TWO, ENDLESS, PLAIN_INDEX], ids=["several loops", "endless", "an index"])
def test_other_loops_go_on_too(runs: Runs, code: str) -> None:
    goes_on(runs, BEGIN + code)
