"""What transformers' Trainer tells: how far it is, and what it logs. In the kernel's process.

A callback beside the library's own ones, in each Trainer that is made; its steps, losses, norms and learning rates are
seen by the hooks of PyTorch, at every step and not only when the Trainer logs them.
"""

from __future__ import annotations

import importlib
import math
from typing import Any

from ._loops import Loop
from .meter import Meter, Trainer

#: What the hooks see, and how quick an evaluation was.
_KNOWN = {"loss", "grad_norm", "learning_rate", "epoch"}
_SPEEDS = ("_runtime", "_per_second")

_ANEW = (
    "--resume: transformers' Trainer keeps checkpoints of its own, and this training begins anew; "
    "trainer.train(resume_from_checkpoint=True) goes on with its last one"
)


def install(meter: Meter) -> None:
    """Have every Trainer tell `meter`. Raises what another version of transformers may raise."""
    library: Any = importlib.import_module("transformers.trainer")
    base: Any = importlib.import_module("transformers.trainer_callback").TrainerCallback

    class LeptonMetrics(base):  # type: ignore[misc]
        """Tells how far the training is, and what is logged."""

        def __init__(self) -> None:
            self._training = _Training()

        @meter.careful
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self._training = _Training(args, state)
            meter.begin_training(self._training)
            if meter.resuming and not state.global_step:
                meter.say(_ANEW)

        @meter.careful
        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self._training.over = True

        @meter.careful
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if not logs or "train_runtime" in logs:
                return  # the summary at the end: means of what was seen
            values = {name: value for name, value in logs.items() if _is_metric(name, value)}
            if values:
                meter.log(values, state.global_step)

    library.DEFAULT_CALLBACKS.append(LeptonMetrics)


class _Training(Trainer):
    def __init__(self, arguments: Any = None, state: Any = None) -> None:
        self._arguments, self._state = arguments, state
        self.parts = getattr(arguments, "gradient_accumulation_steps", 1)

    def loops(self) -> list[Loop]:
        arguments, state = self._arguments, self._state
        done, total = state.global_step, state.max_steps
        if not 0 <= done <= total or not total:
            return []
        if arguments.max_steps > 0:
            return [Loop("step", done, total)]
        epochs = arguments.num_train_epochs  # may be 2.5
        each = total / epochs
        if done == total:
            return [Loop("epoch", epochs, epochs)]
        behind = math.floor(done / each + 1e-6)
        return [Loop("epoch", behind, epochs), Loop("batch", max(done - behind * each, 0.0), each)]


def _is_metric(name: str, value: Any) -> bool:
    return name not in _KNOWN and not name.endswith(_SPEEDS) and type(value) in (int, float)
