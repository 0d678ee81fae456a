"""`%%lepton_train`: run a cell on a target, with its outputs here. Runs in the notebook's kernel."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping
from typing import Any

from IPython.core.magic import Magics, cell_magic, magics_class

from ._errors import MagicParser
from ._left import names
from ._process import default_kernel, parent_of
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
                           [--allow-pickle NAMES] [--precision auto | fp32 | bf16 | fp16] [--compile auto | off]
                           [--gradients auto | off] [--resume]

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

        --precision  numbers of 16 bits in training, where they do no harm: "auto" tries a few steps and keeps what is
                  faster and agrees with 32 bits; says what it chose, and why
        --compile   "auto" tries a compiled model, too
        --gradients  "auto" skips steps that are not finite, clips gradients as AutoClip does, and makes smaller batches
                  of one that does not fit the GPU's memory; says each time what it did
        --resume  go on from the newest checkpoint that an earlier run of this cell left: lepton.checkpoint(…) keeps
                  one, lepton.restore(…) puts it back, lepton.epochs(n) goes on there; Keras' fit does it all by itself

        Cells that share a kernel run in order and share variables. The stop button interrupts the remote cell;
        pressed twice within 3 s it detaches, and the job runs on.

        Example::

            %%lepton_train --on gpu1 --out model --files data/
            model = train(load("data/"), epochs=10)
        """
        asked, shell = _PARSER.parse_line(line), self.shell
        assert shell is not None
        code = cell.removesuffix("\n")  # IPython ends every cell of a magic with one line more
        training = _training(asked, code, asked.kernel or default_kernel(shell), parent_of(shell))
        send(shell, asked, code, magic=f"%%lepton_train {line}".rstrip(), leave=names(asked.out), training=training)


def _training(asked: argparse.Namespace, code: str, kernel: str, parent: Mapping[str, Any]) -> dict[str, Any]:
    """The options of `kernel.training`; none if nothing but the usual is asked for."""
    usual = {"precision": "fp32", "compile": "off", "gradients": "off"}
    options = {name: value for name in usual if (value := getattr(asked, name)) != usual[name]}
    if asked.resume or "lepton." in code:
        # A cell is known by its name, else by where it stands in the notebook, else by what it says.
        cell = asked.name or str(parent.get("metadata", {}).get("cellId", "")) or code
        options |= {"cell": hashlib.sha256(f"{kernel}\n{cell}".encode()).hexdigest()[:16], "resume": asked.resume}
    return options


_PARSER = MagicParser("%%lepton_train")
_PARSER.add_argument("--out", default="", metavar="NAMES")
_PARSER.add_argument("--precision", default="fp32", choices=("auto", "fp32", "bf16", "fp16"))
_PARSER.add_argument("--compile", default="off", choices=("auto", "off"))
_PARSER.add_argument("--gradients", default="off", choices=("auto", "off"))
_PARSER.add_argument("--resume", action="store_true")
add_flags(_PARSER)
