"""A study: what was tried so far, in a file that outlives the kernel, and what to try next. Needs Optuna.

Runs in the kernel that runs the trials; several may work on one study. A study that was left in the middle goes on when
it is opened by its name again: trials whose kernel has died are tried once more.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError
from ._presence import Presence, turn
from .samplers import grid, optuna, pruner, quiet, sampler
from .space import Space, Value, parse, words

if TYPE_CHECKING:
    from optuna import Trial


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One trial that has ended. `state` is "complete", "pruned", "failed" or "lost", with its kernel."""

    number: int
    params: Mapping[str, Value]
    state: str
    value: float | None = None
    metric: str = ""
    seconds: float = 0.0
    error: str = ""  # one line
    traceback: str = ""
    reports: Mapping[int, float] = field(default_factory=dict)
    began: float = 0.0  # seconds since the epoch
    notes: Sequence[str] = ()  # what was said of how it trained


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a study is about. All that work on it say the same."""

    space: Space
    metric: str = ""  # "" is the usual one
    maximize: bool = False
    sampler: str = "tpe"
    pruner: str = ""  # "" prunes nothing
    trials: int = 20  # altogether, also those of earlier runs
    seed: int = 0
    first: Mapping[str, Value] = field(default_factory=dict)  # what the cell itself says: the first trial


class Study:
    """An open study. `folder` is where studies lie, `worker` tells one from others that work on it at the same time.

    Raises ConfigError for a study of that name which is about something else.
    """

    def __init__(self, folder: str, name: str, plan: Plan, worker: int = 0) -> None:
        self.name, self.plan = name, plan
        self.path = os.path.join(folder, name)
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        package = optuna()
        self._states = package.trial.TrialState
        from ._journal import JournalFile

        self._file = JournalFile(os.path.join(self.path, "journal"))
        try:
            with turn(self.path), quiet():
                self._study = package.create_study(
                    storage=package.storages.JournalStorage(self._file),
                    study_name=name,
                    load_if_exists=True,
                    direction="maximize" if plan.maximize else "minimize",
                    pruner=pruner(plan.pruner),
                )
                self._check()
                # What goes on must not propose again what it began with, nor two the same.
                seed = plan.seed + len(self._study.get_trials(deepcopy=False)) + 7919 * worker
                self._study.sampler = sampler(plan.sampler, plan.space, plan.trials, seed)
        except BaseException:
            self._file.close()
            raise
        self._presence = Presence(self.path)
        self._worker = self._leader = self._presence.worker

    def begin(self, run: str) -> int:
        """One run of this study begins, `run` is its mark: trials of dead kernels go back, a grid is laid out.

        Returns how many trials there are already. Others that work on it wait for the mark by `await_begin`.
        """
        with turn(self.path), quiet():
            self._give_back()
            tried = self._ended()
            if not tried and self.plan.first and self._fits(self.plan.first):
                self._study.enqueue_trial(dict(self.plan.first), skip_if_exists=True)
            if self.plan.sampler == "grid":
                for params in grid(self.plan.space)[: self.plan.trials]:
                    self._study.enqueue_trial(params, skip_if_exists=True)
            self._study.set_user_attr("stop", "")
            self._study.set_user_attr("leader", self._worker)
            self._study.set_user_attr("run", run)
        return len(tried)

    def await_begin(self, run: str, seconds: float = 300.0) -> bool:
        """Block until `begin` was called with this mark; False if it was not in time."""
        until = time.monotonic() + seconds
        while self._study.user_attrs.get("run") != run:
            if time.monotonic() > until:
                return False
            time.sleep(0.1)
        self._leader = str(self._study.user_attrs["leader"])
        return True

    def next(self) -> Trial | None:
        """The next trial, with its values in `params`; None when there are enough, or it was stopped."""
        with turn(self.path), quiet():
            if self.stopped or len(self._counted()) >= self._most():
                return None
            trial: Trial = self._study.ask()
            trial.set_user_attr("worker", self._worker)
        with quiet():
            for name, domain in self.plan.space.items():
                domain.suggest(trial, name)
        return trial

    def report(self, trial: Trial, value: float, number: int) -> bool:
        """Note the metric's value in the middle of a trial; whether the trial is not worth its end."""
        if not self.plan.pruner:
            return False
        with quiet():
            trial.report(value, number)
            return bool(trial.should_prune())

    def tell(self, trial: Trial, outcome: Tried) -> None:
        """A trial has ended. The disk has it on return."""
        about = {"metric": outcome.metric, "seconds": outcome.seconds}
        about |= {"error": outcome.error, "traceback": outcome.traceback} if outcome.error else {}
        about |= {"notes": list(outcome.notes)} if outcome.notes else {}
        with quiet():
            trial.set_user_attr("about", about)
            if outcome.state == "complete":
                self._study.tell(trial, outcome.value)
            else:
                state = self._states.PRUNED if outcome.state == "pruned" else self._states.FAIL
                self._study.tell(trial, state=state)
        self._file.sync()

    def drop(self, trial: Trial) -> None:
        """A trial was ended before its time: it does not count, and is tried again when the study goes on."""
        with turn(self.path), quiet():
            self._lose(trial)

    def stop(self, now: bool = False) -> None:
        """Nobody begins another trial after this; with `now`, those that run shall end."""
        with turn(self.path):
            self._study.set_user_attr("stop", "now" if now else "stop")

    @property
    def stopped(self) -> bool:
        return bool(self._study.user_attrs.get("stop"))

    @property
    def over(self) -> bool:
        """Whether this kernel's trial shall end: all shall, or the kernel that began the run has gone."""
        return self._study.user_attrs.get("stop") == "now" or not self._presence.lives(self._leader)

    def left_alone(self) -> int:
        """How many trials a kernel has begun and died in; `begin` has them tried again."""
        return sum(not self._presence.lives(worker) for worker in self._running().values())

    def tried(self) -> list[Tried]:
        """All trials that have ended, as they began."""
        return [_tried(trial) for trial in self._ended()]

    def others_run(self) -> bool:
        """Whether a trial of another living kernel goes on."""
        return any(worker != self._worker and self._presence.lives(worker) for worker in self._running().values())

    def _running(self) -> dict[Any, str]:
        """Trials that have begun and not ended, and by whom."""
        running = self._study.get_trials(deepcopy=False, states=(self._states.RUNNING,))
        return {trial.number: str(trial.user_attrs.get("worker", "")) for trial in running}

    def best(self) -> Tried | None:
        """The best trial that has come to its end."""
        found = [each for each in self.tried() if each.state == "complete" and each.value is not None]
        sign = -1 if self.plan.maximize else 1
        return min(found, key=lambda each: sign * (each.value or 0.0), default=None)

    def importance(self) -> dict[str, float]:
        """How much of the metric's spread each name explains, 0 to 1; {} when there are too few trials to say.

        By fANOVA (Hutter et al. 2014) where scikit-learn is installed, else by PED-ANOVA (Watanabe et al. 2023).
        """
        import optuna.importance as importance

        complete = [each for each in self.tried() if each.state == "complete"]
        if len(complete) < 4 or len(self.plan.space) < 2 or len({each.value for each in complete}) < 2:
            return {}
        has_forests = importlib.util.find_spec("sklearn") is not None  # fANOVA takes a forest apart
        fanova, light = importance.FanovaImportanceEvaluator, importance.PedAnovaImportanceEvaluator
        evaluator: Any = fanova(seed=self.plan.seed) if has_forests else light()
        with quiet():
            try:
                found = importance.get_param_importances(self._study, evaluator=evaluator)
            except (RuntimeError, ValueError):  # all the same, or too few
                return {}
        return {name: float(value) for name, value in found.items() if math.isfinite(value)}

    def close(self) -> None:
        """This kernel works on it no longer."""
        self._presence.close()
        self._file.close()

    def _check(self) -> None:
        """What the file says the study is about must be what the plan says."""
        plan = self.plan
        about = {
            "space": words(plan.space),
            "direction": "maximize" if plan.maximize else "minimize",
            "metric": plan.metric or "val_loss, or loss",
        }
        known = self._study.user_attrs.get("about")
        if known is None:
            self._study.set_user_attr("about", json.dumps(about))
            return
        before = json.loads(known)
        for what in before:
            if before[what] != about[what]:
                raise ConfigError(
                    f"the study {self.name!r} has another {what}: {before[what]}, not {about[what]}",
                    hint=f"Another --study begins a new one; the same {what} goes on with this one.",
                )

    def _give_back(self) -> None:
        for trial in self._study.get_trials(deepcopy=False, states=(self._states.RUNNING,)):
            if not self._presence.lives(str(trial.user_attrs.get("worker", ""))):
                self._lose(trial)

    def _lose(self, trial: Any) -> None:
        self._study._storage.set_trial_user_attr(trial._trial_id, "lost", True)
        self._study.tell(trial.number, state=self._states.FAIL)
        if set(trial.params) == set(self.plan.space):
            self._study.enqueue_trial(dict(trial.params))

    def _counted(self) -> list[Any]:
        running = (self._states.COMPLETE, self._states.PRUNED, self._states.FAIL, self._states.RUNNING)
        trials = self._study.get_trials(deepcopy=False, states=running)
        return [trial for trial in trials if not trial.user_attrs.get("lost")]

    def _ended(self) -> list[Any]:
        return [trial for trial in self._counted() if trial.state != self._states.RUNNING]

    def _most(self) -> int:
        return min(self.plan.trials, len(grid(self.plan.space))) if self.plan.sampler == "grid" else self.plan.trials

    def _fits(self, params: Mapping[str, Value]) -> bool:
        if self.plan.sampler == "grid":
            return False
        return all(name in params and domain.has(params[name]) for name, domain in self.plan.space.items())


def space_of(folder: str, name: str) -> dict[str, Any] | None:
    """The space of a study that is there already, so that it need not be said again; None if there is none.

    Raises MissingDependency.
    """
    path = os.path.join(folder, name, "journal")
    if not os.path.exists(path):
        return None
    package = optuna()
    from ._journal import JournalFile

    file = JournalFile(path)
    try:
        with quiet():
            storage = package.storages.JournalStorage(file)
            about = package.load_study(study_name=name, storage=storage).user_attrs["about"]
        return parse(json.loads(about)["space"].split("  "))
    except KeyError:
        return None
    finally:
        file.close()


def _tried(trial: Any) -> Tried:
    about = trial.user_attrs.get("about", {})
    state = {"COMPLETE": "complete", "PRUNED": "pruned"}.get(trial.state.name, "failed")
    return Tried(
        number=trial.number,
        params=dict(trial.params),
        state=state,
        value=trial.value if state == "complete" else None,
        metric=about.get("metric", ""),
        seconds=about.get("seconds", 0.0),
        error=about.get("error", ""),
        traceback=about.get("traceback", ""),
        reports=dict(trial.intermediate_values),
        began=trial.datetime_start.timestamp() if trial.datetime_start else 0.0,
        notes=tuple(about.get("notes", ())),
    )
