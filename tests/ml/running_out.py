"""Memory that really runs out in a training step, which is then made in another way. A process of its own.

`python -m tests.ml.running_out parts|checkpoints`
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from lepton_jupyter.ml import gradients


@contextmanager
def memory_for(size: int) -> Iterator[None]:
    """The process has that much more address space, and no more: PyTorch's own allocator fails, on a CPU."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def failure(step: Callable[[], Any]) -> str:
    """What a step raises, in words: the exception itself would hold all that the step had made."""
    try:
        step()
    except RuntimeError as error:
        return str(error)
    return ""


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((width,), 0.5))

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return torch.tanh(value * self.weight) + value


def run_out(batchnorm: bool) -> None:
    """Twenty blocks keep 32 MiB twice; the process gets less. So large a tensor is never taken from the heap."""
    width, rows = 1 << 17, 64
    data = torch.randn(rows, width, generator=torch.Generator().manual_seed(0))

    def step() -> list[torch.Tensor]:
        norm = [nn.BatchNorm1d(width)] if batchnorm else []
        model = nn.Sequential(*norm, *(Block(width) for _ in range(20)))
        model(data).square().mean().backward()
        return [each.grad for each in model.parameters()]  # type: ignore[misc]

    said: list[str] = []
    wanted = step()
    with memory_for((800 if batchnorm else 400) << 20):
        assert "can't allocate memory" in failure(step)
        with gradients.around("auto", said.append):
            found = step()
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-9)
    assert ("run again in backward" if batchnorm else "parts of") in said[0]


if __name__ == "__main__":
    torch.set_num_threads(1)  # threads take address space of their own
    run_out(sys.argv[1] == "checkpoints")
