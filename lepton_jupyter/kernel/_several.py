"""Kernels that work on one study together: what each takes of the machine, and how each comes to its end.

In the remote kernel. The first kernel of a study tells of it; the others end with their processes when the study has
ended, was stopped or has failed, so that no GPU's memory is held by a kernel that nobody uses.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..ml.tune.runner import InTurn
    from ..ml.tune.study import Study

#: Seconds between looks at whether the study is over, and between interrupts of a trial that goes on all the same.
_LOOK, _AGAIN = 0.5, 5.0


@contextmanager
def stopping(runner: InTurn, stop: Callable[[], None]) -> Iterator[None]:
    """Within, the first interrupt lets the present trial come to its end and calls `stop`; the next one ends it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupted(number: int, frame: Any) -> None:
        if runner.stopping:
            raise KeyboardInterrupt
        runner.stopping = True
        threading.Thread(target=stop, name="lepton stop", daemon=True).start()  # files are no business of a handler

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def led(study: Study, runner: InTurn) -> Iterator[None]:
    """Within, in a kernel that helps: its trial is ended when the first kernel has gone, or ends its own."""
    ended = threading.Event()

    def watch() -> None:
        wait = _LOOK
        while not ended.wait(wait):
            if study.over:
                runner.stopping, wait = True, _AGAIN
                if runner.busy:
                    os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=watch, name="lepton study", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()  # the study is closed next


def share_machine(worker: int, workers: int) -> None:
    """Each kernel has a GPU of its own, as far as there are some, and a share of the cores."""
    if workers < 2 or "torch" in sys.modules or "tensorflow" in sys.modules:
        return
    gpus = [entry for entry in os.listdir("/dev") if entry.startswith("nvidia") and entry[6:].isdigit()]
    if len(gpus) > 1:
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", str(worker % len(gpus)))
    os.environ.setdefault("OMP_NUM_THREADS", str(_cores(workers)))


def share_threads(workers: int) -> None:
    """The same for a framework that is there already."""
    if workers > 1 and "torch" in sys.modules:
        with suppress(RuntimeError):
            sys.modules["torch"].set_num_threads(_cores(workers))


def _cores(workers: int) -> int:
    return max(1, (os.cpu_count() or 1) // workers)
