"""Decides when a step of the user's own loop is run again to find the fastest way to compute. In the kernel.

What a probe costs is known beforehand: so many runs of a step, or so many seconds of a compiler. It is made when that
is a small share (limits.SHARE) of the training that is left, as the loops around the step say. Where they do not say,
as much is taken to be left as was done so far: then no cell, however short, loses more than that share. Training goes
on from the very state it had; nothing of the user's is run twice but the modules' forward.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from ..metrics._loops import around as loops_around
from . import fusing, limits, processors, replay
from .contest import Contest, brief
from .outermost import Outermost
from .plans import Force
from .scaling import Scaling

#: Seconds that torch.compile takes for forward and backward: to get ready, and for each module that holds no others.
COMPILER, COMPILE_ONE = 10.0, 1.0


class Probe:
    """Looks at the cell's second step, and at later ones where it has to wait. `finished` tells when it is done."""

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
        self._steps, self._look = 0, 1  # steps that were begun; the one after which the next is recorded
        self._then = 0.0
        self._compile_alone = False  # all else was decided
        self.finished = False
        self.fused: list[Callable[[], None]] = []

    def install(self) -> None:
        """Wait from now on."""
        self._handle = register_optimizer_step_pre_hook(self._before_step)

    def remove(self) -> None:
        """Wait no more."""
        self._handle.remove()
        if self._steps and not (self.finished or self._compile_alone):
            self._end(f"{self._force.now} stays: the cell ended after {self._steps} steps, before a probe could pay")
        for undo in self.fused:
            undo()

    def _before_step(self, optimizer: Any, args: Any, options: Any) -> None:
        if self.finished or id(optimizer) != (self._owner or id(optimizer)):
            return
        self._owner = id(optimizer)
        self._steps += 1
        if self._steps < self._look:
            return
        took, self._then = time.perf_counter() - self._then, time.perf_counter()
        if self._steps == self._look:
            self._record(True)
            return
        calls = [each for each in self._recorder.calls if each.complete]
        if not calls and self._steps < self._look + 5:
            return
        self._record(False)
        now = self._force.now
        try:
            if not calls:
                raise replay.Unsound(
                    "no module call was seen whose gradients come back (a model made of plain functions, or gradients "
                    "taken another way than by backward), so there is nothing to measure"
                )
            self._decide(calls, optimizer, took, _steps_left(self._steps, sys._getframe(1)))
        except replay.Unsound as why:
            self._force.choose(now, self._force.modules)
            self._end(f"{now} stays: {why}")
        except Exception as error:  # noqa: BLE001 - for instance no memory for a second run: the cell goes on without
            self._force.choose(now, self._force.modules)
            self._end(f"{now} stays: the step could not be run again ({brief(error)})")
        if not self._force.now.watches:
            self._outermost.remove()  # hooks cost each module's call

    def _record(self, wanted: bool) -> None:
        """Whether the calls of the step that follows are kept."""
        self._recorder.calls = []
        self._outermost.began = self._recorder.began if wanted else None
        self._outermost.ended = self._recorder.ended if wanted else None
        if wanted:
            self._outermost.install()

    def _end(self, words: str) -> None:
        self.finished = True
        self._record(False)
        self._tell(f"precision: {words}")

    def _decide(self, calls: list[replay.Call], optimizer: Any, took: float, known: int | None) -> None:
        """Make the probe, or wait for a step at which it pays; `known` steps are left. Raises Unsound."""
        began = time.perf_counter()
        modules = list(dict.fromkeys(call.module for call in calls))
        left = self._steps if known is None else known
        lacking = processors.lacking() if self._mode == "auto" and not _on_gpu(modules) else ""
        changes = [] if self._compile_alone else _changes(modules, self._mode, self._compiler)
        if not changes and self._compiler != "auto":
            raise replay.Unsound(lacking)
        if left < limits.steps_needed(len(changes)):
            if known is not None:
                raise replay.Unsound(f"the {left} steps that are left are too few for a probe to pay")
            self._look = limits.steps_needed(len(changes))
            return
        compiler = _compiler_seconds(modules) if self._compiler == "auto" else 0.0

        def pays(step: float) -> bool:
            return compiler > 0 and (self._compile_alone or compiler <= limits.SHARE * left * step)

        words, seconds = [f"{self._force.now} stays"], took
        if changes or pays(took):
            contest = Contest(calls, self._force, self._scaling)
            with contest.open():
                for change in changes:
                    if change.get("precision") != "fp16" or contest.best.plan.precision != "bf16":
                        contest.enter(change)
                seconds = contest.best.seconds
                if pays(seconds):
                    contest.enter({"compiled": True})
                    compiler = 0.0
            words = contest.words()
        if self._compiler == "auto" and not self._compile_alone:
            undo, said = fusing.try_fused(optimizer)
            self.fused += [undo] if undo else []
            words += [said] if said else []
        words += [lacking] if lacking else []
        words.append(f"the probe took {time.perf_counter() - began:.2g} s")
        if not compiler:
            self._end(". ".join(words))
            return
        cost = f"torch.compile would take about {compiler:.0f} s"
        if known is not None:
            self._end(". ".join([*words, f"{cost}, too much for the {left * seconds:.0f} s of training that are left"]))
            return
        self._compile_alone = True
        self._look = max(math.ceil(compiler / limits.SHARE / seconds), self._steps + 1)
        self._tell(f"precision: {'. '.join([*words, f'{cost} and is tried after {self._look} steps'])}")


def _changes(modules: list[Any], mode: str, compiler: str) -> list[dict[str, Any]]:
    """What may be changed here at the price of some runs of a step, each on top of the best so far."""
    found: list[dict[str, Any]] = []
    on_gpu = _on_gpu(modules)
    if mode == "auto" and on_gpu and torch.cuda.get_device_capability() >= (8, 0):
        found.append({"tf32": True})
    if compiler == "auto" and any(isinstance(part, torch.nn.Conv2d) for each in modules for part in each.modules()):
        found.append({"channels_last": True})
    if mode == "auto":
        found += [{"precision": each} for each in ("bf16", "fp16") if on_gpu or each in processors.halves()]
    return found


def _on_gpu(modules: list[Any]) -> bool:
    return any(each.device.type != "cpu" for module in modules for each in module.parameters())


def _compiler_seconds(modules: list[Any]) -> float:
    """About how long torch.compile would take; 0 if the user compiles already."""
    dynamo = sys.modules.get("torch._dynamo")  # it takes seconds to import: not only to find out
    if any(each._compiled_call_impl or (dynamo and isinstance(each, dynamo.OptimizedModule)) for each in modules):
        return 0.0
    return COMPILER + COMPILE_ONE * sum(not list(part.children()) for each in modules for part in each.modules())


def _steps_left(steps: int, frame: Any) -> int | None:
    """As the loops around this step say; None where an inner one does not tell its length."""
    loops = loops_around(frame)
    if not loops:
        return None
    done, total = 0.0, 1.0
    for loop in loops:
        done, total = done * loop.total + loop.done, total * loop.total
    return None if done < steps - 1 else int(total - done)
