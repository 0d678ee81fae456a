"""Loss scaling for float16 in a PyTorch loop that knows nothing of it. In the kernel.

Gradients below 6e-8 are zero in float16, so backward begins with a large power of two instead of one (Micikevicius et
al. 2018, "Mixed Precision Training"). Right after it the gradients are divided again, so that the user's own lines,
clipping for instance, see true ones; for that, gradients that were there before are multiplied first. Both are exact.
A step whose gradients overflowed is left out and the scale halved, as torch.amp.GradScaler does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

from ..gradients.graphs import leaves_of
from ..gradients.steps import parameters

FIRST, INTERVAL = 2.0**16, 2000


class Scaling:
    """`active` says whether float16 is in use. `skipped` counts steps that were left out."""

    def __init__(self, active: Callable[[], bool]) -> None:
        self.scale = FIRST
        self.skipped = 0
        self.last: Any = None  # the loss that the last backward began at
        self.theirs = False  # the user scales already
        self._active = active
        self._good = 0  # steps since the scale last changed
        self._found: list[tuple[frozenset[int], Any]] = []  # of each backward: its leaves, and 1.0 if one overflowed
        self._undo: list[tuple[Any, str, Any]] = []

    def install(self) -> None:
        """From now on backward is scaled whenever `active`."""
        autograd, scaler = torch.autograd, torch.amp.GradScaler
        backward, scale = autograd.backward, scaler.scale

        @functools.wraps(backward)
        def scaled(
            tensors: Any,
            grad_tensors: Any = None,
            retain_graph: Any = None,
            create_graph: bool = False,
            grad_variables: Any = None,
            inputs: Any = None,
        ) -> None:
            nested = torch._C._current_graph_task_id() != -1
            if not nested and isinstance(tensors, torch.Tensor) and tensors.numel() == 1:
                self.last = tensors.detach()
            if not self._active() or self.theirs or nested or create_graph or grad_variables is not None:
                backward(tensors, grad_tensors, retain_graph, create_graph, grad_variables, inputs)
                return
            tensors = [tensors] if isinstance(tensors, torch.Tensor) else list(tensors)
            given = [grad_tensors] if grad_tensors is None or isinstance(grad_tensors, torch.Tensor) else grad_tensors
            given = list(given) if len(given) == len(tensors) else [None] * len(tensors)
            if any(each.dtype is not torch.float32 for each in tensors):
                backward(tensors, given, retain_graph, create_graph, inputs=inputs)
                return
            start = [_start(each, own, self.scale) for each, own in zip(tensors, given, strict=False)]
            self._backward(backward, tensors, start, retain_graph, inputs)

        @functools.wraps(scale)
        def told_scale(scaler: Any, outputs: Any) -> Any:
            self.theirs |= scaler.is_enabled()
            return scale(scaler, outputs)

        self._undo = [(autograd, "backward", backward), (scaler, "scale", scale)]
        autograd.backward, scaler.scale = scaled, told_scale

    def remove(self) -> None:
        """As it was."""
        for owner, name, value in self._undo:
            setattr(owner, name, value)

    def judge(self, optimizer: Any) -> bool:
        """Whether the optimizer may step; waits for the device, as GradScaler does."""
        own = {id(each) for each in parameters(optimizer)}
        mine = [each for each in self._found if own & each[0]]
        if not mine:
            return True
        self._found = [each for each in self._found if not own & each[0]]
        if any(bool(found) for _, found in mine):
            self.skipped += 1
            self._good, self.scale = 0, max(self.scale / 2, 1.0)
            return False
        self._good += 1
        if self._good >= INTERVAL:
            self._good, self.scale = 0, self.scale * 2
        return True

    def _backward(
        self, backward: Callable[..., None], tensors: Any, start: Any, retain_graph: Any, inputs: Any
    ) -> None:
        if inputs is None:
            leaves = list(leaves_of(tensors))
        else:
            leaves = [inputs] if isinstance(inputs, torch.Tensor) else list(inputs)
        scale = self.scale
        before = [_dense(each.grad) for each in leaves if each.grad is not None]
        with torch.no_grad():
            if before:
                torch._foreach_mul_(before, scale)
        try:
            backward(tensors, start, retain_graph, False, inputs=inputs)
        finally:
            gradients = [_dense(each.grad) for each in leaves if each.grad is not None]
            for device in {each.device for each in gradients}:
                here = [each for each in gradients if each.device == device]
                found = torch.zeros((), device=device)
                with torch.no_grad():
                    torch._amp_foreach_non_finite_check_and_unscale_(
                        here, found, torch.full((), 1 / scale, device=device)
                    )
                self._found.append((frozenset(id(each) for each in leaves), found))
            del self._found[:-64]  # of graphs that nobody's optimizer trains


def _start(tensor: Any, own: Any, scale: float) -> Any:
    """What backward begins with at `tensor`: `scale` times what it would begin with."""
    if own is not None:
        return own * scale
    return torch.full_like(tensor, scale) if tensor.numel() == 1 else None  # torch says what is wrong


def _dense(gradient: Any) -> Any:
    """The numbers of a gradient; a sparse one's lie in a tensor of their own."""
    return gradient._values() if gradient.is_sparse else gradient
