"""What a job left, brought into the notebook: its variables and its files. Runs in the notebook's kernel."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from IPython.display import display

from ..outputs.words import size
from ..remote import Run
from ._process import dispatcher
from ._wait import say

#: Seconds between two words about how far a transfer is.
_TELL_EVERY = 0.5


def names(text: str) -> tuple[str, ...]:
    """The names in "a, b"."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


@contextmanager
def fetching() -> Iterator[Callable[[int, int], None]]:
    """Shows how far a transfer is, once it takes its time."""
    shown, told = None, time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal shown, told
        if shown if done >= total else time.monotonic() - told > _TELL_EVERY:
            told, words = time.monotonic(), f"lepton: fetched {size(done)} of {size(total)}"
            if shown:
                shown.update({"text/plain": words}, raw=True)
            else:
                shown = display({"text/plain": words}, raw=True, display_id=True)

    yield tell


def bring_back(run: Run, namespace: dict[str, Any], pickle: str = "", only: tuple[str, ...] = ()) -> None:
    """Set the variables that the job left, and say so in one line. Raises what the transfer raises."""
    from ..remote.left import Left

    left = Left(dispatcher(), run.job_id, run.where, run.left)
    with fetching() as progress:
        said = left.bring(namespace, progress, names=only, pickle=names(pickle))
    for name in run.left:
        _reunite(namespace, name, f"{name}_report")
    if said:
        say(f"back: {'; '.join(said)}")


def _reunite(namespace: dict[str, Any], name: str, report: str) -> None:
    """A report of a compression comes without the model that it tells of, so that the model comes once."""
    told: Any = namespace.get(report)
    if type(told).__name__ == "CompressionReport" and told.model is None:
        namespace[report] = dataclasses.replace(told, model=namespace.get(name))
