"""One pipeline of the automatic mode, made and judged: cheaply at first, and given up where it is not worth more.

Runs in the kernel that holds the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from ..errors import LeptonError
from . import frameworks
from ._clock import Clock, OutOfTime, Rounds
from ._pipelines import COSTS, Pipeline
from .comparing import macs, runner_of, times
from .compressors import Compressor, Task
from .compressors.distilling import Distilling
from .frameworks._base import Array
from .measuring import Latency, Metric, metric, sizes
from .methods import words
from .pareto import Candidate

#: Seconds and rounds of a look at the time that a candidate takes, at each batch.
LOOK, ROUNDS = 1.0, 9
#: A metric this many tolerances below, after the first rounds, does not come back with more of them.
HOPELESS = 8


class GivenUp(Exception):
    """The pipeline is not worth going on with. `metric`: how far it had come; `failed`: the step that can't be made."""

    def __init__(self, why: str, *, metric: float | None = None, failed: tuple[str, Any] | None = None) -> None:
        super().__init__(why)
        self.why, self.metric, self.failed = why, metric, failed


@dataclass(kw_only=True)
class Maker:
    """Makes candidates of one model. `timed`: speed is what the clock says; else it is work. `teach`: its answers are
    logits, from which those that are trained may learn."""

    model: Any
    evaluate: Callable[[Any], Any]
    task: Task
    clock: Clock
    tolerance: float
    timed: bool
    teach: bool = False
    student: Any = None
    examples: Sequence[Array] | None = None

    def __post_init__(self) -> None:
        self.framework = frameworks.of(self.model)
        with self.clock.piece("evaluate", last=True):
            self.base = metric(self.evaluate, self.model)
        with self.clock.piece("size", last=True):
            self.sizes = sizes(self.model, packing=False)
        self.work = self._work(self.model)

    def judged(self, model: Any, last: bool = False) -> Metric:
        """Its metric. Raises ConfigError where that is no number."""
        with self.clock.piece("evaluate", last=last):
            return metric(self.evaluate, model)

    def lost(self, found: Metric | float) -> float:
        """By how much the metric is lower than the model's."""
        return self.base.value - (found.value if isinstance(found, Metric) else found)

    def make(self, pipeline: Pipeline, *, longer: bool = False) -> Candidate:
        """The model that the pipeline makes, judged and measured. Raises GivenUp, OutOfTime."""
        steps = pipeline.steps(self.student, longer)
        model, work = self.model, self.work
        for index, (name, step, rounds) in enumerate(steps):
            with self._possible(name, getattr(pipeline, name)):
                model = self._stepped(model, name, step, rounds)
                if name != "runtime":
                    work = self._work(model)
                last = index == len(steps) - 1
                found = self.judged(model, last) if rounds or last else None
            if found is not None and self.lost(found) > self._hopeless:
                raise GivenUp(f"lost {self.lost(found):.4g} after {words([step])}", metric=found.value)
        assert found is not None  # there is at least one step, and the last is judged
        with self.clock.piece("size", last=True):
            size = sizes(model, packing=False)
        speed = self._timed(model) if self.timed else self.work / work / COSTS[pipeline.runtime]
        return Candidate(
            name=words([step for _, step, _ in steps]), model=model, metric=found, sizes=size, speed=speed
        )  # fmt: skip

    @property
    def _hopeless(self) -> float:
        return HOPELESS * self.tolerance or abs(self.base.value) / 20

    def _stepped(self, model: Any, name: str, step: Compressor, rounds: int) -> Any:
        if name == "student":
            student = self.student
            for _ in range(rounds):  # one by one, to look at the clock between
                self.clock.check()
                student = Distilling(student=student, rounds=1).compress(self.model, self.task)
            return student
        if not rounds:
            with self.clock.piece(name):
                return step.compress(model, self.task)
        return step.compress(model, replace(self.task, train=self._trainer(rounds)))

    def _trainer(self, rounds: int) -> Callable[[Any], object]:
        own = self.task.train
        if own is not None:

            def train(model: Any) -> None:
                own(model)
                self.clock.check()

            return train
        data, loss = self.task.data, self.task.loss
        assert data is not None and loss is not None  # what trains is not proposed without
        if self.teach:
            loss = self.framework.distilled(loss, self.model, self.task.temperature, self.task.alpha)
        return Rounds(
            self.framework, data, loss, count=rounds, rate=self.task.rate, seed=self.task.seed, check=self.clock.check
        )

    @contextmanager
    def _possible(self, name: str, value: Any) -> Iterator[None]:
        """Within: what may fail for this model; the words of the failure are kept."""
        try:
            yield
        except (OutOfTime, KeyboardInterrupt):
            raise
        except LeptonError as error:
            raise GivenUp(error.message, failed=(name, value)) from error
        except Exception as error:
            text = (str(error).strip().splitlines() or ["no words"])[0]
            raise GivenUp(f"{type(error).__name__}: {text}", failed=(name, value)) from error

    def _work(self, model: Any) -> float:
        """Multiply-accumulates where they are known, else parameters."""
        try:
            found = macs(model, self.examples)
        except Exception:  # noqa: BLE001 - it runs the model's own code; there is another way to tell
            found = None
        if not found:
            return float(sum(math.prod(weight.shape) for weight in self.framework.weights(model)))
        return float(found)

    def _timed(self, model: Any) -> float:
        """How many times as fast as the model, over all batches. Raises GivenUp where it can't be run for that."""
        assert self.examples is not None
        notes: list[str] = []
        runners = {
            name: runner
            for name, each in (("before", self.model), ("after", model))
            if (runner := runner_of(name, each, notes))
        }
        with self.clock.piece("look", last=True):
            found = times(
                runners, self.examples, notes, rounds=ROUNDS, seconds=LOOK, warm_up=2, threads=self.framework.threads()
            )
        return speed_of(found.get("before", ()), found.get("after", ()), notes)


def speed_of(before: Sequence[Latency], after: Sequence[Latency], notes: Sequence[str] = ()) -> float:
    """The geometric mean of the ratios at all batches that both were measured at. Raises GivenUp for none."""
    medians = {each.batch: each.median for each in before}
    ratios = [math.log(medians[each.batch] / each.median) for each in after if each.batch in medians]
    if not ratios:
        raise GivenUp("; ".join(notes) or "its time could not be measured")
    return math.exp(sum(ratios) / len(ratios))
