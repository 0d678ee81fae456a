"""`%%lepton_train`: run a cell on a target, with its outputs here. Runs in the notebook's kernel."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, cell_magic, magics_class

from ..errors import ConfigError, LeptonError
from ..job import JobSpec, JobState
from ..outputs import View
from ..remote import RemoteKernel, Run
from ._card import carded_view
from ._errors import MagicParser
from ._left import bring_back, names
from ._process import cell_view, default_kernel, dispatcher, notebook_path, parent_of
from ._wait import follow, say

if TYPE_CHECKING:
    from ..data.environment import EnvSpec
    from ..remote.cargo import Packed
    from ..widgets.card import Card

#: What reads the URLs of --files on a host: module by scheme.
_READERS = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}


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
        from ..remote.cargo import Asked, pack  # takes its time

        asked, shell = _PARSER.parse_line(line), self.shell
        assert shell is not None
        parent = parent_of(shell)
        code, leave = cell.removesuffix("\n"), names(asked.out)  # IPython ends every cell of a magic with one line more
        wanted = Asked(
            bring=asked.bring,
            leave=leave,
            files=tuple(asked.files),
            pickle=frozenset(names(asked.allow_pickle)),
            near=Path.cwd(),
        )
        packed = pack(code, shell.user_ns, wanted, dispatcher().blobs)
        env, path = None, notebook_path(shell)
        if asked.env:
            from ..data.environment import wanted as packages_wanted

            imports = {*packed.imports, *(_READERS[scheme] for scheme in _schemes(asked.files) if scheme in _READERS)}
            env = packages_wanted(Path(path) if path else None, imports, asked.env, [code])
        spec = JobSpec(
            code=code,
            cargo=packed.digest,
            target=asked.on,
            # One with other packages is another kernel. What "auto" finds may grow; --fresh installs that.
            kernel=(asked.kernel or default_kernel(shell)) + (f"#{asked.env}" if env is not None else ""),
            name=asked.name,
            notebook=path,
            cell_id=str(parent.get("metadata", {}).get("cellId", "")),
        )
        # A question of a detached job waits until somebody attaches; elsewhere the front end decides.
        allow_stdin = asked.detach or bool(parent.get("content", {}).get("allow_stdin", not parent))
        made: list[Run] = []
        cards: list[Card] = []
        make_view = cell_view(shell)
        if parent and (dispatcher().config.card if asked.card is None else asked.card):
            make_view = carded_view(shell, cards, outputs=True, waits=not asked.detach)

        def view(run: Run) -> View:
            made.append(run)
            if asked.detach:  # said first, so that the outputs stay together
                print(f"lepton: job {run.job_id} goes to {run.where}. Elsewhere: %lepton_attach {run.job_id}")  # noqa: T201
            return make_view(run)

        try:
            run = dispatcher().run(
                spec,
                view,
                fresh=asked.fresh,
                allow_stdin=allow_stdin,
                execution_count=shell.displayhook.prompt_count,
                on_kernel=lambda kernel, run: _tell(run, packed, kernel, spec, env),
                env=None if env is None else env.to_json(),
                credentials=_credentials(asked.credentials, shell.user_ns),
            )
        except KeyboardInterrupt:
            if not made or made[0].client is None:
                for card in cards:
                    card.settle(JobState.CANCELLED, "interrupted before it was sent")
                raise
            run = made[0]
            run.interrupted = True
        except LeptonError:
            for card in cards:
                card.left()
            raise
        if run.note:
            say(run.note)
        if asked.detach:
            if leave:
                say(f"when it has ended, its variables come with: %lepton_fetch {run.job_id}")
        elif follow(run, shell, *cards, magic=f"%%lepton_train {line}".rstrip()):
            for note in run.notes:
                say(note)
            bring_back(run, shell.user_ns, asked.allow_pickle)


def _schemes(files: Collection[str]) -> set[str]:
    return {file.partition("://")[0] for file in files if "://" in file}


def _tell(run: Run, packed: Packed, kernel: RemoteKernel, spec: JobSpec, env: EnvSpec | None) -> None:
    """Say what the kernel has, what it lacks and what goes to it with the cell. Raises CellUnfit."""
    if env is not None and not kernel.variables:
        run.say(f"the kernel has {env.words}")
    if line := kernel.look(packed.imports, spec.code, spec.resources.gpus):
        run.say(line)
    if line := packed.said(kernel.variables):
        run.say(f"sent: {line}")


def _credentials(name: str, namespace: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The dict that the user named. Raises ConfigError, without a word of what is in it."""
    if not name:
        return None
    found = namespace.get(name)
    if not isinstance(found, Mapping) or not all(isinstance(value, str) for value in found.values()):
        raise ConfigError(
            f"--credentials {name}: the notebook has no dict of texts by that name", hint="It names a variable."
        )
    return found


_PARSER = MagicParser("%%lepton_train")
_PARSER.add_argument("--on", default="", metavar="TARGET")
_PARSER.add_argument("--kernel", default="", metavar="NAME")
_PARSER.add_argument("--fresh", action="store_true")
_PARSER.add_argument("--detach", action="store_true")
_PARSER.add_argument("--name", default="", metavar="TEXT")
_PARSER.add_argument("--in", dest="bring", default="auto", metavar="NAMES")
_PARSER.add_argument("--out", default="", metavar="NAMES")
_PARSER.add_argument("--files", action="append", default=[], metavar="PATH")
_PARSER.add_argument("--env", default="", metavar="ENV")
_PARSER.add_argument("--credentials", default="", metavar="NAME")
_PARSER.add_argument("--allow-pickle", default="", metavar="NAMES")
_PARSER.add_argument("--card", action=argparse.BooleanOptionalAction)
