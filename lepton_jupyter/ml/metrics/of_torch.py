"""What PyTorch tells: after each step of any optimizer, and at each backward. In the kernel's process.

Global hooks of torch.optim see every optimizer, also those of Lightning, Accelerate and transformers' Trainer. LBFGS
makes its steps within its own; its losses are seen and its gradients are not.
"""

from __future__ import annotations

import functools
import sys
import weakref
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from ._loops import TURNS
from .meter import Meter


class _Torch:
    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._loss: Any = None  # of the last backward
        self._scaled: tuple[Any, Any] = (None, None)  # what GradScaler made of a loss (weakly), and that loss
        self._of_step: Any = None  # the loss of the last step that counts
        self._norm: Any = None
        self._clipped: Any = None  # the norm before the cell, or its trainer, clipped the gradients of this step
        self._optimizer: Any = lambda: None

    def backward(self, tensors: Any) -> None:
        """A backward begins."""
        if isinstance(tensors, (tuple, list)):
            tensors = tensors[0] if len(tensors) == 1 else None
        if isinstance(tensors, torch.Tensor) and tensors.numel() == 1:
            scaled, own = self._scaled
            self._loss = own if scaled is not None and scaled() is tensors else tensors.detach()

    def scaled(self, loss: Any, result: Any) -> None:
        """GradScaler has made `result` of `loss`."""
        if isinstance(loss, torch.Tensor) and isinstance(result, torch.Tensor):
            self._scaled = weakref.ref(result), loss.detach()

    def clipped(self, norm: Any) -> None:
        """Gradients were clipped that were `norm` long."""
        if type(norm) is torch.Tensor and norm.numel() == 1:
            self._clipped = norm

    def stepped(self, optimizer: Any, *_: Any) -> None:
        """An optimizer has made a step. Only the first one that is there counts: in a GAN, two take turns."""
        meter = self._meter
        clipped, self._clipped = self._clipped, None
        if meter.owner is None or (meter.sources.get("torch") == self.values and self._optimizer() is None):
            meter.own(id(optimizer))
            self._optimizer = weakref.ref(optimizer)
            self._norm = None
            meter.sources["torch"] = self.values
        if meter.owner != id(optimizer):
            return
        self._of_step = self._loss
        if meter.step():
            self._norm = _norm(optimizer) if clipped is None else clipped
            meter.find_loops(sys._getframe(2))

    def values(self) -> dict[str, Any]:
        """For the thread that reads: it is the one that waits for a GPU."""
        loss, trainer = self._of_step, self._meter.trainer
        if loss is not None and trainer is not None and trainer.parts > 1:
            loss = loss * trainer.parts
        found: dict[str, Any] = {"loss": loss, "grad_norm": self._norm}
        optimizer = self._optimizer()
        if optimizer is not None and optimizer.param_groups:
            found["learning_rate"] = optimizer.param_groups[0].get("lr")
        if torch.cuda.is_initialized():
            found["gpu_memory"] = torch.cuda.memory_allocated()
        return {name: value for name, value in found.items() if value is not None}


def install(meter: Meter) -> None:
    """Have PyTorch tell `meter`. Raises what another version of torch may raise; then nothing was changed."""
    teller = _Torch(meter)
    autograd: Any = torch.autograd
    loader: Any = torch.utils.data.DataLoader
    backward, iterate, scaler = autograd.backward, loader.__iter__, torch.amp.GradScaler
    scale = scaler.scale

    # Tensor.backward calls this one, too.
    @functools.wraps(backward)
    def told_backward(tensors: Any, *args: Any, **options: Any) -> Any:
        teller.backward(tensors)
        return backward(tensors, *args, **options)

    @functools.wraps(scale)
    def told_scale(self: Any, outputs: Any) -> Any:
        result = scale(self, outputs)
        teller.scaled(outputs, result)
        return result

    @functools.wraps(iterate)
    def counted(self: Any) -> Any:
        turns = iterate(self)
        try:
            known, number = weakref.ref(turns), id(self)
            over = weakref.ref(self, lambda _: TURNS.pop(number, None))
            TURNS[number] = over, lambda: getattr(known(), "_num_yielded", None)
        except TypeError:
            pass  # somebody else's iterator
        return turns

    clips: Any = torch.nn.utils.clip_grad
    clip = clips.clip_grad_norm_

    @functools.wraps(clip)
    def told_clip(*args: Any, **options: Any) -> Any:
        norm = clip(*args, **options)
        if not torch.compiler.is_compiling():
            teller.clipped(norm)
        return norm

    register_optimizer_step_post_hook(teller.stepped)
    clips.clip_grad_norm_ = torch.nn.utils.clip_grad_norm_ = told_clip
    autograd.backward, loader.__iter__, scaler.scale = told_backward, counted, told_scale


def _norm(optimizer: Any) -> Any:
    """The norm of all gradients of a step, where they lie."""
    gradients = [
        parameter.grad.detach()
        for group in optimizer.param_groups
        for parameter in group["params"]
        if parameter.grad is not None and not parameter.grad.is_sparse
    ]
    if not gradients:
        return None
    with torch.no_grad():
        norms = [torch.linalg.vector_norm(each.float()).to(gradients[0].device) for each in gradients]
        norm = torch.linalg.vector_norm(torch.stack(norms))
        scale = getattr(optimizer, "grad_scale", None)  # fused optimizers are given gradients that are still scaled
        return norm if scale is None else norm / scale
