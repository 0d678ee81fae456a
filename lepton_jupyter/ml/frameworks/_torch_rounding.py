"""A PyTorch model that trains as if it were quantized: kernels, and what layers are given, are rounded on their way.

Runs in the kernel that holds the model. Rounding has no slope, so gradients pass it as if it were not there (the
straight-through way, Bengio et al. 2013; Jacob et al. 2018). Parameters stay what and where they are, so any optimizer
trains them; while a layer computes, its kernels are the rounded ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

#: How fast the ranges of what layers are given follow.
PACE = 0.05


class Rounding:
    """How kernels are rounded: to `levels` whole numbers on either side of zero, with a scale for each row (what makes
    one number of the answer) or for each `block` of it; and whether what layers are given is rounded to 8 bits, too."""

    def __init__(self, levels: int, block: int | None, inputs: bool) -> None:
        self._levels, self._block, self._inputs = levels, block, inputs

    def kernel(self, weight: torch.Tensor) -> torch.Tensor:
        """Its value rounded, its gradient passed on."""
        with torch.no_grad():
            rows = weight.reshape(len(weight), -1)
            width = rows.shape[1]
            size = width if self._block is None or self._block > width else self._block
            blocks = nn.functional.pad(rows, (0, -width % size)).reshape(len(rows), -1, size)
            scale = blocks.abs().amax(2, keepdim=True) / self._levels
            scale = torch.where(scale > 0, scale, torch.ones_like(scale))
            rounded = ((blocks / scale).round() * scale).reshape(len(rows), -1)[:, :width].reshape(weight.shape)
            change = rounded - weight
        return weight + change

    @contextmanager
    def within(self, model: nn.Module) -> Iterator[None]:
        """Within: the model's layers round. After: it is as it was, but for what was trained."""
        with ExitStack() as stack:
            for module in model.modules():
                stack.enter_context(self._layer(module))
            yield

    @contextmanager
    def _layer(self, module: nn.Module) -> Iterator[None]:
        kernels = _kernels(module)
        if not kernels:
            yield
            return
        # What attention and recurrent layers are given stays in 32 bits, as it does in the file made afterwards.
        ranges = _Ranges() if self._inputs and isinstance(module, nn.Linear | nn.modules.conv._ConvNd) else None
        back: list[Callable[[], None]] = []

        def begin(module: nn.Module, given: tuple[Any, ...]) -> Any:
            back.append(self._put(module, kernels))
            return None if ranges is None else (ranges(given[0], module.training), *given[1:])

        def end(*_: Any) -> None:
            if back:
                back.pop()()

        handles = [module.register_forward_pre_hook(begin), module.register_forward_hook(end, always_call=True)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _put(self, module: nn.Module, names: list[tuple[nn.Module, str]]) -> Callable[[], None]:
        """Put a layer's rounded kernels in place; what is returned puts the others back."""
        if isinstance(module, nn.RNNBase):  # has a list of its own, which it computes with
            before = module._flat_weights
            kernels = {id(getattr(*each)) for each in names}
            module._flat_weights = [self.kernel(each) if id(each) in kernels else each for each in before]
            return lambda: setattr(module, "_flat_weights", before)
        for owner, name in names:  # found before the parameter, which stays in its place
            owner.__dict__[name] = self.kernel(owner._parameters[name])

        def back() -> None:
            for owner, name in names:
                del owner.__dict__[name]

        return back

    def settle(self, model: nn.Module) -> None:
        """Make each kernel what it was rounded to."""
        with torch.no_grad():
            for module in model.modules():
                for owner, name in _kernels(module):
                    parameter = getattr(owner, name)
                    parameter.copy_(self.kernel(parameter))


def _kernels(module: nn.Module) -> list[tuple[nn.Module, str]]:
    """Where a layer that computes has its kernels: whose parameters they are, and their names."""
    if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return [(module, "weight")]
    if isinstance(module, nn.RNNBase):
        return [(module, name) for name, _ in module.named_parameters() if name.startswith("weight_")]
    if isinstance(module, nn.MultiheadAttention):  # takes the weight of out_proj without calling it
        names = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
        return [(module, name) for name in names if getattr(module, name) is not None] + [(module.out_proj, "weight")]
    return []


class _Ranges:
    """The range of what a layer is given, followed while it trains; 8 bits without sign, as ONNX Runtime has them."""

    def __init__(self) -> None:
        self._low: torch.Tensor | None = None
        self._high: torch.Tensor | None = None

    def __call__(self, given: torch.Tensor, training: bool) -> torch.Tensor:
        with torch.no_grad():
            if training or self._low is None or self._high is None:
                low, high = given.amin().clamp(max=0.0), given.amax().clamp(min=0.0)
                self._low = low if self._low is None else self._low + PACE * (low - self._low)
                self._high = high if self._high is None else self._high + PACE * (high - self._high)
            scale = ((self._high - self._low) / 255).clamp(min=1e-8)
            zero = (-self._low / scale).round().to(torch.int32)
        rounded: torch.Tensor = torch.fake_quantize_per_tensor_affine(given, scale, zero, 0, 255)
        return rounded
