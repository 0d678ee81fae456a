"""Keras' `fit` goes on by itself: a callback keeps each epoch, and the next run has its end. In the remote kernel.

Keras' own BackupAndRestore writes over the file that it would restore from, and knows neither what other callbacks do
nor where the order of the examples was (docs/decisions/0041-checkpoints.md).
"""

from __future__ import annotations

import inspect
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import keras

from ...errors import LeptonError
from .snapshot import Copies, Snapshot
from .states import chance, put_back, put_chance_back, state
from .store import Store

#: Seconds that the data of the epochs behind are gone over to find their place.
SEARCH = 60.0
_PLAIN = (bool, int, float, str)
_END = object()


class KeepEpochs(keras.callbacks.Callback):  # type: ignore[misc]
    """Of one `fit`, behind the callbacks that the user gave it."""

    def __init__(self, store: Store, others: Sequence[Any], tell: Callable[[str], None]) -> None:
        super().__init__()
        self._store, self._tell, self._copies = store, tell, Copies()
        self._others = [each for each in others if type(each).__module__.partition(".")[0] == "keras"]
        self._number = self._behind = 0
        self._first: int | None = None  # the epoch that `fit` was to begin with
        self._history: dict[str, Any] = {"epochs": [], "values": {}}
        self._earlier: dict[str, Any] | None = None  # the history that Keras does not have yet
        self._ended: dict[str, Any] | None = None  # random numbers as they were at the end of a `fit` that is over

    def on_train_begin(self, logs: Any = None) -> None:
        """Put back what was kept. Raises ConfigError if the model is another one, and as `Store.newest` does."""
        self._begun = [_plain(each) for each in self._others]
        found = self._store.newest()
        if not found:
            return
        put_back("model", self.model, found["model"])
        for callback, (name, kept) in zip(self._others, found["callbacks"]):
            if type(callback).__name__ == name:
                vars(callback).update(kept)
        run, epochs = found["run"], self.params["epochs"]
        self._number, self._behind, self._first = run["number"], run["behind"], run["first"]
        self._history = self._earlier = run["history"]
        if run["stopped"] or self._behind >= epochs:
            self._tell(f"--resume: `fit` had ended after epoch {self._behind}; its model is as it was then")
            self.model._initial_epoch, self._ended = epochs, run["chance"]
            return
        self._tell(f"--resume: `fit` goes on after epoch {self._behind} of {epochs}")
        self.model._initial_epoch = self._behind
        if not _go_over(self._behind - run["first"]):
            self._tell("--resume: the order of the examples is drawn anew, it could not be found")
        put_chance_back(run["chance"])

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._first = epoch if self._first is None else self._first
        self._tell_history()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._behind = epoch + 1
        self._history["epochs"].append(epoch)
        for name, value in (logs or {}).items():
            self._history["values"].setdefault(name, []).append(value)
        if self._behind < self.params["epochs"] and not self.model.stop_training:  # else `on_train_end` keeps it
            self._keep(stopped=False)

    def on_train_end(self, logs: Any = None) -> None:
        self._tell_history()
        self.model._initial_epoch = None  # else the model's next `fit` would begin there
        if self._ended is not None:
            put_chance_back(self._ended)  # for what the cell does next
        elif self._first is not None:
            self._keep(stopped=self._behind < self.params["epochs"])

    def _tell_history(self) -> None:
        """Let what `fit` gives have the epochs of before. Keras empties it when it begins."""
        if self._earlier is not None:
            history = self.model.history
            history.epoch = list(self._earlier["epochs"])
            history.history = {name: list(values) for name, values in self._earlier["values"].items()}
            self._earlier = None

    def _keep(self, *, stopped: bool) -> None:
        """The training goes on when that fails, and the user is told."""
        self._store.settle()
        self._number += 1
        others = [
            [
                type(each).__name__,
                {name: value for name, value in _plain(each).items() if _other(value, then.get(name))},
            ]
            for each, then in zip(self._others, self._begun)
        ]
        run = {
            "number": self._number, "behind": self._behind, "first": self._first, "stopped": stopped,
            "history": self._history, "chance": chance(),
        }  # fmt: skip
        try:
            snapshot = Snapshot({"model": state(self.model), "callbacks": others, "run": run}, self._copies)
        except LeptonError as error:
            self._tell(f"epoch {self._behind} is not kept: {error}")
        else:
            self._store.write(self._number, snapshot)


def _plain(callback: Any) -> dict[str, Any]:
    """What a callback of Keras' knows beside its options, if it has a form: numbers, texts, the best weights."""
    options = inspect.signature(type(callback)).parameters
    return {name: value for name, value in vars(callback).items() if name not in options and _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if type(value) in (list, tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, _PLAIN) or type(value).__module__ == "numpy"


def _other(value: Any, then: Any) -> bool:
    """Whether it is not what it was when `fit` began."""
    return value is not then and not (isinstance(value, _PLAIN) and value == then)


def _go_over(epochs: int) -> bool:
    """Draw the order of the examples of so many epochs, as `fit` does. False if that fails, or would take too long.

    Its iterator has no name outside of it, and its data sets draw from a state that can't be kept.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not (frame.f_code.co_name == "fit" and "epoch_iterator" in frame.f_locals):
        frame = frame.f_back
    if frame is None:
        return False
    iterator, until = frame.f_locals["epoch_iterator"], time.monotonic() + SEARCH
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the training says again what there is to say
        for _ in range(epochs):
            with iterator.catch_stop_iteration():
                for begin, end, batches in iterator:
                    if time.monotonic() > until:
                        iterator.reset()
                        return False
                    _take(batches, end - begin + 1)
    return True


def _take(batches: Any, count: int) -> None:
    """Let go of a step's batches. Raises StopIteration where `fit` would see that there are no more."""
    if isinstance(batches, (list, tuple)):
        return  # taken already, with backends other than TensorFlow
    for number in range(count):
        if next(batches, _END) is _END:
            if number == 0:
                raise StopIteration
            return
