"""What all magics of one process share: its dispatcher, its notebook's name, its way to ask.

Runs in the notebook's kernel.
"""

from __future__ import annotations

import atexit
import getpass
import os
import threading
import uuid
from collections.abc import Callable
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from ..config import Config, state_dir
from ..errors import ConfigError, UnknownJob
from ..job import JobId
from ..outputs import KernelView, TerminalView, View
from ..remote import Dispatcher, Run
from ..store import JobStore

_lock = threading.Lock()
_dispatcher: Dispatcher | None = None
_process_name = f"process:{uuid.uuid4().hex}"
_newest: JobId | None = None  # the job that this process sent last
#: What stands for the newest job of the notebook. No id begins so: they have no "l".
LAST = "last"


def dispatcher() -> Dispatcher:
    """The dispatcher of this process, made at first use and closed when the process ends."""
    global _dispatcher
    with _lock:
        if _dispatcher is None:
            _dispatcher = Dispatcher(Config.load(), JobStore(state_dir() / "jobs.db"), ask)
            atexit.register(_dispatcher.close)
        return _dispatcher


def ask(question: str, secret: bool) -> str:
    """Ask the user. Raises ConfigError where nobody can answer: outside the main thread, so in a reconnect."""
    if threading.current_thread() is not threading.main_thread():
        raise ConfigError(f"this needs an answer, and no cell is running to ask in: {question}")
    return getpass.getpass(question) if secret else input(question)


def notebook_path(shell: InteractiveShell) -> str:
    """The notebook's path as Jupyter Server or VS Code tells it, "" elsewhere."""
    path = os.environ.get("JPY_SESSION_NAME") or shell.user_ns.get("__vsc_ipynb_file__") or ""
    return str(path) if str(path).endswith(".ipynb") else ""


def default_kernel(shell: InteractiveShell) -> str:
    """The name of the notebook's own remote kernel: the same after a restart, another for every other notebook."""
    path = notebook_path(shell)
    return f"notebook:{path}" if path else _process_name


def sent(job_id: JobId) -> None:
    """Remember that this process has just sent a job."""
    global _newest
    _newest = job_id


def job_named(job: str, shell: InteractiveShell) -> str:
    """`job`, or the notebook's newest one for `LAST`: also after a restart, where the notebook is known by its path.

    Raises UnknownJob when it has none.
    """
    if job != LAST:
        return job
    path = notebook_path(shell)
    found = dispatcher().store.list(notebook=path, limit=1) if path and _newest is None else []
    newest = found[0].job_id if found else _newest
    if newest is None:
        raise UnknownJob("this notebook has sent no job yet", hint="%lepton_jobs lists those of all notebooks.")
    return newest


def parent_of(shell: InteractiveShell) -> dict[str, Any]:
    """The request that runs the present cell, {} outside a Jupyter kernel."""
    kernel = getattr(shell, "kernel", None)
    return dict(kernel.get_parent("shell")) if kernel is not None else {}


def cell_view(shell: InteractiveShell) -> Callable[[Run], View]:
    """Makes the view that shows a run in the present cell."""
    parent, kernel = parent_of(shell), getattr(shell, "kernel", None)

    def make(run: Run) -> View:
        if kernel is None:
            return TerminalView(run.job_id)
        return KernelView(kernel, parent, run.send_comm)

    return make
