"""Measures, on a step of the user's own loop, which way to compute is the fastest that agrees. In the kernel.

At the second step of the cell its module calls are run again (replay.py) in float32 and in each other way: times are
the shortest of several, taken in turns with the best way so far, so that a busy machine slows both. A way agrees if
the gradients point the same way and the loss, to first order, would be the same. Training goes on from the very state
it had; nothing of the user's is run twice but the modules' forward.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from ..metrics._loops import around as loops_around
from ..rerunning import near, still
from . import fusing, limits, replay
from .measures import agreement, finite, kept_bytes, timed
from .outermost import Outermost
from .plans import Force, Plan
from .scaling import Scaling


@dataclass
class Measured:
    """What one way took, and how far it was from float32."""

    plan: Plan
    seconds: float
    loss: float = 0.0  # change, as a share
    activations: int | None = None  # bytes kept for backward; None where that cannot be seen


class Probe:
    """Waits for the cell's second step, then decides. `finished` tells whether it has."""

    def __init__(
        self,
        force: Force,
        outermost: Outermost,
        scaling: Scaling,
        mode: str,
        compiler: str,
        tell: Callable[[str], None],
    ) -> None:
        self._force, self._outermost, self._scaling, self._tell = force, outermost, scaling, tell
        self._mode, self._compiler = mode, compiler
        self._recorder = replay.Recorder()
        self._owner: Any = None
        self._steps = 0
        self._then = 0.0
        self.finished = False
        self.fused: list[Any] = []
        self._still: Callable[[], Any] = contextlib.nullcontext  # around what is compared

    def install(self) -> None:
        """Wait from now on."""
        self._handle = register_optimizer_step_pre_hook(self._before_step)

    def remove(self) -> None:
        """Wait no more."""
        self._handle.remove()
        if not self.finished and self._steps:
            self._end(f"{self._base()} stays: the cell ended after {self._steps} steps, before anything was measured")
        for undo in self.fused:
            undo()

    def _base(self) -> str:
        return "fp32" if self._mode == "auto" else self._mode

    def _before_step(self, optimizer: Any, args: Any, options: Any) -> None:
        if self.finished:
            return
        self._owner = self._owner or id(optimizer)
        if self._owner != id(optimizer):
            return
        self._steps += 1
        calls = [each for each in self._recorder.calls if each.complete]
        took, self._then = time.perf_counter() - self._then, time.perf_counter()
        if self._steps == 1:
            self._outermost.began, self._outermost.ended = self._recorder.began, self._recorder.ended
            return
        if not calls:
            if self._steps > 5:
                self._end(
                    f"{self._base()} stays: no module call was seen whose gradients come back (a model made of plain "
                    "functions, or gradients taken another way than by backward), so there is nothing to measure"
                )
            return
        left = _steps_left(self._steps, sys._getframe(1))
        self._recorder.calls = []
        if left is not None and left < limits.STEPS_LEFT:
            self._end(f"{self._base()} stays: the {left} steps that are left are too few for a probe to pay")
            return
        try:
            self._decide(calls, optimizer, None if left is None else left * took)
        except replay.Unsound as why:
            self._force.choose(Plan(self._base()), [])
            self._end(f"{self._base()} stays: {why}")
        except Exception as error:  # noqa: BLE001 - for instance no memory for a second run: the cell goes on without
            self._force.choose(Plan(self._base()), [])
            self._end(f"{self._base()} stays: the step could not be run again ({_brief(error)})")

    def _end(self, words: str) -> None:
        self.finished = True
        self._outermost.began = self._outermost.ended = None
        self._recorder.calls = []
        self._tell(f"precision: {words}")

    def _decide(self, calls: list[replay.Call], optimizer: Any, seconds_left: float | None) -> None:
        replay.check(calls)
        self._outermost.began = self._outermost.ended = None
        modules = list(dict.fromkeys(call.module for call in calls))
        base = Plan(self._base())
        tried: list[Measured] = []
        refused: list[str] = []
        with replay.kept(modules), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._force.choose(Plan(), modules)
            wanted = [replay.run(call) for call in calls]
            _repeatable(calls, wanted)
            if any(replay.is_random(call, outputs) for call, (outputs, _) in zip(calls, wanted, strict=False)):
                self._still = lambda: still(modules)
                with self._still():
                    wanted = [replay.run(call) for call in calls]
            self._force.choose(base, modules)
            best = first = self._measure(calls, wanted, base, None)
            for change in _changes(modules, self._mode, self._compiler, seconds_left):
                plan = replace(best.plan, **change)
                try:
                    found = self._measure(calls, wanted, plan, best)
                except Exception as error:  # noqa: BLE001 - a way that a model, a device or a compiler does not know
                    refused.append(f"{plan}: {_brief(error)}")
                    continue
                tried.append(found)
                if found.seconds < limits.GAIN * best.seconds:
                    best = found
            self._force.choose(best.plan, modules)
        self._force.choose(best.plan, modules)  # attributes are as they were before; what is compiled hangs on one
        words = [_said(best, first)]
        others = [f"{each.plan} {_ms(each.seconds)}" for each in tried if each is not best]
        words += [f"also measured: {', '.join(others)}"] if others else []
        words += [f"not possible: {'; '.join(refused)}"] if refused else []
        if self._compiler == "auto":
            undo, said = fusing.try_fused(optimizer)
            self.fused += [undo] if undo else []
            words += [said] if said else []
            if seconds_left is not None and seconds_left < limits.SECONDS_LEFT:
                words.append(f"torch.compile was not tried: about {seconds_left:.0f} s of training are left")
        self._end(". ".join(words))

    def _measure(self, calls: list[replay.Call], wanted: Any, plan: Plan, best: Measured | None) -> Measured:
        """Time of `plan`, in turns with `best`. Raises Unsound's kin for what does not agree."""
        self._force.choose(plan, [call.module for call in calls])
        scale = self._scaling.scale if plan.precision == "fp16" else 1.0
        with self._still():
            found = [replay.run(call, scale) for call in calls]
            while scale > 1 and not all(finite(gradients) for _, gradients in found):
                self._scaling.scale = scale = scale / 2
                found = [replay.run(call, scale) for call in calls]
        loss = agreement(calls, found, wanted, self._scaling.last) if best else 0.0
        shortest, best_again = math.inf, math.inf
        for _ in range(limits.TURNS):
            shortest = min(shortest, timed(calls, scale))
            if best is None:
                continue
            if shortest > 3 * best.seconds:
                break  # no need to look again
            self._force.choose(best.plan, [call.module for call in calls])
            best_again = min(best_again, timed(calls, self._scaling.scale if best.plan.precision == "fp16" else 1.0))
            self._force.choose(plan, [call.module for call in calls])
        if best is not None:
            best.seconds = min(best.seconds, best_again)
        slow = best is not None and shortest > best.seconds
        return Measured(plan, shortest, loss, None if plan.compiled or slow else kept_bytes(calls, scale))


def _changes(modules: list[Any], mode: str, compiler: str, seconds_left: float | None) -> list[dict[str, Any]]:
    """What may be changed here, each on top of the best so far."""
    found: list[dict[str, Any]] = []
    on_gpu = any(each.is_cuda for module in modules for each in module.parameters())
    if mode == "auto" and on_gpu and torch.cuda.get_device_capability() >= (8, 0):
        found.append({"tf32": True})
    if compiler == "auto" and any(isinstance(part, torch.nn.Conv2d) for each in modules for part in each.modules()):
        found.append({"channels_last": True})
    if mode == "auto":
        found += [{"precision": "bf16"}, {"precision": "fp16"}]
    if compiler == "auto" and not _compiled(modules) and (seconds_left is None or seconds_left >= limits.SECONDS_LEFT):
        found.append({"compiled": True})
    return found


def _compiled(modules: list[Any]) -> bool:
    """Whether the user compiles already. The compiler takes seconds to import: it is not imported to find out."""
    dynamo = sys.modules.get("torch._dynamo")
    return any(each._compiled_call_impl or (dynamo and isinstance(each, dynamo.OptimizedModule)) for each in modules)


def _repeatable(calls: list[replay.Call], wanted: Any) -> None:
    for call, (outputs, _) in zip(calls, wanted, strict=False):
        for before, now in zip(call.outputs, outputs, strict=False):
            if not near(before, now):
                name = type(call.module).__name__
                raise replay.Unsound(
                    f"{name} does not answer the same when it is called again (it keeps state of its own)"
                )


def _steps_left(steps: int, frame: Any) -> int | None:
    """As the loops around this step say; None where an inner one does not tell its length."""
    loops = loops_around(frame)
    if not loops:
        return None
    done, total = 0.0, 1.0
    for loop in loops:
        done, total = done * loop.total + loop.done, total * loop.total
    return None if done < steps - 1 else int(total - done)


def _said(best: Measured, first: Measured) -> str:
    if best.plan == first.plan:
        return f"{first.plan} stays, it is the fastest here: {_ms(first.seconds)} for a step's forward and backward"
    memory = ""
    if best.activations is not None and first.activations:
        memory = f", keeps {best.activations / 1e6:.1f} MB for backward instead of {first.activations / 1e6:.1f}"
    return (
        f"{best.plan}: {_ms(best.seconds)} for a step's forward and backward, {first.plan} {_ms(first.seconds)}; "
        f"the loss differs by {best.loss:.2%}{memory}"
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms"


def _brief(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:120]
