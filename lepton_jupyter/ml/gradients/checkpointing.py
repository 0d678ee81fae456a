"""Activation checkpointing of an unchanged PyTorch model: a block keeps its input, and runs again in backward.

Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost" (arXiv:1604.06174). In the kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from ..rerunning import buffers_aside


def apply(model: Any) -> tuple[int, Callable[[], None]]:
    """Checkpoint the repeated blocks of `model`; how many there are now, and what takes it back."""
    places = _places(model)
    for module, forward in places:
        module.__dict__["forward"] = forward

    def undo() -> None:
        for module, _ in places:
            module.__dict__.pop("forward", None)

    return len(places), undo


def _places(model: Any) -> list[tuple[Any, Callable[..., Any]]]:
    """Modules and what their forward shall be: of a Sequential by segments, of a list of alike blocks each."""
    if isinstance(model, torch.nn.Sequential) and len(model) > 2 and type(model).forward is torch.nn.Sequential.forward:
        return [(model, _in_segments(model))]
    if isinstance(model, torch.nn.ModuleList) and len(model) > 1 and len({type(each) for each in model}) == 1:
        return [(each, _again(each, each.forward)) for each in model if "forward" not in each.__dict__]
    return [place for child in model.children() for place in _places(child)]


def _in_segments(model: Any) -> Callable[[Any], Any]:
    children = list(model)
    size = math.ceil(math.sqrt(len(children)))
    segments = [torch.nn.Sequential(*children[first : first + size]) for first in range(0, len(children), size)]
    runs = [_again(segment, lambda value, segment=segment: _through(segment, value)) for segment in segments]

    def forward(value: Any) -> Any:
        for run in runs:
            value = run(value)
        return value

    return forward


def _through(segment: Any, value: Any) -> Any:
    for module in segment:
        value = module(value)
    return value


def _again(module: Any, forward: Callable[..., Any]) -> Callable[..., Any]:
    def checkpointed(*args: Any, **keywords: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **keywords)
        # Running averages were counted in the first run.
        contexts = lambda: (nullcontext(), buffers_aside(module))  # noqa: E731
        return checkpoint(forward, *args, use_reentrant=False, context_fn=contexts, **keywords)

    return checkpointed
