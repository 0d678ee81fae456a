"""`--precision` and `--compile` for the PyTorch part of a cell. In the kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from ..gradients.steps import judged
from .outermost import Outermost
from .plans import NAMES, Force, Plan
from .probe import Probe
from .scaling import Scaling


@contextmanager
def around(mode: str, compiler: str, tell: Callable[[str], None]) -> Iterator[None]:
    """Within: outermost module calls compute in `mode`, or in what a probe finds; all is taken back at the end."""
    outermost = Outermost()
    force = Force(outermost)
    scaling = Scaling(lambda: outermost.halved)
    probe = Probe(force, outermost, scaling, mode, compiler, tell)
    asked = mode == "auto" or compiler == "auto"
    plan = Plan("fp32" if mode == "auto" else mode)
    if mode in ("fp32", "auto") and not asked:
        yield
        return
    outermost.install()
    if NAMES[plan.precision] is torch.float16 or mode == "auto":
        scaling.install()
    force.choose(plan, [])
    try:
        with judged(scaling.judge):
            if asked:
                probe.install()
            yield
    finally:
        probe.remove() if asked else None
        force.undo()
        scaling.remove()
        outermost.remove()
        if scaling.skipped:
            tell(
                f"precision: fp16: {_times(scaling.skipped, 'step')} left out because gradients overflowed; the loss "
                f"was scaled by {scaling.scale:.0f} in the end"
            )


def _times(count: int, word: str) -> str:
    return f"{count} {word} was" if count == 1 else f"{count} {word}s were"
