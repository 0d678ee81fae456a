"""What it takes to run a PyTorch module again and get the same: random numbers, state, outputs. In the kernel."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch


def differentiable(value: Any) -> list[Any]:
    """The floating tensors in an output that gradients can come back to."""
    if isinstance(value, torch.Tensor):
        return [value] if value.requires_grad and value.is_floating_point() else []
    if isinstance(value, dict):
        value = list(value.values())
    elif hasattr(value, "__dataclass_fields__"):
        value = [getattr(value, name) for name in value.__dataclass_fields__]
    return [each for part in value for each in differentiable(part)] if isinstance(value, (list, tuple)) else []


def near(one: Any, other: Any) -> bool:
    """Whether two outputs are the same but for rounding."""
    far = torch.linalg.vector_norm(one - other)
    return one.shape == other.shape and bool(far <= 1e-3 * torch.linalg.vector_norm(one) + 1e-12)


@contextlib.contextmanager
def still(modules: list[Any]) -> Iterator[None]:
    """Within: no dropout. Compilers and half precision draw other random numbers than float32 does."""
    parts = [part for module in modules for part in module.modules()]
    before = [(part, dict(part.__dict__)) for part in parts]
    for part in parts:
        if isinstance(part, torch.nn.RNNBase):
            part.dropout = 0.0  # cuDNN has no gradients of one that does not train
        else:
            part.training = False
    try:
        yield
    finally:
        for part, own in before:
            part.__dict__.update({name: own[name] for name in ("training", "dropout") if name in own})


@contextlib.contextmanager
def buffers_aside(module: Any) -> Iterator[None]:
    """Within: `module` has copies of its buffers, so that running it again does not count twice in its averages."""
    parts = list(module.modules())
    before = [dict(part._buffers) for part in parts]
    for part in parts:
        for name, buffer in part._buffers.items():
            part._buffers[name] = None if buffer is None else buffer.detach().clone()
    try:
        yield
    finally:
        for part, own in zip(parts, before, strict=False):
            part._buffers.update(own)


def random_state() -> Any:
    """Of all generators that a model may draw from."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda


def set_random_state(state: Any) -> None:
    """They go on from there."""
    random.setstate(state[0])
    np.random.set_state(state[1])
    torch.set_rng_state(state[2])
    if state[3] is not None:
        torch.cuda.set_rng_state_all(state[3])
