"""The road that every cell and every verb of models takes to a target and back. Runs in the notebook's kernel."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.interactiveshell import InteractiveShell

from ..errors import ConfigError, LeptonError
from ..job import JobSpec, JobState
from ..outputs import View
from ..remote import RemoteKernel, Run
from ._card import carded_view
from ._errors import MagicParser
from ._left import bring_back, names
from ._process import cell_view, default_kernel, dispatcher, notebook_path, parent_of, sent
from ._wait import follow, say

if TYPE_CHECKING:
    from ..data.environment import EnvSpec
    from ..remote.cargo import Packed
    from ..widgets.card import Card

#: What reads the URLs of --files on a host: module by scheme.
_READERS = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}


def add_flags(parser: MagicParser) -> None:
    """The flags of everything that `send` sends; `%%lepton_train` says what each does."""
    parser.add_argument("--on", default="", metavar="TARGET")
    parser.add_argument("--kernel", default="", metavar="NAME")
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--detach", action="store_true")
    parser.add_argument("--name", default="", metavar="TEXT")
    parser.add_argument("--in", dest="bring", default="auto", metavar="NAMES")
    parser.add_argument("--files", action="append", default=[], metavar="PATH")
    parser.add_argument("--env", default="", metavar="ENV")
    parser.add_argument("--credentials", default="", metavar="NAME")
    parser.add_argument("--allow-pickle", default="", metavar="NAMES")
    parser.add_argument("--card", action=argparse.BooleanOptionalAction)


def send(
    shell: InteractiveShell,
    asked: argparse.Namespace,
    code: str,
    *,
    magic: str,
    leave: tuple[str, ...] = (),
    imports: Collection[str] = (),
    training: Mapping[str, Any] | None = None,
    runs: str = "",
) -> bool:
    """Run `code` on the target that the flags name, its outputs in the present cell; whether it ended well here.

    False: it was detached and runs on. What it shall `leave` is then in the notebook, too. `imports` are packages that
    it needs besides those it names. `magic` is the line that sent it, `training` the options of `kernel.training`,
    `runs` a cell that `code` has as a text and runs: what that cell reads goes along.
    Raises what the cell ends with, and LeptonError.
    """
    from ..remote.cargo import Asked, pack  # takes its time

    parent = parent_of(shell)
    wanted = Asked(
        bring=asked.bring,
        leave=leave,
        files=tuple(asked.files),
        pickle=frozenset(names(asked.allow_pickle)),
        near=Path.cwd(),
        training=training or {},
    )
    packed = pack(runs or code, shell.user_ns, wanted, dispatcher().blobs)
    env, path = None, notebook_path(shell)
    if asked.env:
        from ..data.environment import wanted as packages_wanted

        readers = (_READERS[scheme] for scheme in _schemes(asked.files) if scheme in _READERS)
        needed, near = {*packed.imports, *imports, *readers}, Path(path) if path else None
        env = packages_wanted(near, needed, asked.env, [runs or code])
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
        sent(run.job_id)
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
        return False
    if not follow(run, shell, *cards, magic=magic):
        return False
    bring_back(run, shell.user_ns, asked.allow_pickle)
    return True


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
