"""Who runs the trials of a study, and in which order. Runs in the kernel.

A `Runner` is given a study that proposes and a function that runs one trial; another one may spread them over machines.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from ...errors import ConfigError
from .study import Study, Tried
from .trials import NoMetric

#: Trials that fail in the same way, with none that did not, before it is the cell's own mistake.
_ALIKE = 3

#: Runs one trial: its number, its values, and what is told each value of the metric (True ends it).
Execute = Callable[[int, Any, Callable[[float, int], bool]], Tried]


class Runner(Protocol):
    """Runs trials until the study has no more."""

    def run(self, study: Study, execute: Execute, told: Callable[[Tried], None]) -> None:
        """`told` hears of each trial that has ended. Raises ConfigError when no trial can end well."""


class InTurn:
    """One trial after another, in this process. `seconds`: none begins later than that."""

    def __init__(self, seconds: float | None = None) -> None:
        self._seconds = seconds
        self.stopping = False  # set by whoever wants it to end after the present trial
        self.interrupted = False  # the present trial was ended by KeyboardInterrupt
        self.busy = False  # a trial runs

    def run(self, study: Study, execute: Execute, told: Callable[[Tried], None]) -> None:
        until = None if self._seconds is None else time.monotonic() + self._seconds
        failures: list[str] = []
        ended_well = any(each.state != "failed" for each in study.tried())
        while not self.stopping and (until is None or time.monotonic() < until):
            trial = study.next()
            if trial is None:
                return
            params, number = dict(trial.params), trial.number
            self.busy = True
            try:
                found = execute(number, params, lambda value, count: study.report(trial, value, count))  # noqa: B023
            except KeyboardInterrupt:
                study.drop(trial)
                self.stopping = self.interrupted = True
                break
            except NoMetric as error:
                found = Tried(number=number, params=params, state="failed", error=error.message.splitlines()[0])
                study.tell(trial, found)
                told(found)
                if not ended_well:
                    raise
                continue
            finally:
                self.busy = False
            study.tell(trial, found)
            told(found)
            ended_well = ended_well or found.state != "failed"
            failures.append(found.error)
            if not ended_well and len(failures) >= _ALIKE and len(set(failures)) == 1:
                hint = _FIRST if found.traceback else "The metric has to be a finite number in at least some trials."
                raise ConfigError(f"all {len(failures)} trials failed, each with {failures[0]}", hint=hint)
        if self.stopping:
            study.stop(now=self.interrupted)


_FIRST = "What the first one raised is above."
