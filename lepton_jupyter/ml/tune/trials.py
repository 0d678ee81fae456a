"""One trial: the cell, with a trial's values in place of its own. Runs in the kernel, in the thread of its cells."""

from __future__ import annotations

import ast
import copy
import gc
import hashlib
import importlib
import linecache
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ...errors import ConfigError
from ..metrics import Listener, Meter
from .before import Before, Place, randomness, seed
from .literals import parsed, replaced
from .space import Value
from .study import Tried
from .watching import Pruned, Watch

_FRAMEWORKS = ("numpy", "torch", "tensorflow", "keras")
_LONGEST = 20_000

Report = Callable[[float, int], bool]


class NoMetric(ConfigError):
    """The cell ended well and told no metric."""


@dataclass(kw_only=True)
class Cell:
    """Runs trials of one cell. `within` is put around each: what the cell prints is not the study's."""

    code: str  # plain Python
    namespace: dict[str, Any]
    meter: Meter
    folder: str  # where trials get folders of their own
    filename: str = ""  # by which its lines are found, if somebody else knows them already
    metric: str = ""
    seed: int = 0
    keep: Collection[str] = ()  # variables of the best trial that are wanted
    params: dict[str, Value] = field(default_factory=dict)  # the present trial's
    kept: dict[str, Any] = field(default_factory=dict)
    raised: BaseException | None = None  # what the first trial that failed raised

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Within, trials run; after it, all is as it was before. Imports the frameworks that the cell imports."""
        _import(parsed(self.code))
        if not self.filename:
            self.filename = f"<cell {hashlib.sha256(self.code.encode()).hexdigest()[:12]}>"
            lines = self.code.splitlines(keepends=True)
            linecache.cache[self.filename] = (len(self.code), None, lines, self.filename)  # the meter reads its loops
        self._before, self._place = Before(self.namespace), Place(self.folder)
        self._watch = Watch(self.meter, self.metric)
        gc.collect()
        gc.freeze()  # what is there now need not be looked through after each trial
        try:
            with randomness():
                yield
        finally:
            self.meter.listener = None
            gc.unfreeze()

    def folder_of(self, number: int) -> str:
        return os.path.join(self.folder, f"trial-{number}")

    def run(self, number: int, params: Mapping[str, Value], report: Report | None) -> Tried:
        """One trial; nothing of it stays but its folder and `found`, the variables it is to keep.

        What the cell raises makes it fail. Raises NoMetric, and KeyboardInterrupt.
        """
        began, clock = time.time(), time.monotonic()
        self._watch.begin(report)
        self.found: dict[str, Any] = {}
        state, value, metric, error, trace = "failed", None, self.metric, "", ""
        try:
            self._execute(f"trial-{number}", params, self._watch)
            metric, value, error = self._outcome()
            state = "failed" if error else "complete"
        except Pruned:
            state = "pruned"
        except (NoMetric, KeyboardInterrupt):
            raise
        except BaseException as raised:  # noqa: BLE001 - also SystemExit and what frameworks derive from BaseException
            error = f"{type(raised).__name__}: {raised}".splitlines()[0][:300]
            trace = "".join(traceback.format_exception(type(raised), raised, own(raised)))[-_LONGEST:]
            self.raised = self.raised or raised
        finally:
            self.found = {name: self._kept(name) for name in self.keep if name in self.namespace}
            self._restore()
        return Tried(number=number, params=dict(params), state=state, value=value, metric=metric, error=error,
                     traceback=trace, seconds=time.monotonic() - clock, began=began)  # fmt: skip

    def probe(self, params: Mapping[str, Value]) -> None:
        """Run the cell for a listener of the meter's; nothing of it stays. Raises what either raises."""
        try:
            self._execute("probe", params, self.meter.listener)
        finally:
            self._restore()
            shutil.rmtree(os.path.join(self.folder, "probe"), ignore_errors=True)

    def _execute(self, folder: str, params: Mapping[str, Value], listener: Listener | None) -> None:
        self.meter.begin()
        seed(self.seed)
        self.params.clear()
        self.params.update(params)
        code = compile(replaced(self.code, params), self.filename, "exec", dont_inherit=True)
        for name, given in params.items():
            self.namespace[name] = given  # for a name that the cell reads and does not assign
        self.meter.listener = listener
        try:
            with self._place.of(folder):
                exec(code, self.namespace)  # noqa: S102 - it is the user's cell, which is what we are for
        finally:
            self.meter.listener = None

    def _restore(self) -> None:
        self.params.clear()
        self._before.restore()
        _tidy()

    def _kept(self, name: str) -> Any:
        """A variable as this trial leaves it, also when it was there before and will be as it was."""
        value = self.namespace[name]
        return copy.deepcopy(value) if self._before.has(value) else value

    def _outcome(self) -> tuple[str, float | None, str]:
        found = self._watch.outcome(self.namespace)
        if found is None:
            raise self._no_metric()
        name, value = found
        return name, value, "" if value is not None else f"{name} is not finite"

    def _no_metric(self) -> NoMetric:
        told = f" It told {', '.join(self._watch.known)}." if self._watch.known else ""
        if self.metric:
            has = self.namespace.get(self.metric, self)
            kind = "" if has is self else f", and its variable {self.metric} is a {type(has).__name__}, not a number"
            return NoMetric(
                f"the cell ended well, but never told the metric {self.metric!r}{kind}.{told}",
                hint=f"In the cell: lepton.log({self.metric}=…), or a variable {self.metric} that is a number.",
            )
        return NoMetric(
            f"the cell ended well, but told neither val_loss nor loss.{told}",
            hint="In the cell: lepton.log(val_loss=…); or --metric NAME for another metric or a variable of the cell.",
        )

    def discard(self, number: int) -> None:
        """The folder of a trial that is not the best."""
        shutil.rmtree(self.folder_of(number), ignore_errors=True)


def own(error: BaseException) -> Any:
    """The traceback from the cell's first frame on, without ours."""
    here, trace = __file__, error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == here:
        trace = trace.tb_next
    return trace


def _import(tree: ast.Module) -> None:
    """Import frameworks now, so that the first trial is like the others: as quick, and from the same seed."""
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        for name in {name.partition(".")[0] for name in names} & set(_FRAMEWORKS):
            try:
                importlib.import_module(name)
            except ImportError:
                pass  # the trial will say so, in the cell's own line


def _tidy() -> None:
    """Let go of what a trial held: memory of the next one."""
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
