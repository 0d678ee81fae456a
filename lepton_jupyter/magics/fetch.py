"""``%lepton_fetch``: what a job left, brought here: its files and its variables. Runs in the notebook's kernel."""

from __future__ import annotations

from IPython.core.magic import Magics, line_magic, magics_class

from ._errors import MagicParser
from ._left import bring_back, fetching
from ._process import dispatcher
from ._wait import say


@magics_class
class FetchMagics(Magics):
    """The magic of what a job left."""

    @line_magic
    def lepton_fetch(self, line: str) -> None:
        """Bring here what a job left: the files it wrote or kept by `lepton.artifact`, and the variables of --out.

        ::

            %lepton_fetch JOB [NAME…] [--to FOLDER] [--on TARGET] [--allow-pickle NAMES]

        JOB may be "last", the newest job of this notebook. NAME is a file or a variable; without one, everything comes.
        Files go into FOLDER, `artifacts/JOB` if not given; one that is there already with the same bytes is left alone.
        A fetch that broke goes on where it stopped.

        Example::

            %lepton_fetch k7m3 model.safetensors --to models
        """
        parser = MagicParser("%lepton_fetch")
        parser.add_job()
        parser.add_argument("names", nargs="*", metavar="NAME")
        parser.add_argument("--to", default="", metavar="FOLDER")
        parser.add_argument("--allow-pickle", default="", metavar="NAMES")
        asked = parser.parse_job(line, self.shell)
        assert self.shell is not None
        run = dispatcher().look(asked.job, on=asked.on)
        with fetching() as progress:
            words = dispatcher().fetch_files(run, asked.names, asked.to, progress)
        if words:
            say(words)
        variables = tuple(name for name in asked.names if name in run.left)
        if variables or (run.left and not asked.names):
            bring_back(run, self.shell.user_ns, asked.allow_pickle, variables)
