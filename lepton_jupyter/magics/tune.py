"""`%%lepton_tune`: the best values for the numbers in a cell, by trials of it. Runs in the notebook's kernel."""

from __future__ import annotations

import argparse
import copy
import re
import uuid
from collections.abc import Mapping
from typing import Any

from IPython.core.inputtransformer2 import TransformerManager
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_cell_magic, magics_class

from ..config import parse_duration
from ..errors import ConfigError
from ._errors import MagicParser, split
from ._left import names
from ._process import default_kernel
from ._send import add_flags, send

#: Metrics of which more is better.
_HIGHER = re.compile(
    r"(^|_)(acc|accuracy|auc|f1|score|precision|recall|r2|reward|iou|dice|bleu|map|psnr|ssim)($|_)", re.IGNORECASE
)
#: What it needs there besides what the cell imports, where --env brings packages.
_PACKAGES = ("numpy", "optuna")
#: Kernels beyond which it is a cluster's business.
_MOST_KERNELS = 32


@magics_class
class TuneMagics(Magics):
    """The verb that tries values."""

    @line_cell_magic
    def lepton_tune(self, line: str, cell: str | None = None) -> None:
        """Find the best values for the numbers in this cell: it is run again and again, with others in their place.

        ::

            %%lepton_tune [--space NAME=VALUES]… [--metric NAME] [--maximize | --minimize] [--trials 20] [--budget TIME]
                          [--sampler tpe | cmaes | random | grid] [--prune [asha | hyperband | median]] [--parallel N]
                          [--study NAME] [--as NAME] [--out NAMES] [--seed N] [--verbose]
                          [--precision auto | fp32 | bf16 | fp16] [--compile auto | off] [--gradients auto | off]
                          [--on TARGET] [--detach] [--name TEXT] [--kernel NAME | --fresh] [--in NAMES | auto | none]
                          [--files PATH]… [--env ENV] [--credentials NAME] [--allow-pickle NAMES] [--card | --no-card]
            %lepton_tune  --find lr | batch  (for the last cell that was sent) or %%lepton_tune --find lr | batch

        --space     what may be tried: lr=log:1e-5..1e-1 (a range, logarithmic), dropout=0..0.5, layers=1..8/2 (steps),
                    batch=32|64|128 (one of these). May be given several times. Without it: ranges around the numbers
                    that the cell assigns at its top level, as lr = 1e-3 does; they are shown before it starts
        --metric    what tells how good a trial was: a name that the cell gives to lepton.log, or that Keras' fit tells,
                    or a variable that the cell leaves. Without it: val_loss, else loss, as seen by itself
        --maximize  more is better; found by itself for accuracy and the like, where --minimize says otherwise
        --trials    how many, with those of earlier runs of the study; --budget: begin none after 90s, 5m, 1h
        --sampler   how values are proposed: tpe learns from the trials so far, cmaes too (ranges only), grid tries all
        --prune     end trials that are behind the others at the same point, by the metric as it comes: asha if not said
        --parallel  so many kernels work on it, each with a GPU of its own where the host has several
        --study     a name under which the host remembers it: the same name goes on with it, after whatever happened
        --as        what the best values are called here, a dict; best if not given. NAME_trials are all trials
        --out       variables of the best trial that come back
        --seed      each trial begins with the same random numbers
        --verbose   show what the trials print
        --find      lr: raise the learning rate in a run of the cell until the loss goes up, say where it fell fastest;
                    batch: double the cell's batch size while it is faster for it, or until memory is full

        In the cell, lepton.params has the trial's values, too. Trials do not see one another's variables; files that
        the best one wrote are kept with the job. The stop button lets the present trial end and keeps the best so far.
        The flags in the last lines are those of %%lepton_train (%%lepton_train? explains them).

        Example::

            %%lepton_tune --space lr=log:1e-5..1e-1 --metric val_acc --trials 50 --prune
            lr, hidden = 1e-3, 128
            …
        """
        asked, shell = _PARSER.parse_args(split(line)), self.shell
        assert shell is not None
        if asked.resume:
            raise ConfigError("trials begin anew each time; --study NAME goes on with a study", hint="%%lepton_tune?")
        if asked.find:
            _find(shell, asked, cell.removesuffix("\n") if cell else _last_cell(shell), line)
            return
        if cell is None:
            raise ConfigError("%lepton_tune needs a cell: write %%lepton_tune as its first line", hint="%%lepton_tune?")
        _tune(shell, asked, cell.removesuffix("\n"), line)


def _tune(shell: InteractiveShell, asked: argparse.Namespace, cell: str, line: str) -> None:
    checked(asked, cell)
    run, magic = uuid.uuid4().hex, f"%%lepton_tune {line}".rstrip()
    asked.study = asked.study or f"tune-{run[:6]}"
    kernel = asked.kernel or default_kernel(shell)
    for worker in range(1, asked.parallel):
        other = copy.copy(asked)
        other.detach, other.kernel = True, f"{kernel}~tune{worker}"
        other.name = f"{asked.name or asked.study}, kernel {worker + 1}"
        there = code(asked, cell, run, worker)
        send(shell, other, there, magic=magic, imports=_PACKAGES, runs=cell)
    there = code(asked, cell, run)
    leave = (asked.result, f"{asked.result}_trials", *names(asked.out))
    send(shell, asked, there, magic=magic, leave=leave, imports=_PACKAGES, runs=cell)


def checked(asked: argparse.Namespace, cell: str) -> None:
    """Raises ConfigError for what cannot be tuned, before anything is sent."""
    from ..ml.tune import literals
    from ..ml.tune.space import parse

    tree = literals.parsed(_plain(cell))
    space = parse(asked.space) or literals.offered(tree)
    if space or not asked.study:  # a study that is there already knows its own
        literals.check(tree, space)
    if not asked.result.isidentifier():
        raise ConfigError(f"--as {asked.result}: that is no name of a variable")
    if asked.study and not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,80}", asked.study):
        raise ConfigError(f"--study {asked.study}: letters, digits, _, - and . make a name")
    if asked.trials < 1:
        raise ConfigError(f"--trials {asked.trials}: one is the least")
    if not 1 <= asked.parallel <= _MOST_KERNELS:
        raise ConfigError(f"--parallel {asked.parallel}: 1 to {_MOST_KERNELS}")
    if asked.budget:
        parse_duration(asked.budget)


def code(asked: argparse.Namespace, cell: str, run: str, worker: int = 0) -> str:
    """The cell that runs there: of the kernel that tells of the study, or of another that works on it."""
    options: dict[str, Any] = {"study": asked.study, "run": run}
    if asked.space:
        options["space"] = asked.space
    maximize = asked.maximize or (not asked.minimize and bool(_HIGHER.search(asked.metric)))
    usual = {"metric": "", "trials": 20, "sampler": "tpe", "prune": "", "seed": 0, "verbose": False}
    options |= {option: value for option in usual if (value := getattr(asked, option)) != usual[option]}
    options |= {"maximize": True} if maximize else {}
    options |= {"budget": parse_duration(asked.budget)} if asked.budget else {}
    options |= {"out": names(asked.out)} if asked.out and not worker else {}
    options |= {"worker": worker, "workers": asked.parallel} if asked.parallel > 1 else {}
    options |= {"training": training} if (training := _training(asked)) else {}
    said = "".join(f",\n    {option}={value!r}" for option, value in options.items())
    left = "" if worker else f"{asked.result}, {asked.result}_trials = "
    return (
        f"# tune {asked.study}\nfrom lepton_jupyter.kernel.tuning import tuned as _tuned\n"
        f"{left}_tuned(\n    {cell!r},\n    {asked.result!r},\n    keep=lepton.artifact{said},\n){';' * bool(worker)}"
    )


def _find(shell: InteractiveShell, asked: argparse.Namespace, cell: str, line: str) -> None:
    from ..ml.tune import literals

    tree = literals.parsed(_plain(cell))
    if asked.find == "batch":
        literals.batch_name(tree, asked.space)
        if asked.gradients != "off":
            raise ConfigError(
                "--find batch looks for the size at which memory runs out; with --gradients auto a step goes on there",
                hint="Leave out --gradients while you look for a batch size.",
            )
    training = f"    training={_training(asked)!r},\n" if _training(asked) else ""
    said = (
        f"# find {asked.find}\nfrom lepton_jupyter.kernel.finding import found as _found\n{asked.result} = _found(\n"
        f"    {cell!r},\n    {asked.find!r},\n    space={asked.space!r},\n    seed={asked.seed},\n{training})"
    )
    magic = f"%lepton_tune {line}"
    send(shell, asked, said, magic=magic, leave=(asked.result,), runs=cell)


def _last_cell(shell: InteractiveShell) -> str:
    """The last cell of this notebook that trained. Raises ConfigError without one."""
    for raw in reversed(shell.history_manager.input_hist_raw if shell.history_manager else []):
        first, _, rest = raw.lstrip().partition("\n")
        if re.match(r"%%lepton_(train|tune)\b", first) and rest.strip():
            return str(rest)
    raise ConfigError(
        "there is no cell yet to find it for: none was sent with %%lepton_train or %%lepton_tune",
        hint="Or write %%lepton_tune --find lr as the first line of the cell itself.",
    )


def _plain(cell: str) -> str:
    """The cell without IPython's own syntax, as far as that can be told without running it."""
    return TransformerManager().transform_cell(cell)


def _training(asked: argparse.Namespace) -> Mapping[str, Any]:
    """The options of `kernel.training`; none if nothing but the usual is asked for."""
    usual = {"precision": "fp32", "compile": "off", "gradients": "off"}
    return {name: value for name in usual if (value := getattr(asked, name)) != usual[name]}


_PARSER = MagicParser("%%lepton_tune")
_PARSER.add_argument("--space", action="append", default=[], metavar="NAME=VALUES")
_PARSER.add_argument("--metric", default="", metavar="NAME")
_PARSER.add_argument("--maximize", action="store_true")
_PARSER.add_argument("--minimize", action="store_true")
_PARSER.add_argument("--trials", default=20, type=int, metavar="N")
_PARSER.add_argument("--budget", default="", metavar="TIME")
_PARSER.add_argument("--sampler", default="tpe", choices=("tpe", "cmaes", "random", "grid"))
_PARSER.add_argument("--prune", nargs="?", default="", const="asha", choices=("asha", "hyperband", "median"))
_PARSER.add_argument("--parallel", default=1, type=int, metavar="N")
_PARSER.add_argument("--study", default="", metavar="NAME")
_PARSER.add_argument("--as", dest="result", default="best", metavar="NAME")
_PARSER.add_argument("--out", default="", metavar="NAMES")
_PARSER.add_argument("--seed", default=0, type=int, metavar="N")
_PARSER.add_argument("--verbose", action="store_true")
_PARSER.add_argument("--resume", action="store_true")  # a flag of %%lepton_train, which people will try
_PARSER.add_argument("--find", default="", choices=("lr", "batch"))
_PARSER.add_argument("--precision", default="fp32", choices=("auto", "fp32", "bf16", "fp16"))
_PARSER.add_argument("--compile", default="off", choices=("auto", "off"))
_PARSER.add_argument("--gradients", default="off", choices=("auto", "off"))
add_flags(_PARSER)
