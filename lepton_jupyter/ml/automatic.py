"""The automatic mode: pipelines are tried, as long as there is time, for the best size and speed within a tolerance.

Runs in the kernel that holds the model. Optuna's TPE (Bergstra et al. 2011), seeded, proposes; each proposal is trained
for a few rounds first and given up early where the metric has fallen far below the tolerance; what is near it is made
again with more rounds. What counts is the product of how many times smaller the (zipped) file is and how many times
faster the answers come, as the clock says. With a limit on trials, work stands for the clock (multiply-accumulates,
weighted by what a runtime makes of them), so that the same seed gives the same answer wherever time does not run out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ..errors import ConfigError, MissingDependency
from ._clock import OutOfTime
from ._making import GivenUp, Maker
from ._pipelines import Pipeline, able, start
from .methods import words
from .pareto import Candidate, best, front
from .report import Tried

#: So many proposals in a row that were tried before: there is nothing new any more.
REPEATS = 40
#: A step that fails so often, and never worked, is not proposed again.
FAILURES = 2
#: How much longer than its first rounds a pipeline may take that is made again, to fit into the time left.
AGAIN = 5


class Search:
    """What was tried, and the best of it. `trials`: how many at most; None: as time allows."""

    def __init__(
        self, maker: Maker, *, trials: int | None = None, progress: Callable[[float, str], object] | None = None
    ) -> None:
        self.tried: list[Tried] = []
        #: Those that no other beats.
        self.front: list[Candidate] = []
        #: The first guesses that there was no time for.
        self.untried: list[str] = []
        self._maker, self._trials, self._progress = maker, trials, progress
        trains = maker.task.train is not None or maker.task.loss is not None
        self._able = able(maker.framework.name, trains, maker.student is not None)
        self._begun = {Pipeline()}
        #: Runtimes that were ruled out.
        self._out: set[Any] = set()
        self._failures: dict[tuple[str, Any], int] = {}
        self._worked: set[tuple[str, Any]] = set()

    def run(self) -> Candidate:
        """The best within the tolerance. Raises ConfigError where nothing is, and shows the nearest."""
        optuna = _optuna()
        with _hushed(optuna):
            sampler = optuna.samplers.TPESampler(seed=self._maker.task.seed, n_startup_trials=8)
            study = optuna.create_study(direction="maximize", sampler=sampler)
            guesses = start(self._able)
            for guess in guesses:
                study.enqueue_trial(guess)
            ended = self._propose(study)
        if not ended:
            left = {self._suggested(optuna.trial.FixedTrial(guess)): None for guess in guesses}
            steps = [each.steps(self._maker.student, longer=False) for each in left if each not in self._begun]
            self.untried = [words([step for _, step, _ in each]) for each in steps]
        return self.best()

    def best(self) -> Candidate:
        """The best within the tolerance. Raises ConfigError where nothing is, and shows the nearest."""
        within = [each for each in self.front if self._maker.lost(each.metric) <= self._maker.tolerance]
        found = best(within, self._maker.sizes.zipped)
        if found is None:
            raise self._nothing()
        return found

    def _propose(self, study: Any) -> bool:
        """Try until there is nothing new, or the trials are used up; False where the time was over before."""
        known: dict[Pipeline, float] = {Pipeline(): 0.0}
        repeats, clock = 0, self._maker.clock
        while repeats < REPEATS and (self._trials is None or len(self.tried) < self._trials):
            if clock.left <= 0:
                return False
            trial = study.ask()
            pipeline = self._suggested(trial)
            repeats = repeats + 1 if pipeline in known else 0
            if not repeats:
                try:
                    known[pipeline] = self._try(pipeline)
                except OutOfTime:
                    return False
            study.tell(trial, known[pipeline])
        return True

    def _try(self, pipeline: Pipeline) -> float:
        """How good it is: what it gains, or less than nothing where the metric lost too much. Raises OutOfTime."""
        maker, began = self._maker, time.monotonic()
        self._begun.add(pipeline)
        steps = pipeline.steps(maker.student, longer=False)
        name = words([step for _, step, _ in steps])
        self._tell(name)
        found, reached, why = None, None, ""
        try:
            found = maker.make(pipeline)
            trains = any(rounds for _, _, rounds in steps)
            fits = self._trials is not None or maker.clock.left > AGAIN * (time.monotonic() - began)
            if maker.lost(found.metric) > maker.tolerance and trains and fits:
                self._tell(f"{name}, with more rounds")
                found = maker.make(pipeline, longer=True)
            if (lost := maker.lost(found.metric)) > maker.tolerance:
                why = f"lost {lost:.4g}, the tolerance is {maker.tolerance:g}"
            self._worked.update((step, getattr(pipeline, step)) for step, _, _ in steps)
        except GivenUp as error:
            why, reached = error.why, error.metric
            if error.failed is not None:
                self._rule_out(*error.failed)
        except OutOfTime:
            why = "the time ran out"
            raise
        finally:
            self.tried.append(
                Tried(
                    name=found.name if found else name,
                    why=why,
                    seconds=time.monotonic() - began,
                    metric=found.metric.value if found else reached,
                    zipped=found.sizes.zipped if found else None,
                    speed=found.speed if found else None,
                )
            )
        if found is not None:
            self.front = front([*self.front, found])
            if not why:
                return found.gain(maker.sizes.zipped)
            reached = found.metric.value
        unit = maker.tolerance or abs(maker.base.value) / 100 or 1.0
        return -1 - (10 if reached is None else min(maker.lost(reached) / unit, 10))

    def _rule_out(self, step: str, value: Any) -> None:
        """Note a failure; what fails again and again is not proposed any more.

        Runtimes fail one by one; where none ever worked (a model that can't be exported), all of them do.
        """
        for place in ((step, value), (step, None)) if step == "runtime" else ((step, None),):
            self._failures[place] = self._failures.get(place, 0) + 1
            worked = place in self._worked or (place[1] is None and any(name == step for name, _ in self._worked))
            if worked or self._failures[place] < FAILURES:
                continue
            if step == "runtime":  # Optuna's choices stay the same; what is chosen then is none
                self._out |= {value} if place[1] is not None else {*self._able[step]}
            else:
                self._able.pop(step, None)

    def _suggested(self, trial: Any) -> Pipeline:
        """As Optuna suggests it, without a runtime that was ruled out."""
        pipeline = Pipeline.suggested(trial, self._able)
        return replace(pipeline, runtime=0) if pipeline.runtime in self._out else pipeline

    def _tell(self, name: str) -> None:
        if self._progress is not None:
            clock, done = self._maker.clock, len(self.tried) / self._trials if self._trials else 0.0
            self._progress(min(max(clock.gone / clock.budget, done), 1), name)

    def _nothing(self) -> ConfigError:
        """What to say when nothing is within the tolerance: which came nearest."""
        maker = self._maker
        known = [each for each in self.tried if each.metric is not None]
        if not known:
            reasons = "; ".join(dict.fromkeys(f"{each.name}: {each.why}" for each in self.tried)) or "nothing was tried"
            hint = "Say what to do: methods=[…], or mend what is said above."
            if self.untried:
                judging = f"to judge a model once took {maker.clock.took('evaluate'):.1f} s"
                hint = f'Give more time, budget="10m" ({judging}), or say what to do: methods=[…].'
            return ConfigError(f"nothing was compressed to its end in {maker.clock.gone:.1f} s: {reasons}", hint=hint)
        near = max(known, key=lambda each: each.metric or 0.0)
        assert near.metric is not None
        return ConfigError(
            f"of {len(self.tried)} pipelines none stays within {maker.tolerance:g} of the metric {maker.base.value:.4f}"
            f"; the nearest is {near.name} with {near.metric:.4f}",
            hint=f"tolerance={maker.lost(near.metric):.2g} would take it; or give more time: budget=.",
        )


def _optuna() -> Any:
    try:
        import optuna
    except ModuleNotFoundError:
        raise MissingDependency(
            "the automatic mode needs the package 'optuna', which is not installed here",
            hint='Install it: pip install "lepton-jupyter[compress]"',
        ) from None
    return optuna


@contextmanager
def _hushed(optuna: Any) -> Iterator[None]:
    """Within: Optuna does not tell of each trial; we do."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)
