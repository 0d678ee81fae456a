"""What Lightning's Trainer tells: how far it is, and what `self.log` is given. In the kernel's process.

A callback that is in a Trainer only while it runs. Names are those that Lightning's loggers get, also where there is no
logger; steps, gradient norms and learning rates are seen by the hooks of PyTorch.
"""

from __future__ import annotations

import functools
import importlib
import math
from typing import Any

from ._loops import Loop
from .meter import Meter, Trainer

_ANEW = (
    "--resume: Lightning's Trainer keeps checkpoints of its own, and this training begins anew; "
    'trainer.fit(…, ckpt_path="last") goes on with the one of ModelCheckpoint(save_last=True)'
)

#: Hooks of every batch that do nothing here. Lightning's way to each of them takes 10 µs and more.
_EACH_BATCH = (
    *("on_train_batch_start", "on_before_zero_grad", "on_before_backward", "on_after_backward"),
    *("on_before_optimizer_step", "on_validation_batch_start", "on_validation_batch_end"),
    *("on_test_batch_start", "on_test_batch_end"),
)


def install(meter: Meter, package: str) -> None:
    """Have the Trainers of `package` tell `meter`. Raises what another version of Lightning may raise."""
    callback = _callback(meter, importlib.import_module(f"{package}.callbacks").Callback)
    trainer: Any = importlib.import_module(f"{package}.trainer.trainer").Trainer

    def told(own: Any) -> Any:
        @functools.wraps(own)
        def run(self: Any, *args: Any, **options: Any) -> Any:
            if any(isinstance(each, callback) for each in self.callbacks):
                return own(self, *args, **options)  # from within another run of it
            mine = callback()
            self.callbacks.insert(0, mine)
            try:
                return own(self, *args, **options)
            finally:
                mine.over = True
                self.callbacks = [each for each in self.callbacks if each is not mine]

        return run

    runs = {name: told(getattr(trainer, name)) for name in ("fit", "validate", "test")}
    for name, run in runs.items():
        setattr(trainer, name, run)


def _callback(meter: Meter, base: Any) -> Any:
    class LeptonMetrics(base, Trainer):  # type: ignore[misc]
        """Keeps what Lightning knows when a reading wants it, and tells what only an epoch has."""

        def __init__(self) -> None:
            self._batch = self._looked = 0
            self._loss: Any = None  # of the step that values were kept of
            self._of_step: dict[str, Any] = {}
            self._told: dict[str, Any] = {}  # what an epoch or an evaluation had

        @meter.careful
        def on_train_start(self, trainer: Any, module: Any) -> None:
            self._trainer, self.parts = trainer, trainer.accumulate_grad_batches
            meter.begin_training(self)
            if meter.resuming and trainer.ckpt_path is None:
                meter.say(_ANEW)

        @meter.careful
        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
            self._batch = index + 1
            if meter.looked != self._looked:  # a reading wants to know
                self._looked = meter.looked
                self._look(trainer)

        @meter.careful
        def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
            self._batch = 0
            self._tell(trainer)  # of the epoch before, which is whole only by now

        @meter.careful
        def on_train_end(self, trainer: Any, module: Any) -> None:
            self._tell(trainer)
            self._look(trainer)

        @meter.careful
        def on_validation_end(self, trainer: Any, module: Any) -> None:
            if not trainer.sanity_checking:
                self._tell(trainer)

        on_test_end = on_validation_end

        def _look(self, trainer: Any) -> None:
            """Keep what the last step had."""
            self._loss = meter.sources.get("torch", dict)().get("loss")
            logged = trainer.logged_metrics.items()
            self._of_step = {name: value for name, value in logged if name not in self._told}

        def _tell(self, trainer: Any) -> None:
            """Log what is new and no step's."""
            logged = trainer.logged_metrics.items()
            found = {
                name: value for name, value in logged if name not in self._of_step and self._told.get(name) is not value
            }
            self._told.update(found)
            if found:
                meter.log(found, trainer.global_step)

        def loops(self) -> list[Loop]:
            return _loops(self._trainer, self._batch)

        def values(self) -> dict[str, Any]:
            """What `self.log` had at the last look; `loss` only if it is not there under the user's own name."""
            if self._loss is None:
                return {"loss": None}  # not yet
            loss = float(self._loss)
            same = any(math.isclose(float(value), loss, rel_tol=1e-6) for value in self._of_step.values())
            return {**self._of_step, "loss": None if same else self._loss}

    for name in _EACH_BATCH:
        if hasattr(base, name):
            setattr(LeptonMetrics, name, None)  # Lightning calls what is callable
    return LeptonMetrics


def _loops(trainer: Any, batch: int) -> list[Loop]:
    batches, steps, epochs = trainer.num_training_batches, trainer.max_steps, trainer.max_epochs
    by_epochs = epochs is not None and epochs > 0
    if steps > 0 and not (by_epochs and epochs * batches / trainer.accumulate_grad_batches < steps):
        return [Loop("step", min(trainer.global_step, steps), steps)]
    if not by_epochs:
        return []  # until somebody stops it
    found = [Loop("epoch", min(trainer.current_epoch, epochs), epochs)]
    if math.isfinite(batches) and trainer.current_epoch < epochs:
        found.append(Loop("batch", min(batch, batches), batches))
    return found
