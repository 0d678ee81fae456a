"""A checkpoint within an epoch knows its place: what goes on there ends bit for bit as what was never interrupted."""

from __future__ import annotations

import errno
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lepton_jupyter.errors import ConfigError, HostStorage
from lepton_jupyter.kernel.checkpoints import Checkpoints, Folder, snapshot
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
        if random.random() < 0.3:
            assert len(list(test)) == 3
        step(batch)
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
    "its own state": "__import__('torchdata.stateful_dataloader').stateful_dataloader.StatefulDataLoader("
    "Noisy(), 8, shuffle=True)",
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
    first = random.SystemRandom().randint(every + 1, len(whole) - 4)  # cells seed the other one
    assert runs(code, kill=first, every=every) == whole[:first]
    again = runs(code, kill=3, every=2, resume=True)
    begun = next(n for n in range(first, -1, -1) if whole[n : n + 3] == again)
    assert first - begun <= every, "it went on from an earlier checkpoint than the last"
    rest = runs(code, resume=True, every=1000)
    assert rest == whole[len(whole) - len(rest) :]
    assert len(rest) == len(whole) - begun - 2


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")  # torchdata calls what torch has left
@pytest.mark.parametrize("kind", LOADERS)
def test_the_rest_of_the_epoch_comes_as_it_would_have(runs: Runs, kind: str) -> None:
    goes_on(runs, BEGIN + PLAIN.format(loader=LOADERS[kind]))


@pytest.mark.parametrize("code", [TWO, ENDLESS, PLAIN_INDEX], ids=["several loops", "endless", "an index"])
def test_other_loops_go_on_too(runs: Runs, code: str) -> None:
    goes_on(runs, BEGIN + code)


STREAM = """
class Stream(IterableDataset):
    def __iter__(self):
        own = torch.Generator().manual_seed(7)
        for n in range(40):
            x = torch.rand(4, generator=own)
            yield x, x.sum()
"""


def test_a_stream_is_gone_through_again_up_to_there(runs: Runs) -> None:
    goes_on(runs, BEGIN + STREAM + PLAIN.format(loader="DataLoader(Stream(), 4)"))
    assert any("are loaded once more" in line for line in runs.told)


def test_what_was_given_is_not_loaded_again(runs: Runs) -> None:
    code = BEGIN + PLAIN.format(loader=LOADERS["shuffled"])
    runs(code, kill=6)
    runs(code, kill=1, resume=True)
    assert len(runs.names["Noisy"].loaded) == 8
    assert "goes on after 3 batches of Noisy of 61 by 8" in runs.told[-1]


def test_another_loader_than_before_is_said(runs: Runs) -> None:
    runs(BEGIN + PLAIN.format(loader=LOADERS["shuffled"]), kill=6)
    with pytest.raises(
        ConfigError, match="is over Noisy of 61 by 8 RandomSampler, and one begins over Noisy of 61 by 4"
    ):
        runs(BEGIN + PLAIN.format(loader="DataLoader(Noisy(), 4, shuffle=True)"), resume=True)
    with pytest.raises(ConfigError, match="did not go on there"):
        runs(BEGIN + "lepton.restore(**state)\nfor epoch in lepton.epochs(2): pass", resume=True)
    other = BEGIN.replace("nn.Linear(4, 8)", "nn.Linear(4, 9)")
    with pytest.raises(ConfigError, match="(?s)'model' is not built as the one.*size mismatch"):
        runs(other + "lepton.restore(**state)", resume=True)


def test_a_place_that_cannot_be_known_is_said(runs: Runs) -> None:
    loop = "for n in range(8):\n        step((torch.rand(8, 4), torch.rand(8)))"
    runs(BEGIN + f"lepton.restore(**state)\nfor epoch in lepton.epochs(2):\n    {loop}")
    assert len(runs.told) == 1
    assert "do not know their place in it: the loop does not go over a loader" in runs.told[0]
    assert "Put lepton.batches(…) around" in runs.told[0]


def test_a_full_disk_takes_the_older_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room, run = [99], tmp_path / "run"
    told: list[str] = []

    def full(path: str, data: Any, write: Any = snapshot.write) -> None:
        if len(list(run.iterdir())) > room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data)

    monkeypatch.setattr(snapshot, "write", full)
    kept = Checkpoints(Folder(str(tmp_path), "run"), False, {}, told.append)
    for number in range(4):
        kept.checkpoint({"x": torch.full((9999,), float(number))})
    kept.wait()
    room[0] = 2  # with the one that is being written
    kept.checkpoint({"x": torch.ones(9999)})
    kept.wait()
    assert sorted(path.name for path in run.iterdir()) == ["00000004", "00000005"]
    room[0] = 0
    kept.checkpoint({"x": torch.ones(9999)})
    with pytest.raises(HostStorage, match="checkpoint 6 could not be written.*No space left"):
        kept.checkpoint({"x": torch.ones(9999)})
    assert [path.name for path in run.iterdir()] == ["00000005"]  # whole, and nothing half written
    kept.settle()
    new = Checkpoints(Folder(str(tmp_path), "new"), True, {}, told.append)
    assert new.restore({}) is not None
    new.settle()


DATASET = """
import tensorflow as tf
tf.random.set_seed(3)
dataset = tf.data.Dataset.range(40).shuffle(40, seed=5).batch(4).prefetch(2)
lepton.restore()
for epoch in lepton.epochs(3):
    for batch in lepton.batches(dataset):
        done(batch.numpy().tolist(), lambda: lepton.checkpoint(a=1))
"""


def test_an_iterator_of_tf_data_goes_on(runs: Runs) -> None:
    whole = runs(DATASET, every=1000)
    assert runs(DATASET, kill=14) == whole[:14]
    assert runs(DATASET, resume=True, every=1000) == whole[12:]
