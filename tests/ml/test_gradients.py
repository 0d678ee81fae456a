"""Gradients of unchanged PyTorch loops that are looked after: steps left out, clipping, memory that runs out."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lepton_jupyter.errors import ConfigError
from lepton_jupyter.ml import gradients, precision
from lepton_jupyter.ml.gradients.clipping import AutoClip
from tests.ml import two_processes

X = torch.randn(64, 8, generator=torch.Generator().manual_seed(1))
Y = X.sum(1, keepdim=True)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads take address space of their own, and on a busy machine wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Hungry(nn.Module):
    """Has memory for so many rows and no more: in forward, or in backward."""

    def __init__(self, rows: int, where: str) -> None:
        super().__init__()
        self.rows, self.where = rows, where

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        if self.where == "forward" and torch.is_grad_enabled() and len(value) > self.rows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return _InBackward.apply(value, self.rows) if self.where == "backward" else value


class _InBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, rows: int) -> torch.Tensor:
        ctx.rows = rows
        return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        if len(gradient) > ctx.rows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return gradient, None


def train(
    *extra: nn.Module, steps: int = 30, momentum: float = 0.9, each: Callable[[int, Any], Any] = lambda step, loss: loss
) -> tuple[list[float], nn.Module]:
    """A plain loop; `each` may change a step's loss."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), *extra, nn.Linear(32, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=momentum)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = each(step, nn.functional.mse_loss(model(X), Y))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, model


def unclipped(step: int, loss: Any) -> Any:
    """As if the user clipped, so that only the rest is looked after."""
    nn.utils.clip_grad_norm_([torch.zeros(1, requires_grad=True)], 1.0)
    return loss


def test_steps_that_are_not_finite_change_nothing() -> None:
    said: list[str] = []
    bad = {3, 7, 8}

    def each(step: int, loss: Any) -> Any:
        return unclipped(step, loss * (float("nan") if step in bad else 1.0))

    with gradients.around("auto", said.append):
        losses, _model = train(each=each)
    assert len(losses) == 30
    assert [np.isnan(loss) for loss in losses].count(True) == 3
    assert losses[-1] < losses[0] / 5
    assert said == [
        "gradients: a step was left out: its gradients were not finite (nan or inf)",
        "gradients: 3 steps were left out, gradients not finite",
    ]
    assert np.isnan(train(each=each)[0][-1])  # nobody looks any more


def test_autoclip_is_the_papers_percentile() -> None:
    norms = np.random.default_rng(0).lognormal(size=200)
    clip = AutoClip()
    limits = [clip.limit(norm) for norm in norms]
    wanted = [np.percentile(norms[: count + 1], 10) for count in range(200)]
    assert limits == pytest.approx(wanted)


def test_long_gradients_are_clipped_unless_the_cell_clips() -> None:
    said: list[str] = []

    def blown(step: int, loss: Any) -> Any:
        return loss * (1e4 if step == 5 else 1.0)

    assert not train(each=blown)[0][-1] < 1e3
    with gradients.around("auto", said.append):
        losses, _ = train(each=blown)
    assert losses[-1] < losses[0]
    assert said[0] == "gradients: gradients are clipped to the 10th percentile of their norms so far (AutoClip)"
    plain = train(each=unclipped)[0]
    with gradients.around("auto", said.clear):  # type: ignore[arg-type]
        assert train(each=unclipped)[0] == plain


def test_a_closure_is_judged_after_it_ran() -> None:
    said: list[str] = []
    weight = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.1)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (weight * float("inf")).sum()
        loss.backward()
        return loss

    with gradients.around("auto", said.append):
        assert torch.isinf(optimizer.step(closure))
    assert torch.equal(weight, torch.ones(3))
    assert said[-1] == "gradients: 1 step was left out, gradients not finite"


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_a_step_without_memory_is_made_again_in_parts(where: str) -> None:
    said: list[str] = []
    plain, whole = train(Hungry(64, where), each=unclipped)
    with pytest.raises(torch.OutOfMemoryError):
        train(Hungry(20, where))
    with gradients.around("auto", said.append):
        losses, model = train(Hungry(20, where), each=unclipped)
    assert losses == pytest.approx(plain, rel=1e-4)
    for one, other in zip(model.parameters(), whole.parameters(), strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-5)
    assert "memory ran out in a batch of 64: Sequential takes it in 2 parts of 32" in said[0]
    assert "in 4 parts of 16" in said[1]
    assert "made in parts" in said[-1]


def test_gradients_that_were_there_before_are_added_to() -> None:
    def accumulated(extra: nn.Module) -> list[torch.Tensor]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 4), extra, nn.Linear(4, 1))
        for part in (X[:16], X):
            nn.functional.mse_loss(model(part), part.sum(1, keepdim=True)).backward()
        return [each.grad for each in model.parameters()]  # type: ignore[misc]

    wanted = accumulated(Hungry(64, "backward"))
    said: list[str] = []
    with gradients.around("auto", said.append):
        found = accumulated(Hungry(40, "backward"))
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(found, wanted, strict=True))
    assert "made again after memory ran out" in said[-1]


def test_parts_keep_the_precision_that_was_asked_for() -> None:
    with gradients.around("auto", lambda _: None), precision.around("bf16", "off", lambda _: None):
        losses, _ = train(Hungry(20, "forward"), each=unclipped, steps=8)
    with precision.around("bf16", "off", lambda _: None):
        whole, _ = train(each=unclipped, steps=8)
    plain, _ = train(each=unclipped, steps=8)
    assert losses == pytest.approx(whole, rel=0.01)
    assert losses[0] == whole[0] != plain[0]


class Crossing(nn.Module):
    """Each example's answer depends on the others."""

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value - value.mean(0)


@pytest.mark.parametrize(
    "extra, why",
    [
        (nn.BatchNorm1d(32), "BatchNorm1d takes its statistics from the whole batch"),
        (Crossing(), "its answer for one example depends on the others"),
    ],
    ids=["batchnorm", "crossing"],
)
def test_what_cannot_be_made_in_parts_says_why(extra: nn.Module, why: str) -> None:
    said: list[str] = []
    with gradients.around("auto", said.append), pytest.raises(torch.OutOfMemoryError):
        train(extra, Hungry(20, "forward"))
    assert why in said[0]
    assert said[-1].startswith("gradients: memory ran out, and nothing is left to try")


@pytest.mark.parametrize("way", ["parts", "checkpoints"])
def test_memory_that_really_runs_out(way: str, repository: Path) -> None:
    """In a process of its own: what others left in this one is memory that could be used."""
    line = [sys.executable, "-m", "tests.ml.running_out", way]
    done = subprocess.run(line, cwd=repository, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


def test_processes_that_train_together_do_the_same(tmp_path: Path, repository: Path) -> None:
    """What is judged are the gradients that all of them share: the mean of theirs."""
    line = [sys.executable, "-m", "tests.ml.two_processes", str(tmp_path)]
    done = subprocess.run(line, cwd=repository, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    (one, said, alone), (other, heard, _) = (json.loads((tmp_path / rank).read_text()) for rank in "01")
    assert one == other
    assert said == heard
    assert [line.partition(",")[0] for line in alone] == ["gradients: several processes train together"]
    assert re.fullmatch(r"gradients: \d+ steps were clipped, .*; 1 step was left out, .*", said[-1])
    whole, words = two_processes.train(slice(0, 64))  # the batch of both in one process
    assert words[-1] == said[-1]
    for mine, theirs in zip(whole, one, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-3, abs=1e-6)


def test_other_modes_are_refused() -> None:
    with pytest.raises(ConfigError, match="--gradients always"), gradients.around("always", print):
        pass
