"""What `%%lepton_tune` runs where the cell shall run: trials of it, told in one line each, and what came of them.

In the remote kernel. All that is tuning is in `ml.tune`, which needs Python 3.10 and Optuna.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, LeptonError
from ._quiet_cells import Host, quiet
from ._several import led, share_machine, share_threads, stopping
from .training import trained

if TYPE_CHECKING:
    from ..ml.tune.result import Result
    from ..ml.tune.runner import InTurn
    from ..ml.tune.study import Study, Tried
    from ..ml.tune.trials import Cell

#: Seconds between looks at what other kernels do.
_LOOK = 0.2


def tuned(
    code: str,
    name: str,
    *,
    keep: Callable[[str, str], None],
    study: str,
    run: str,
    space: Sequence[str] = (),
    metric: str = "",
    maximize: bool = False,
    trials: int = 20,
    budget: float | None = None,
    sampler: str = "tpe",
    prune: str = "",
    seed: int = 0,
    out: Collection[str] = (),
    worker: int = 0,
    workers: int = 1,
    verbose: bool = False,
    training: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Run trials of the cell `code`: the best values, and a row for each trial of the study.

    Kernel 0 of `workers` begins the study's `run`, tells of all trials, shows the result, and keeps with the job what
    the best trial wrote; others run trials alone, and end with their process. Each trial trains as `training` says.
    Raises ConfigError when no trial can end well, MissingDependency.
    """
    host = Host.here("tuning")
    with ExitStack() as at_end:
        if worker:
            at_end.callback(host.shell.ask_exit)
        from ..ml.tune import literals
        from ..ml.tune import space as spaces
        from ..ml.tune.runner import InTurn
        from ..ml.tune.study import Plan, Study, space_of
        from ..ml.tune.trials import Cell

        plain = host.shell.transform_cell(code)
        tree = literals.parsed(plain)
        folder = os.path.join(host.staging.root, "studies")
        chosen = spaces.parse(space) or space_of(folder, study) or literals.offered(tree)
        literals.check(tree, chosen)
        own = literals.values(tree)
        first = {name: own.get(name, host.shell.user_ns.get(name)) for name in chosen}
        plan = Plan(space=chosen, metric=metric, maximize=maximize, sampler=sampler, pruner=prune, trials=trials,
                    seed=seed, first=first)  # fmt: skip
        opened = Study(folder, study, plan, worker)
        at_end.callback(opened.close)
        cell = Cell(
            code=plain,
            namespace=host.shell.user_ns,
            meter=host.metering.meter,
            folder=os.path.join(opened.path, "trials"),
            filename=host.shell.compile.cache(plain, host.shell.execution_count, raw_code=code),
            metric=metric,
            seed=seed,
            keep=tuple(out),
        )
        runner = InTurn(budget)
        stops = stopping(runner, opened.stop)
        share_machine(worker, workers)
        with host.metering.silent() as send, stops, host.trial(cell.params, cell.folder), cell.ready():
            share_threads(workers)
            trials_of = _Trials(opened, cell, host.shell, training or {}, verbose, None if worker else send)
            if worker:
                if not opened.await_begin(run):
                    raise ConfigError(f"nobody began the study {study!r} in time")
                with led(opened, runner):
                    runner.run(opened, trials_of.execute, trials_of.told)
                return {}, []
            trials_of.introduce(opened.begin(run), not space)
            try:
                runner.run(opened, trials_of.execute, trials_of.told)
            except BaseException as error:
                opened.stop(now=True)
                if isinstance(error, LeptonError):
                    host.show_raised(cell.raised)
                raise
            trials_of.await_others(runner)
        result = _result(opened, cell, trials_of, host)
        _leave(result, name, cell, keep)
        _bring_out(out, result, cell, trials_of, host)
        return dict(result.best.params) if result.best else {}, result.rows()


class _Trials:
    """Runs trials, keeps what the best one left, and tells of all of them: also of those of other kernels."""

    def __init__(
        self,
        study: Study,
        cell: Cell,
        shell: Any,
        training: Mapping[str, Any],
        verbose: bool,
        send: Callable[[dict[str, Any]], None] | None,
    ) -> None:
        self._study, self._cell, self._shell, self._training = study, cell, shell, training
        self._verbose, self._send = verbose, send
        self._shown: set[int] = set()
        self._best: Tried | None = None
        self.mine: Tried | None = None  # the best of this kernel's
        self.notes: list[str] = []
        self._how_told = False  # how a trial trained

    def introduce(self, before: int, by_itself: bool) -> None:
        """Tell what is going to be tuned, before it begins: `before` trials are there, the space was not asked for."""
        from ..ml.tune.space import words

        plan = self._study.plan
        why = "the study's own space" if before else "the cell's own numbers; --space names others"
        _say(f"lepton: tuning {words(plan.space)}{f'  ({why})' if by_itself else ''}")
        goal = f"{'highest' if plan.maximize else 'lowest'} {self._cell.metric or 'val_loss, or loss'}"
        how = f"{plan.sampler}{f', pruned by {plan.pruner}' if plan.pruner else ''}"
        there = f", {before} of them there already" if before else ""
        _say(f"lepton: {plan.trials} trials ({how}) for the {goal}{there}. To go on later: --study {self._study.name}")
        for each in self._study.tried():
            self._shown.add(each.number)
            self._better(each)

    def execute(self, number: int, params: dict[str, Any], report: Callable[[float, int], bool]) -> Tried:
        wanted, notes = report if self._study.plan.pruner else None, list[str]()
        try:
            with quiet(self._shell, self._verbose) as tail, trained(self._training, notes.append):
                found = self._cell.run(number, params, wanted)
        except KeyboardInterrupt:
            self._cell.discard(number)
            raise
        if tail.text and os.path.isdir(self._cell.folder_of(number)):
            with open(os.path.join(self._cell.folder_of(number), "output.txt"), "w", encoding="utf-8") as file:
                file.write(tail.text)
        return replace(found, notes=tuple(notes))

    def told(self, each: Tried) -> None:
        """A trial of this kernel's has ended."""
        if each.state == "complete" and self._beats(each, self.mine):
            if self.mine is not None:
                self._cell.discard(self.mine.number)
            self.mine = each
            self._cell.kept = dict(self._cell.found)
        else:
            self._cell.discard(each.number)
        self.show()

    def show(self) -> None:
        """Tell of trials that have ended since the last call."""
        if self._send is None:
            return
        for each in self._study.tried():
            if each.number not in self._shown:
                self._shown.add(each.number)
                self._better(each)
                self._tell(each)

    def await_others(self, runner: InTurn) -> None:
        """Let trials of other kernels come to their end; an interrupt ends them."""
        self._study.stop(now=runner.interrupted)
        try:
            while self._study.others_run():
                time.sleep(_LOOK)
                self.show()
        except KeyboardInterrupt:
            self._study.stop(now=True)
            runner.stopping = True
        if runner.stopping and len(self._study.tried()) < self._study.plan.trials:
            self.notes.append("Stopped before all trials were run.")
        elif lost := self._study.left_alone():
            trials, them = ("A trial was", "it") if lost == 1 else (f"{lost} trials were", "them")
            self.notes.append(f"{trials} lost with a kernel; --study {self._study.name} tries {them} again.")
        self.show()

    def _better(self, each: Tried) -> None:
        if each.state == "complete" and self._beats(each, self._best):
            self._best = each

    def _beats(self, each: Tried, other: Tried | None) -> bool:
        if each.value is None or other is None or other.value is None:
            return each.value is not None
        return each.value > other.value if self._study.plan.maximize else each.value < other.value

    def _tell(self, each: Tried) -> None:
        from ..ml.tune.result import shown

        done, total = len(self._shown), self._study.plan.trials
        value = f"{each.metric} {each.value:.5g}" if each.value is not None else ""
        if each.state == "pruned":
            value = f"pruned at {max(each.reports, default=0)}"
        if each.state == "failed":
            value = f"failed: {each.error[:80]}"
        values = " ".join(f"{name}={shown(given)}" for name, given in each.params.items())
        best = f"   best {self._best.value:.5g} (trial {self._best.number + 1})" if self._best is not None else ""
        if each is self._best:
            best = "   best so far"
        _say(f"{done:>{len(str(total))}}/{total}  {value}  {values}  {each.seconds:.3g} s{best}")
        if each.notes and not self._how_told:  # those of the best trial come at the end, those of all are in the file
            self._how_told = True
            _say("\n".join(f"  {note}" for note in each.notes))
        content: dict[str, Any] = {"values": {}, "loops": [["trial", min(done, total), total]]}
        if self._best is not None and self._best.value is not None:
            named = f"best {self._best.metric}"
            content["values"] = {named: self._best.value}
            content["logged"] = [[time.time(), each.number, {named: self._best.value}]]
        assert self._send is not None
        self._send(content)


def _result(study: Study, cell: Cell, trials: _Trials, host: Host) -> Result:
    """What came of it. Raises ConfigError when no trial came to its end."""
    from ..ml.tune.result import Result

    if study.plan.pruner and not any(each.reports for each in study.tried()):
        trials.notes.append("Nothing was pruned: no trial told its metric before its end.")
    result = Result.of(study, trials.notes)
    if result.best is None:
        failed = [each for each in result.trials if each.state == "failed"]
        if not failed:
            raise ConfigError("no trial came to its end", hint=f"--study {study.name} goes on with it.")
        if cell.raised is not None:
            host.show_raised(cell.raised)
        elif failed[0].traceback:
            _say(failed[0].traceback)
        count = "the only trial" if len(failed) == 1 else f"all {len(failed)} trials"
        goes_on = f"--study {study.name} goes on with it."
        hint = "What it raised is above." if failed[0].traceback else goes_on
        raise ConfigError(f"{count} failed; the first one with {failed[0].error}", hint=hint)
    return result


def _leave(result: Result, name: str, cell: Cell, keep: Callable[[str, str], None]) -> None:
    """Show the result; keep it as JSON, and what the best trial wrote, with the job."""
    from IPython.display import display

    from ..ml.tune.before import wrote

    assert result.best is not None
    os.makedirs(cell.folder, exist_ok=True)
    for folder in os.listdir(cell.folder):
        if folder != f"trial-{result.best.number}":
            shutil.rmtree(os.path.join(cell.folder, folder), ignore_errors=True)
    for path, called in wrote(cell.folder_of(result.best.number)):
        keep(path, called)
    told = os.path.join(cell.folder, f"{name}.tune.json")
    with open(told, "w", encoding="utf-8") as file:
        json.dump(result.to_json(), file, indent=1)
    keep(told, os.path.basename(told))
    os.unlink(told)
    display({"text/plain": str(result), "text/html": result._repr_html_()}, raw=True)


def _bring_out(out: Collection[str], result: Result, cell: Cell, trials: _Trials, host: Host) -> None:
    """Set the variables that the best trial left."""
    if not out or result.best is None:
        return
    if trials.mine is None or trials.mine.number != result.best.number:
        _say(
            f"lepton: {', '.join(out)}: the best trial ran in another kernel; run the cell with its values to have them"
        )
        return
    host.shell.user_ns.update(cell.kept)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
