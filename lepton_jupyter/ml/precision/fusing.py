"""One kernel for a whole step of the optimizer, where PyTorch has one and it is faster. In the kernel.

A step is made on copies of what it changes, which is put back; hooks of steps are not called for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

_KNOWN = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)
GAIN, TURNS = 0.9, 3


def try_fused(optimizer: Any) -> tuple[Callable[[], None] | None, str]:
    """Measure a fused step; what takes it back if it is in force now, and words ('' if there is nothing to say)."""
    groups = optimizer.param_groups
    parameters = [each for group in groups for each in group["params"] if each.grad is not None]
    if type(optimizer) not in _KNOWN or any(group.get("fused") or group.get("differentiable") for group in groups):
        return None, ""
    if not parameters or any(each.grad.is_sparse or each.dtype is not torch.float32 for each in parameters):
        return None, ""
    before = [(group.get("fused"), group.get("foreach")) for group in groups]
    values = [each.detach().clone() for each in parameters]
    states = {each: dict(optimizer.state[each]) for each in parameters if each in optimizer.state}
    saved = {each: {name: _copied(value) for name, value in state.items()} for each, state in states.items()}

    def back() -> None:
        with torch.no_grad():
            torch._foreach_copy_(parameters, values)
        for each in parameters:
            if each not in states:
                optimizer.state.pop(each, None)
                continue
            optimizer.state[each] = state = dict(states[each])
            for name, value in saved[each].items():
                if isinstance(value, torch.Tensor):
                    state[name].copy_(value)

    def fuse(wanted: bool) -> None:
        for group, (fused, foreach) in zip(groups, before, strict=False):
            group["fused"], group["foreach"] = (True, False) if wanted else (fused, foreach)
        for each in parameters:
            step = optimizer.state.get(each, {}).get("step")
            if isinstance(step, torch.Tensor):
                optimizer.state[each]["step"] = step.to(each.device if wanted else "cpu")

    def timed(wanted: bool) -> float:
        fuse(wanted)
        if parameters[0].is_cuda:
            torch.cuda.synchronize()
        began = time.perf_counter()
        type(optimizer).step.__wrapped__(optimizer)
        if parameters[0].is_cuda:
            torch.cuda.synchronize()
        took = time.perf_counter() - began
        back()
        return took

    try:
        turns = [(timed(False), timed(True)) for _ in range(TURNS + 1)][1:]  # the first ones make state
    except Exception as error:  # noqa: BLE001 - for instance a device without fused steps
        fuse(False)
        back()
        return None, f"a fused optimizer is not possible: {str(error).splitlines()[0][:100]}"
    plain, fused = min(each[0] for each in turns), min(each[1] for each in turns)
    fuse(fused < GAIN * plain)
    if fused < GAIN * plain:
        return lambda: fuse(
            False
        ), f"fused {type(optimizer).__name__}: {fused * 1e3:.3g} ms a step, {plain * 1e3:.3g} before"
    return None, ""


def _copied(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, torch.Tensor) else value
