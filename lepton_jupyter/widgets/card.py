"""One job's card, from its first event to its end. Runs in the notebook's kernel.

A `Card` gathers what is known of a job: its events, the line about its link, what its host does. A thread of its own
draws it at most four times a second and carries out what its buttons ask, so neither the link nor the browser waits.
When the job is over it is drawn once more, without widgets, and that stays in the notebook.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..errors import LeptonError, LinkLost
from ..job import Job, JobState
from ..outputs import View
from ..remote import Run
from ..remote.samples import clean_usage
from ..wire import Event
from . import static
from .clicks import Clicks
from .panel import Panel

#: Seconds between two drawings.
_EVERY = 0.25
#: Seconds between looks at what the host does, while somebody looks at the card.
_SAMPLE_EVERY = 1.0
#: What the host did is not shown as what it does, when it is older than this many seconds.
_STALE = 6.0


class Card:
    """The card of the job that `run` follows; `price` is per hour. Its methods may be called from any thread.

    `cancel` stops the job for good and may raise LeptonError. `waited_for` says whether a cell blocks until the job
    ends, and so can be detached from it.
    """

    def __init__(
        self, kernel: Any, run: Run, job: Job, *, price: float, waited_for: bool, cancel: Callable[[], object]
    ) -> None:
        self._run, self._job, self._price, self._cancel = run, job, price, cancel
        self._lock = threading.RLock()
        self._note = ""
        self._started: float | None = None
        self._ended: float | None = None
        self._state = JobState.NEW
        self._sample: Mapping[str, Any] = {}
        self._usage: Mapping[str, Any] = {}  # of the host by the whole job, known at its end
        self._sampled = float("-inf")
        self._asked: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._stopping = False
        self._over = threading.Event()
        self._redraw: Callable[[], None] = lambda: None
        self.detached = False  # whether the person wants the cell to end before the job does
        self._clicks = Clicks.of(kernel)
        self._panel = Panel(kernel, self.facts(), lambda: self._asked.put("stop"), self._detach if waited_for else None)

    def start(self, redraw: Callable[[], None]) -> None:
        """Live until the job is over; `redraw` replaces what stands in the notebook by the present `content`."""
        self._redraw = redraw
        threading.Thread(target=self._live, name="lepton card", daemon=True).start()

    def content(self) -> dict[str, Any]:
        """The content of the display message that shows it: live while the job goes on, plain HTML and text after."""
        model_id = "" if self._over.is_set() else self._panel.model_id
        return {
            "data": static.bundle(self.facts(), model_id),
            "metadata": static.metadata(self._job.job_id),
            "transient": {"display_id": f"lepton-card-{self._job.job_id}-{id(self):x}"},
        }

    def add(self, event: Event) -> None:
        """Take note of an event; after the last one the card is drawn for good before this returns."""
        if self._over.is_set() or event.event != "state":
            return
        with self._lock:
            self._state = JobState[event.fields["state"]]
            if self._state is JobState.RUNNING:
                self._started = float(event.fields["time"])
            elif self._state.final:
                self._ended, self._note = float(event.fields["time"]), str(event.fields.get("cause", ""))
                self._usage = clean_usage(event.fields.get("usage"))
        if self._state.final:
            self.settle()
        else:
            self._redraw()  # the picture behind the widgets, for a page that is read without a kernel

    def note(self, text: str) -> None:
        """Have one line about the job shown; "" takes it away."""
        self._note = text.removeprefix(f"lepton: {self._run.where}: ")

    def hear(self) -> None:
        """Take in clicks, where that is for the blocked main thread to do."""
        self._clicks.hear()

    def left(self) -> None:
        """The cell ends: draw the card for good if the job is over; else it goes on, and no cell waits for it."""
        if self._run.over:
            self.settle()
        else:
            self._panel.detached()

    def settle(self, state: JobState | None = None, note: str = "") -> None:
        """Draw it for good, as the job is now or as it is said to be. Doing it again is harmless."""
        with self._lock:
            if self._over.is_set():
                return
            self._over.set()
            lost = self._run.lost
            if state is not None:
                self._state, self._note = state, note
            elif lost is not None and not self._state.final:
                self._note = lost.message.splitlines()[0]
                if not isinstance(lost, LinkLost):
                    self._state = JobState.FAILED
        self._redraw()
        self._panel.close()
        self._asked.put("")

    def facts(self) -> static.Facts:
        """What is known at this moment."""
        with self._lock:
            fresh = time.monotonic() - self._sampled < _STALE
            facts = static.Facts(
                job_id=self._job.job_id,
                title=self._job.spec.title,
                target=self._run.where,
                state=self._state,
                note=self._note,
                started=self._started,
                ended=self._ended,
                price=self._price,
                telemetry={**self._job.telemetry, **self._run.telemetry(), "usage": self._usage},
                sample=self._sample if fresh else {},
            )
        if self._run.question is not None and not facts.note:
            return replace(facts, note="waits for an answer")
        return facts

    def _detach(self) -> None:
        self.detached = True

    def _live(self) -> None:
        stop_samples: Callable[[], None] | None = None
        while not self._over.is_set():
            if stop_samples is None and self._state is JobState.RUNNING and self._run.client is not None:
                stop_samples = self._run.client.watch(_SAMPLE_EVERY, self._on_sample)
            try:
                asked = self._asked.get(timeout=_EVERY)
            except queue.Empty:
                asked = ""
            if asked == "stop":
                self._stop()
            if self._run.lost is not None:
                self.settle()
            with self._lock:
                if not self._over.is_set():
                    self._panel.update(self.facts())
        if stop_samples is not None:
            stop_samples()

    def _stop(self) -> None:
        """Interrupt the job; when that was done before, stop it for good."""
        if self._run.client is None:
            self._note = "it is being started; the notebook's stop button stops that"
        elif not self._stopping:
            self._stopping = True
            self._run.interrupt()
            self._panel.stopping()
        else:
            self._note = "being stopped for good"
            self._panel.update(self.facts())
            try:
                self._cancel()
            except LeptonError as error:
                self._note = error.message.splitlines()[0]

    def _on_sample(self, sample: Mapping[str, Any]) -> None:
        with self._lock:
            self._sample, self._sampled = sample, time.monotonic()


class CardView:
    """A view of a job that keeps its card up to date, and shows its outputs in `outputs` when there is one.

    The line about the link is the card's, so the cell need not be cleared to take it away.
    """

    def __init__(self, card: Card, outputs: View | None) -> None:
        self._card, self._outputs = card, outputs

    def show(self, event: Event) -> None:
        if self._outputs is not None:
            self._outputs.show(event)
        self._card.add(event)

    def notice(self, text: str) -> None:
        self._card.note(text)
