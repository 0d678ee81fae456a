"""Looks at the gradients before each step of any PyTorch optimizer, and can leave a step out. In the kernel.

Global hooks of torch.optim see every optimizer. A hook cannot skip a step, but a parameter without a gradient is not
touched by any optimizer (nor is its state): to leave a step out, the gradients are away while it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook


@contextmanager
def judged(judge: Callable[[Any], bool]) -> Iterator[None]:
    """Within: `judge(optimizer)` before each step, gradients there; where it answers False, the step changes nothing.

    A step with a closure makes its gradients itself: it is judged after the closure. LBFGS, which calls its closure
    many times in one step, is left alone.
    """
    away: dict[int, list[tuple[Any, Any]]] = {}

    def look(optimizer: Any) -> None:
        if not judge(optimizer):
            away[id(optimizer)] = [(each, each.grad) for each in parameters(optimizer)]
            for each in parameters(optimizer):
                each.grad = None

    def before(optimizer: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        closure = options.get("closure") or (args[1] if len(args) > 1 else None)
        if isinstance(optimizer, torch.optim.LBFGS):
            return None
        if not callable(closure):
            look(optimizer)
            return None
        compute = closure

        def then_look() -> Any:
            loss = compute()
            look(optimizer)
            return loss

        if "closure" in options:
            return args, {**options, "closure": then_look}
        return (args[0], then_look, *args[2:]), options

    def after(optimizer: Any, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        for parameter, gradient in away.pop(id(optimizer), []):
            parameter.grad = gradient

    handles = [register_optimizer_step_pre_hook(before), register_optimizer_step_post_hook(after)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def parameters(optimizer: Any) -> list[Any]:
    """Those that an optimizer trains and that have a gradient."""
    return [each for group in optimizer.param_groups for each in group["params"] if each.grad is not None]
