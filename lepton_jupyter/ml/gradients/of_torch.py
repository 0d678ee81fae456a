"""Looks after the gradients of a cell's PyTorch optimizers. In the kernel."""

from __future__ import annotations

import functools
import math
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from .clipping import PERCENTILE, AutoClip
from .memory import Memory
from .processes import alike
from .steps import judged, parameters
from .telling import Told, steps


@contextmanager
def around(told: Told) -> Iterator[None]:
    """Within: steps that are not finite are left out, long gradients clipped, and lacking memory is worked around."""
    care = _Care(told)
    with care.watching_clips(), Memory(told).installed(), judged(care.judge):
        yield


class _Care:
    def __init__(self, told: Told) -> None:
        self._told = told
        self._clips = False  # the user does
        self._norms: weakref.WeakKeyDictionary[Any, AutoClip] = weakref.WeakKeyDictionary()
        self._alike: weakref.WeakKeyDictionary[Any, bool] = weakref.WeakKeyDictionary()

    @contextmanager
    def watching_clips(self) -> Iterator[None]:
        """Within: who clips is noted. Most clip between backward and step, so the first step knows it already."""
        utils: Any = torch.nn.utils
        modules = [utils, utils.clip_grad]
        names = ("clip_grad_norm_", "clip_grad_value_", "_clip_grads_with_norm_")  # the last is called by the first
        saved = [(module, name, getattr(module, name)) for module in modules for name in names if hasattr(module, name)]
        for module, name, own in saved:
            setattr(module, name, self._noting(own))
        try:
            yield
        finally:
            for module, name, own in saved:
                setattr(module, name, own)

    def _noting(self, own: Any) -> Any:
        @functools.wraps(own)
        def noting(*args: Any, **options: Any) -> Any:
            self._clips = True
            return own(*args, **options)

        return noting

    def _all_alike(self, optimizer: Any) -> bool:
        if optimizer not in self._alike:
            self._alike[optimizer] = alike(optimizer)
            if not self._alike[optimizer]:
                self._told.say(
                    "several processes train together, and not by DistributedDataParallel alone: each sees gradients "
                    "of its own, so they are left as they are"
                )
        return self._alike[optimizer]

    def judge(self, optimizer: Any) -> bool:
        """Whether the step may be made. Waits for the device once."""
        gradients = [_numbers(each.grad) for each in parameters(optimizer)]
        if not gradients or not self._all_alike(optimizer):
            return True
        norm = _norm(gradients)
        if not math.isfinite(norm):
            self._told.did(
                "skipped",
                "a step was left out: its gradients were not finite (nan or inf)",
                lambda count: f"{steps(count, 'left out')}, gradients not finite",
            )
            return False
        if self._clips or getattr(optimizer, "grad_scale", None) is not None:
            return True
        limit = self._norms.setdefault(optimizer, AutoClip()).limit(norm)
        if norm > limit:
            with torch.no_grad():
                torch._foreach_mul_(gradients, limit / norm)
            self._told.did(
                "clipped",
                f"gradients are clipped to the {PERCENTILE:.0f}th percentile of their norms so far (AutoClip)",
                lambda count: f"{steps(count, 'clipped')}, the last to a norm of {limit:.3g}",
            )
        return True


def _numbers(gradient: Any) -> Any:
    return gradient._values() if gradient.is_sparse else gradient


def _norm(gradients: list[Any]) -> float:
    with torch.no_grad():
        norms = torch._foreach_norm([each.float() for each in gradients])
        return float(torch.linalg.vector_norm(torch.stack([each.to(norms[0].device) for each in norms])))
