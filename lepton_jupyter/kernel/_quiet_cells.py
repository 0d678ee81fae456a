"""The kernel around a cell that runs many times, for tuning and finding: what it prints is held back.

In the remote kernel.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError

#: Characters of a trial's output that are kept, from its end.
_KEPT = 100_000


@dataclass(frozen=True)
class Host:
    """The parts of this kernel."""

    shell: Any
    staging: Any
    metering: Any

    @classmethod
    def here(cls, what: str) -> Host:
        """Raises ConfigError where `what` cannot be done: on an old Python, or outside of a job."""
        if sys.version_info < (3, 10):
            here = f"{sys.version_info[0]}.{sys.version_info[1]}"
            raise ConfigError(
                f"{what} needs Python 3.10 or newer, and this kernel has {here} ({sys.executable})",
                hint="Name a newer one there: %lepton_target add NAME URL --python /path/to/python3, or --env.",
            )
        from IPython import get_ipython

        shell = get_ipython()
        kernel: Any = getattr(shell, "kernel", None)
        if getattr(kernel, "_metering", None) is None:
            raise ConfigError(f"{what} is for cells that a notebook sends with %%lepton_tune")
        return cls(shell, kernel._staging, kernel._metering)

    @contextmanager
    def trial(self, params: dict[str, Any], folder: str) -> Iterator[None]:
        """Within, `lepton` is a trial's: `params` its values, its artifacts kept only if it is the best."""
        lepton = self.staging.lepton
        leave, checkpoints = lepton._leave, lepton._checkpoints

        def into_folder(path: str, name: str) -> None:
            here = os.getcwd()
            to = os.path.normpath(os.path.join(here, name))
            if not to.startswith(here + os.sep):
                raise ConfigError(f"an artifact cannot be called {name!r}")
            if os.path.abspath(path) != to:
                os.makedirs(os.path.dirname(to), exist_ok=True)
                shutil.copyfile(path, to)

        lepton._leave, lepton._checkpoints, lepton.params = into_folder, _NoCheckpoints(), params
        try:
            yield
        finally:
            lepton._leave, lepton._checkpoints, lepton.params = leave, checkpoints, {}

    def show_raised(self, error: BaseException | None) -> None:
        """Show what a trial raised, as the cell itself would have."""
        if error is None:
            return
        from ..ml.tune.trials import own

        lines = self.shell.InteractiveTB.structured_traceback(type(error), error, own(error))
        sys.stderr.write("\n".join(lines) + "\n")
        sys.stderr.flush()


class _NoCheckpoints:
    """A trial begins anew."""

    resume = False

    def epochs(self, count: int) -> range:
        return range(count)

    def batches(self, over: Iterable[Any]) -> Iterator[Any]:
        return iter(over)

    def checkpoint(self, objects: dict[str, Any]) -> None:
        return None

    def restore(self, objects: dict[str, Any]) -> None:
        return None


class Tail(io.TextIOBase):
    """Keeps the end of what is written."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text = (self.text + text)[-_KEPT:]
        return len(text)

    def writable(self) -> bool:
        return True


@contextmanager
def quiet(shell: Any, verbose: bool = False) -> Iterator[Tail]:
    """Within, nothing is printed and nothing shown, but kept; with `verbose` all is shown, nothing kept."""
    from IPython.core.displaypub import CapturingDisplayPublisher

    tail = Tail()
    if verbose:
        yield tail
        return
    publisher = shell.display_pub
    shell.display_pub = CapturingDisplayPublisher()
    try:
        with redirect_stdout(tail), redirect_stderr(tail):
            yield tail
    finally:
        shell.display_pub = publisher
