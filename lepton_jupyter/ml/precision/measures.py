"""What a probe measures of a step that is run again: time, bytes, and how far it is from float32. In the kernel."""

from __future__ import annotations

import math
import time
from typing import Any

import torch

from . import limits, replay


def agreement(calls: list[replay.Call], found: Any, wanted: Any, loss: Any) -> float:
    """By which share the loss changes, to first order. Raises Unsound where a way does not agree."""
    change = dot = mine = theirs = 0.0
    for call, (outputs, gradients), (true_outputs, true) in zip(calls, found, wanted, strict=False):
        for output, true_output, slope in zip(outputs, true_outputs, call.wanted, strict=False):
            change += 0.0 if slope is None else float(((output - true_output).double() * slope.double()).sum())
        for gradient, right in zip(gradients, true, strict=False):
            if gradient is not None and right is not None:
                dot += float((gradient.double() * right.double()).sum())
                mine += float(gradient.double().square().sum())
                theirs += float(right.double().square().sum())
    cosine = dot / math.sqrt(mine * theirs) if mine * theirs > 0 else math.nan
    if theirs == mine == 0:
        cosine = 1.0
    length = math.sqrt(mine / theirs) if theirs > 0 else 1.0
    if not cosine >= limits.COSINE or abs(length - 1) > limits.LENGTH:
        raise replay.Unsound(f"its gradients differ from fp32's (cosine {cosine:.3f}, length {length:.2f} times)")
    size = abs(float(loss)) if loss is not None else math.inf
    share = abs(change) / size if size > 0 else 0.0
    if not share <= limits.LOSS:
        raise replay.Unsound(f"its loss differs from fp32's by {share:.1%}")
    return share


def kept_bytes(calls: list[replay.Call], scale: float) -> int:
    """How much a step keeps for its backward, apart from weights."""
    weights = {each.untyped_storage().data_ptr() for call in calls for each in call.module.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        for call in calls:
            replay.run(call, scale)
    return sum(kept.values())


def finite(tensors: list[Any]) -> bool:
    return all(bool(torch.isfinite(each).all()) for each in tensors if each is not None)


def timed(calls: list[replay.Call], scale: float) -> float:
    _wait()
    began = time.perf_counter()
    for call in calls:
        replay.run(call, scale)
    _wait()
    return time.perf_counter() - began


def _wait() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
