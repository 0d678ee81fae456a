"""The one orchestrator: a job goes to a kernel on a target, its events come back to a view and to the store.

Runs in the notebook's kernel, the server and the command line. `Dispatcher` finds or makes the kernel, `RemoteKernel`
is one kernel on one target with the link to it, `Run` is one job as this process follows it, `Recorder` writes to the
store what the runs report.
"""

from .dispatcher import Dispatcher, Prompt, no_prompt
from .kernel import RemoteKernel
from .run import Run

__all__ = ["Dispatcher", "Prompt", "RemoteKernel", "Run", "no_prompt"]
