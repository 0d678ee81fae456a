"""What is known of the training that goes on: written by the frameworks' hooks, read by a thread. In the kernel.

Hooks run in the middle of a training step, so what they do here is a few attributes; all the rest is done by `read`.
"""

from __future__ import annotations

import functools
import math
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from ._loops import Loop, around

#: Values that `lepton.log` was given and nobody has read yet; more in one moment than a curve can show.
MOST_LOGGED = 1000
#: Names of metrics at one moment; the notebook takes no more.
MOST_NAMES = 10_000


@dataclass(frozen=True)
class Reading:
    """All that is known at one moment. What a value is not finite for is None."""

    steps: int  # of the optimizer, since the cell began
    rate: float | None  # steps a second, of late
    values: dict[str, float | None]
    loops: list[Loop] = field(default_factory=list)  # the outermost first
    trainer: bool = False  # a training library knows the loops


class Listener:
    """Is told at once, in the thread that trains, and may end the training by what it raises. This one does nothing."""

    def stepped(self) -> None:
        """An optimizer has made a step."""

    def ended_epoch(self) -> None:
        """There are values that only an epoch has."""

    def logged(self, values: dict[str, float | None]) -> None:
        """The cell has logged these; None for what is not finite."""


class Trainer:
    """A training library of which the cell's training is: asked by the thread that reads. This one knows nothing."""

    over = False  # it trains no more
    parts = 1  # backwards of a step, each of which has that part of the loss

    def loops(self) -> list[Loop]:
        """How far it is, the outermost loop first."""
        return []

    def values(self) -> dict[str, Any]:
        """What it knows beside the hooks. None hides what a hook has under that name."""
        return {}


class Meter:
    """The training of one cell at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.listener: Listener | None = None
        self.arrived = threading.Event()  # there is something to read
        self.begin()

    def begin(self) -> None:
        """A cell begins: what an earlier one did is not its own."""
        self.steps = 0
        #: Make what Keras' `fit` is to call behind the callbacks that it was given.
        self.callbacks: list[Callable[[list[Any]], Any]] = []
        self.resuming = False  # the cell is to go on where it was
        self._epochs = 0
        self.due = True  # the next step shall look closer: at its gradients, and where in the cell it is
        self.owner: Any = None  # whose steps are counted: the first optimizer that made one
        self.looked = 0  # the last step that looked closer
        self.trainer: Trainer | None = None  # whose steps these are, if not the cell's own
        self.sources: dict[str, Callable[[], dict[str, Any]]] = {}  # who knows values, by name
        self.loops: list[Loop] = []
        self._outer: list[Loop] = []  # that the cell told us of
        self._said: set[str] = set()  # notes; each is said once a cell
        self._logged: list[tuple[float, float | None, dict[str, float | None]]] = []
        self._seen = (0, 0, time.monotonic())  # steps, epochs and moment of the last reading

    def step(self) -> bool:
        """One step was made; True if this one shall look closer."""
        self.steps += 1
        if self.listener is not None:
            self.listener.stepped()
        if not self.due:
            return False
        self.due = False
        self.looked = self.steps
        self.arrived.set()
        return True

    def begin_training(self, trainer: Trainer) -> None:
        """A training library's training begins, maybe not the first of this cell."""
        self.trainer, self.owner, self.due = trainer, None, True

    def own(self, owner: int) -> None:
        """From now on it is this optimizer's steps that are counted."""
        self.owner = owner
        if self.trainer is not None and self.trainer.over:
            self.trainer = None

    def in_epoch(self, epoch: int, count: int) -> None:
        """An epoch begins, as the cell itself says."""
        self._outer = [Loop("epoch", epoch, count)] if count else []
        self.epoch()

    def epoch(self) -> None:
        """Values came that only an epoch has: they are worth a reading of their own."""
        self._epochs += 1
        self.arrived.set()
        if self.listener is not None:
            self.listener.ended_epoch()

    def around(self) -> list[Loop]:
        """The loops that go on, as of the last step that looked closer: the outermost first."""
        trainer = self.trainer
        return [*self._outer, *self.loops, *(self.careful(trainer.loops)() or () if trainer is not None else ())]

    def careful(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        """`hook`, whose failure is said and is not the training's: another version of a library, for instance."""

        @functools.wraps(hook)
        def told(*args: Any, **options: Any) -> Any:
            try:
                return hook(*args, **options)
            except Exception as error:  # noqa: BLE001 - see above
                self._unread(f"what {hook.__module__.rpartition('.of_')[2]} tells", error)

        return told

    def find_loops(self, frame: FrameType | None) -> None:
        """Note in which loops of the user's code this step is; `frame` is where it was called from."""
        self.loops = around(frame)

    def log(self, values: dict[str, Any], step: float | None = None) -> None:
        """The user's own. Raises TypeError or ValueError for what is no number."""
        numbers = {}
        for name, value in values.items():
            try:
                numbers[name] = number(value)
            except (TypeError, ValueError) as error:
                raise type(error)(f"{name} is a {type(value).__name__}, not one number: {error}") from None
        numbers = self._few(numbers)
        with self._lock:
            if len(self._logged) >= MOST_LOGGED:
                del self._logged[: MOST_LOGGED // 2]
                self.say(f"over {MOST_LOGGED:,} values logged at once: only the newest are kept")
            self._logged.append((time.time(), step, numbers))
        self.arrived.set()
        if self.listener is not None:
            self.listener.logged(numbers)

    def logged(self) -> list[tuple[float, float | None, dict[str, float | None]]]:
        """What `log` was given since the last call."""
        with self._lock:
            found, self._logged = self._logged, []
        return found

    def read(self) -> Reading | None:
        """What is known now; None if no step was made since the last reading. Not for the thread that trains."""
        steps, epochs, now = self.steps, self._epochs, time.monotonic()
        before, epochs_before, then = self._seen
        if (steps, epochs) == (before, epochs_before):
            return None
        values = self._values()
        # The first steps have something to compile or to load, and began somewhere before the first reading.
        rate = (steps - before) / (now - then) if before and steps > before and now > then else None
        self._seen = steps, epochs, now
        self.due = True
        return Reading(steps, rate, values, self.around(), self.trainer is not None)

    def _values(self) -> dict[str, float | None]:
        """What all who know values know now. What cannot be read is left out, and said."""
        found: dict[str, float | None] = {}
        trainer = [("trainer", self.trainer.values)] if self.trainer is not None else []
        for origin, source in [*self.sources.items(), *trainer]:
            try:
                told = source()
            except Exception as error:  # noqa: BLE001 - a framework's own, for instance of a GPU that failed
                self._unread(f"what {origin} tells", error)
                continue
            for name, value in told.items():
                try:
                    if value is None:
                        found.pop(name, None)
                    else:
                        found[name] = number(value)
                except Exception as error:  # noqa: BLE001 - as above; a vector, a tensor that is gone
                    self._unread(name, error)
        return self._few(found)

    def _few(self, values: dict[str, float | None]) -> dict[str, float | None]:
        if len(values) <= MOST_NAMES:
            return values
        self.say(f"metrics: only the first {MOST_NAMES:,} of {len(values):,} names are told")
        return dict(list(values.items())[:MOST_NAMES])

    def _unread(self, what: str, error: Exception) -> None:
        words = (str(error).splitlines() or [""])[0][:200]
        self.say(f"metrics: {what} cannot be read ({type(error).__name__}: {words})", what)

    def say(self, text: str, about: str = "") -> None:
        """Show a note among the cell's outputs, once a cell for each thing that it is about."""
        if (about or text) not in self._said:
            self._said.add(about or text)
            sys.stderr.write(f"lepton: {text}\n")


def number(value: Any) -> float | None:
    """A number of the framework's or Python's; None if it is not finite. Raises TypeError, ValueError for others."""
    found = float(value)
    return found if math.isfinite(found) else None
