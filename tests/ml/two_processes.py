"""Two processes that train one model together by DistributedDataParallel, with their gradients looked after."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from lepton_jupyter.ml import gradients

X = torch.randn(64, 8, generator=torch.Generator().manual_seed(1))
Y = X.sum(1, keepdim=True)
LONG, BROKEN = 9, 14


def train(rows: slice, wrap: Any = lambda model: model) -> tuple[list[list[float]], list[str]]:
    """Weights at the end, and what was said. One step has long gradients; one has none in the last process alone."""
    said: list[str] = []
    torch.manual_seed(0)
    model = wrap(nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    with gradients.around("auto", said.append):
        for step in range(20):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(X[rows]), Y[rows]) * (1e4 if step == LONG else 1.0)
            if step == BROKEN and rows.stop == len(X):
                loss = loss * float("nan")
            loss.backward()
            optimizer.step()
    return [each.flatten().tolist() for each in model.parameters()], said


def one_of_two(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    meet = f"file://{folder}/meet"
    distributed.init_process_group("gloo", init_method=meet, rank=rank, world_size=2)
    try:
        rows = slice(32 * rank, 32 * (rank + 1))
        alone = train(rows)  # each for itself: gradients differ
        Path(folder, str(rank)).write_text(json.dumps([*train(rows, DistributedDataParallel), alone[1]]))
    finally:
        distributed.destroy_process_group()


if __name__ == "__main__":
    from tests.ml import two_processes

    torch.multiprocessing.spawn(two_processes.one_of_two, (sys.argv[1],), nprocs=2)
