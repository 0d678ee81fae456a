"""``%lepton_jobs``, ``%lepton_attach``, ``%lepton_card``, ``%lepton_logs``, ``%lepton_cancel``: jobs of any notebook.

Runs in the notebook's kernel.
"""

from __future__ import annotations

import argparse
import sys

from IPython.core.magic import Magics, line_magic, magics_class
from IPython.display import display

from ..outputs import fold, outputs_text
from ._card import show_card
from ._errors import MagicParser
from ._process import cell_view, dispatcher
from ._table import jobs_table, states_named
from ._wait import follow

#: So many jobs are listed without --all.
SHOWN = 20


@magics_class
class JobMagics(Magics):
    """The magics of jobs."""

    @line_magic
    def lepton_jobs(self, line: str = "") -> None:
        """The newest jobs of all notebooks: what they are, where they run, how far they are.

        ::

            %lepton_jobs [--all] [--on TARGET] [--state STATE]

        Without --all it shows 20. STATE is one of new, queued, staging_in, running, staging_out, completed, failed,
        cancelled, or several with commas between.

        Example::

            %lepton_jobs --on gpu1 --state running
        """
        parser = MagicParser("%lepton_jobs")
        parser.add_argument("--all", action="store_true")
        parser.add_argument("--on", default="", metavar="TARGET")
        parser.add_argument("--state", default="", metavar="STATE")
        asked = parser.parse_line(line)
        store, states = dispatcher().store, states_named(asked.state)
        jobs = store.list(target=asked.on, states=states, limit=0 if asked.all else SHOWN)
        total = store.count(target=asked.on, states=states)
        display(jobs_table(jobs, total=total, unwatched=store.unwatched()))

    @line_magic
    def lepton_attach(self, line: str) -> None:
        """Show all outputs of a job here, from the first, and follow it to its end.

        ::

            %lepton_attach JOB [--on TARGET]

        The first letters of JOB are enough; "last" is the newest job of this notebook. --on names the target of a job
        that was started on another machine. The stop button interrupts the job; pressed twice, it leaves it running.

        Example::

            %lepton_attach k7m3
        """
        asked = self._job("%lepton_attach", line)
        assert self.shell is not None
        run = dispatcher().attach(asked.job, cell_view(self.shell), on=asked.on)
        follow(run, self.shell)

    @line_magic
    def lepton_card(self, line: str) -> None:
        """Show the card of a job: state, progress, main metric, resources, cost.

        ::

            %lepton_card JOB [--on TARGET]

        It follows the job while that runs, without blocking the cell; a button stops the job. A picture stays.

        Example::

            %lepton_card k7m3
        """
        asked = self._job("%lepton_card", line)
        assert self.shell is not None
        show_card(self.shell, asked.job, asked.on)

    @line_magic
    def lepton_logs(self, line: str) -> None:
        """Print the outputs that a job has so far, as plain text; pictures are named by type and size.

        ::

            %lepton_logs JOB [--on TARGET]

        Example::

            %lepton_logs k7m3
        """
        asked = self._job("%lepton_logs", line)
        sys.stdout.write(outputs_text(fold(dispatcher().events(asked.job, on=asked.on)), colour=True))

    @line_magic
    def lepton_cancel(self, line: str) -> None:
        """Stop a job for good: when this is done, its processes are gone and its GPU memory is free.

        ::

            %lepton_cancel JOB [--on TARGET]

        Example::

            %lepton_cancel k7m3
        """
        asked = self._job("%lepton_cancel", line)
        print(dispatcher().cancel(asked.job, on=asked.on))  # noqa: T201

    def _job(self, magic: str, line: str) -> argparse.Namespace:
        parser = MagicParser(magic)
        parser.add_job()
        return parser.parse_job(line, self.shell)
