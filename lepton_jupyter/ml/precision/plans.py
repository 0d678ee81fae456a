"""Ways in which a PyTorch model can compute, put into force and taken back. In the kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from .outermost import Outermost

NAMES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": None}


@dataclass(frozen=True)
class Plan:
    """One way to compute."""

    precision: str = "fp32"
    tf32: bool = False
    channels_last: bool = False
    compiled: bool = False

    @property
    def watches(self) -> bool:
        """Whether it needs to see each call of a module."""
        return self.precision != "fp32" or self.channels_last

    def __str__(self) -> str:
        parts = [
            "tf32" if self.tf32 and self.precision == "fp32" else self.precision,
            "channels_last" if self.channels_last else "",
            "torch.compile" if self.compiled else "",
        ]
        return " + ".join(part for part in parts if part)


class Force:
    """Puts plans into force, one after the other."""

    def __init__(self, outermost: Outermost) -> None:
        self.now = Plan()
        self._outermost = outermost
        self.modules: list[Any] = []  # those that `choose` was given last
        self._compiled: dict[Any, Callable[..., Any]] = {}
        self._tf32 = torch.backends.cuda.matmul.allow_tf32

    def choose(self, plan: Plan, modules: list[Any]) -> None:
        """From now on `modules`, and with `precision` all others too, compute like that."""
        outermost = self._outermost
        outermost.dtype = NAMES[plan.precision]
        torch.backends.cuda.matmul.allow_tf32 = plan.tf32 or self._tf32
        changed = list(dict.fromkeys([*self.modules, *modules]))
        if plan.channels_last != self.now.channels_last:
            for module in changed:
                _lay_out(module, torch.channels_last if plan.channels_last else torch.contiguous_format)
        outermost.channels_last = frozenset(modules) if plan.channels_last else ()
        for module in changed:
            module.__dict__.pop("_compiled_call_impl", None) if module in self._compiled else None
            if plan.compiled:
                module.__dict__["_compiled_call_impl"] = self._compile(module)
        self.now, self.modules = plan, list(modules)

    def undo(self) -> None:
        """As it was before the first plan."""
        self.choose(Plan(), self.modules)

    def _compile(self, module: Any) -> Callable[..., Any]:
        """For calls like the first one: a compiler that began anew for each shape would cost more than was reckoned."""
        if module in self._compiled:
            return self._compiled[module]
        plain = module._call_impl
        compiled = torch.compile(plain, dynamic=False, options={"fallback_random": True})  # the same dropout as before
        known: list[Any] = []

        def call(*args: Any, **keywords: Any) -> Any:
            form = torch.is_grad_enabled(), module.training, _shapes((args, keywords))
            known.append(form) if not known else None
            return (compiled if form == known[0] else plain)(*args, **keywords)

        self._compiled[module] = self._outermost.calling(module, call)
        return self._compiled[module]


def _shapes(value: Any) -> Any:
    """Of all tensors in some arguments."""
    if isinstance(value, torch.Tensor):
        return value.shape
    if isinstance(value, dict):
        value = tuple(value.values())
    return tuple(map(_shapes, value)) if isinstance(value, (list, tuple)) else None


def _lay_out(module: Any, form: Any) -> None:
    """Only weights of two-dimensional convolutions have another order; the numbers stay, and so does the Parameter."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=form)
