"""Tells the notebook what a cell's training does (ml/metrics), once in a while. In the remote kernel.

A thread reads the meter while a cell runs: twice a second at first, more rarely the longer the cell runs, so that a
job of days has some thousand readings. What the user logs is kept whole, and sent with the next reading.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..ml.metrics import Meter, Reading, watch

#: Seconds between readings: at first, at most, and as a share of the time that the cell has run.
SHORTEST, LONGEST, SHARE = 0.5, 10.0, 0.002


class Metering:
    """The metrics of one kernel's cells. `kernel` is the ipykernel."""

    def __init__(self, kernel: Any) -> None:
        self.meter = Meter()
        self._kernel = kernel
        self._parent: Any = None  # of the cell that runs; None between cells
        self._began = 0.0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        watch(self.meter)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Within, a cell runs, in this thread: what it does is told, at the end what it did since it was last told."""
        self._begin()
        try:
            yield
        finally:
            self._tell()
            with self._lock:
                self._parent = None

    @contextmanager
    def silent(self) -> Iterator[Callable[[dict[str, Any]], None]]:
        """Within, the meter is the caller's: nothing is told but the contents that the function yielded is given.

        For trials of a cell, whose curves would be mixed up.
        """
        with self._lock:
            parent, self._parent = self._parent, None
        try:
            yield functools.partial(self._send, parent)
        finally:
            with self._lock:
                self._parent = parent
                self.meter.begin()

    def _begin(self) -> None:
        with self._lock:
            self.meter.arrived.clear()
            self.meter.begin()
            self._parent, self._began = self._kernel.get_parent("shell"), time.monotonic()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="lepton metrics", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            self.meter.arrived.wait()
            self.meter.arrived.clear()
            self._tell()
            time.sleep(min(max(SHORTEST, SHARE * (time.monotonic() - self._began)), LONGEST))

    def _tell(self) -> None:
        with self._lock:
            if self._parent is None:
                return
            reading, logged = self.meter.read(), self.meter.logged()
            if reading is not None or logged:
                content = {**(_content(reading) if reading else {}), **({"logged": logged} if logged else {})}
                self._send(self._parent, content)

    def _send(self, parent: Any, content: dict[str, Any]) -> None:
        self._kernel.session.send(self._kernel.iopub_socket, "lepton_metrics", content, parent=parent)


def _content(reading: Reading) -> dict[str, Any]:
    return {
        "steps": reading.steps,
        "rate": reading.rate,
        "values": reading.values,
        "trainer": reading.trainer,
        "loops": [[loop.name, loop.done, loop.total] for loop in reading.loops],
    }
