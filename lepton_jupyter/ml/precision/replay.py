"""Runs a PyTorch step's module calls again, forward and backward, and leaves everything as it was. In the kernel.

The user's lines are not run again: of a step, the module calls are kept with their arguments, random numbers and
outputs, and with the gradients that came back to the outputs. That is all a module's part of a step depends on, so it
can be timed under other settings, and its gradients compared. `Unsound` says why a step cannot be run again.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from ..rerunning import differentiable, near, random_state, set_random_state


class Unsound(Exception):
    """Running the step again would not show what it does, or would change what follows. Its text says why."""


@dataclass
class Call:
    """One outermost module call of a step."""

    module: Any
    args: Any
    keywords: Any
    random: Any  # the generators' states before it
    outputs: list[Any]  # floating tensors of its output, with gradients wanted
    wanted: list[Any] = field(default_factory=list)  # the gradient of each output, once backward has made it

    @property
    def complete(self) -> bool:
        """Whether backward has been through it."""
        return any(each is not None for each in self.wanted)


class Recorder:
    """Keeps the calls of the step that goes on. Its methods are for `Outermost.began` and `.ended`."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._random: Any = None

    def began(self, module: Any) -> None:
        """A call begins."""
        self._random = random_state() if torch.is_grad_enabled() else None

    def ended(self, module: Any, args: Any, keywords: Any, output: Any) -> None:
        """A call has ended."""
        outputs = differentiable(output)
        if self._random is None or not outputs or len(self.calls) >= 8:
            return
        call = Call(module, args, keywords, self._random, [each.detach() for each in outputs], [None] * len(outputs))
        for place, each in enumerate(outputs):
            each.register_hook(lambda gradient, place=place: call.wanted.__setitem__(place, gradient.detach()))
        self.calls.append(call)


def check(calls: list[Call]) -> None:
    """Raises Unsound for modules that others listen to, or that compute together with other processes."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        raise Unsound("several processes train together, and all would have to be asked at once")
    for call in calls:
        for module in call.module.modules():
            if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks:
                raise Unsound(f"{type(module).__name__} has hooks that a second run would call again")
        if any(each._backward_hooks for each in call.module.parameters()):
            raise Unsound("parameters have hooks that a second run would call again")


def run(call: Call, scale: float = 1.0, other_numbers: bool = False) -> tuple[list[Any], list[Any]]:
    """Forward and backward once more: outputs, and the gradient of each trained parameter (None: not reached)."""
    set_random_state(call.random)
    if other_numbers:
        torch.manual_seed(torch.initial_seed() + 1)
    args, keywords = _fresh(call.args), _fresh(call.keywords)
    outputs = differentiable(call.module(*args, **keywords))
    if len(outputs) != len(call.wanted):
        raise Unsound("the model's output has another form each time")
    pairs = [(out, want) for out, want in zip(outputs, call.wanted, strict=False) if want is not None]
    trained = [each for each in call.module.parameters() if each.requires_grad]
    starts = [want if scale == 1.0 else want * scale for _, want in pairs]
    gradients = torch.autograd.grad([out for out, _ in pairs], trained, starts, allow_unused=True)
    with torch.no_grad():
        found = [each if each is None or scale == 1.0 else each / scale for each in gradients]
    return [each.detach() for each in outputs], found


def _fresh(value: Any) -> Any:
    """Arguments of a call of their own: what came from another call is cut off from it."""
    if isinstance(value, torch.Tensor):
        return value.detach().requires_grad_(value.requires_grad) if value.requires_grad else value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_fresh, value))
    if type(value) in (list, tuple):
        return type(value)(map(_fresh, value))
    if type(value) is dict:
        return {name: _fresh(each) for name, each in value.items()}
    return value


def is_random(call: Call, outputs: list[Any]) -> bool:
    """Whether other random numbers would make other `outputs`: dropout, for instance."""
    return any(not near(one, other) for one, other in zip(run(call, other_numbers=True)[0], outputs, strict=False))


@contextlib.contextmanager
def kept(modules: list[Any]) -> Iterator[None]:
    """Afterwards buffers, attributes, random numbers and what is printed are as if nothing had run within."""
    everything = list(dict.fromkeys(part for module in modules for part in module.modules()))
    buffers = [
        (each, each.detach().clone()) for module in everything for each in module._buffers.values() if each is not None
    ]
    attributes = [(module, dict(module.__dict__)) for module in everything]
    state = random_state()
    try:
        with contextlib.redirect_stdout(io.StringIO()), torch.enable_grad():
            yield
    finally:
        for module, saved in attributes:
            module.__dict__.clear()
            module.__dict__.update(saved)
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
        set_random_state(state)
