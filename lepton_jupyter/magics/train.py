"""`%%lepton_train`: run a cell on a target, with its outputs here. Runs in the notebook's kernel."""

from __future__ import annotations

from IPython.core.magic import Magics, cell_magic, magics_class

from ._errors import MagicParser
from ._left import names
from ._send import add_flags, send


@magics_class
class TrainMagics(Magics):
    """The road every cell takes."""

    @cell_magic
    def lepton_train(self, line: str, cell: str) -> None:
        """Run this cell on a target; its outputs appear here as if it had run here.

        ::

            %%lepton_train [--on TARGET] [--kernel NAME | --fresh] [--detach] [--name TEXT] [--card | --no-card]
                           [--in NAMES | auto | none] [--out NAMES] [--files PATH]… [--env ENV] [--credentials NAME]
                           [--allow-pickle NAMES]

        --on      where to run; the default target if not given (%lepton_target list shows them)
        --kernel  a kernel of that name on the target, shared by all who name it; if not given, the notebook's own
        --fresh   start a new kernel, without the variables of earlier cells
        --detach  return at once; the outputs keep coming into this cell
        --name    what to call the job in tables
        --card    show a card above the outputs of this notebook's cell: state, progress, main metric, resources, cost,
                  buttons to stop the job and to detach; `card = true` in lepton.toml makes it the default
        --in      variables of this notebook that the cell gets: names with commas; "auto" (the default) sends those it
                  reads, with functions, classes and modules of yours that it uses; "none" sends nothing
        --out     variables that come back into this notebook when the cell has ended well
        --files   a file, a folder, or a URL (s3://, gs://, az://) that the cell finds in its working folder; what it
                  writes there is kept with the job: %lepton_fetch brings it. May be given several times
        --env     the packages the cell runs with: "auto" mirrors this notebook's, or a requirements.txt, or a
                  pyproject.toml; without it, those of the target's own Python
        --credentials  a variable, a dict of short-lived credentials for the URLs of --files, for S3 {"key": …,
                  "secret": …, "token": …}; without it those of the host's user count. They are kept in memory alone
        --allow-pickle  variables that may travel as pickles, which can run any code where they are opened

        Cells that share a kernel run in order and share variables. The stop button interrupts the remote cell;
        pressed twice within 3 s it detaches, and the job runs on.

        Example::

            %%lepton_train --on gpu1 --out model --files data/
            model = train(load("data/"), epochs=10)
        """
        asked, shell = _PARSER.parse_line(line), self.shell
        assert shell is not None
        code = cell.removesuffix("\n")  # IPython ends every cell of a magic with one line more
        send(shell, asked, code, magic=f"%%lepton_train {line}".rstrip(), leave=names(asked.out))


_PARSER = MagicParser("%%lepton_train")
_PARSER.add_argument("--out", default="", metavar="NAMES")
add_flags(_PARSER)
