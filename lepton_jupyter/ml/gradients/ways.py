"""In which way calls of PyTorch modules are made, so that memory is enough. In the kernel.

Whole at first; then in more and more parts of their batch (splitting.py), or with checkpoints of their blocks
(checkpointing.py) if they cannot be cut or that was not enough.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from . import checkpointing, splitting
from .telling import Told


@dataclass
class Way:
    """How calls of one module are made."""

    parts: int = 1
    checkpointed: bool = False
    fits: int = 0  # numbers in the largest arguments that a whole step was made with
    times: int = 0  # steps of that size


class Ways:
    """Of one cell's modules."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._ways: weakref.WeakKeyDictionary[Any, Way] = weakref.WeakKeyDictionary()
        self._undo: list[Callable[[], None]] = []

    def of(self, module: Any) -> Way:
        """At first: whole."""
        return self._ways.setdefault(module, Way())

    def undo(self) -> None:
        """Modules are as they were."""
        while self._undo:
            self._undo.pop()()

    def smaller(self, module: Any, args: Any, keywords: Any, failed: Exception) -> None:
        """Make calls of `module` in a way that keeps less. Raises `failed` if there is none."""
        way = self.of(module)
        gc.collect()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        why = splitting.obstacle(module, args, keywords) if way.parts == 1 else ""
        count = splitting.batch_of(args, keywords)
        name = type(module).__name__
        if not why and way.parts < count:
            way.parts = min(way.parts * 2, count)
            rows = -(-count // way.parts)
            self._told.say(
                f"memory ran out in a batch of {count}: {name} takes it in {way.parts} parts of {rows} from now on. "
                "The loss still sees the whole batch and the gradients are its own; each part runs forward twice"
            )
            return
        why = why or "one example alone is too much"
        if not way.checkpointed:
            way.checkpointed = True
            blocks, undo = checkpointing.apply(module)
            if blocks:
                self._undo.append(undo)
                self._told.say(
                    f"memory ran out, and {name} cannot take its batch in smaller parts: {why}. Its repeated blocks "
                    f"({blocks}) keep only their inputs from now on and run again in backward"
                )
                return
        self._told.say(f"memory ran out, and nothing is left to try: {why}; no further repeated blocks in {name}")
        raise failed
