"""`%lepton_compress`: a smaller and faster model, made where the model lives. Runs in the notebook's kernel."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Mapping
from typing import Any

from IPython.core.magic import Magics, line_magic, magics_class

from ..config import parse_duration
from ..errors import ConfigError
from ._errors import MagicParser
from ._send import add_flags, send

#: Flags that are Python: names of the notebook or of the kernel, or what is made of them.
_PYTHON = ("model", "data", "loss", "train", "evaluate", "test", "student")
#: What compressing may need on the host besides the framework, where --env brings packages.
_PACKAGES = ("constriction", "numpy", "onnx", "onnxruntime", "optuna", "safetensors", "torch_pruning")


@magics_class
class CompressMagics(Magics):
    """The verb that makes models smaller."""

    @line_magic
    def lepton_compress(self, line: str) -> None:
        """Make a trained PyTorch or Keras model smaller and faster, and report what came of it, as measured there.

        ::

            %lepton_compress MODEL [--as NAME] [--methods prune,quantize,distill | auto] [--evaluate F] [--data D]
                             [--test D] [--loss F] [--train F] [--tolerance 0.01] [--budget 5m] [--trials N]
                             [--sparsity S] [--bits B] [--student M] [--export onnx,litert,pt2] [--seed N]
                             [--on TARGET] [--detach] [--name TEXT] [--kernel NAME | --fresh] [--in NAMES | none]
                             [--files PATH]… [--env ENV] [--credentials NAME] [--allow-pickle NAMES]
                             [--card | --no-card]

        MODEL        a variable of this notebook, or of the kernel that --on and --kernel name
        --as         what the result is called here and there; MODEL_small if not given. NAME_report is the report
        --methods    what to do, in this order: prune, share, structured, distill, quantize, each with options in
                     brackets if wanted, prune(density=0.1); "auto" (the default) searches for the smallest and fastest
                     within the tolerance
        --evaluate   a function of a model that gives one number, or one for each example; higher is better. Without it:
                     the accuracy on a fifth of the data, held out
        --data       what to train and calibrate with: (inputs, targets), a torch Dataset or DataLoader, a
                     tf.data.Dataset; x,y is a pair
        --test       data, or a function of a model, that the report's metric comes from; it neither trains nor chooses
        --loss       loss(model, *batch), for training after pruning; it is found by itself for the usual cases
        --train      train(model): one round of your own training instead
        --tolerance  by how much the metric may be lower than before; 0.01 if not given
        --budget     the time "auto" may take: 90s, 5m, 1h; --trials: how many pipelines it tries at most
        --sparsity   the share of weights to leave out, 0 to 1; --bits: of each weight; --student: the model to teach
        --export     files that run elsewhere: onnx, litert, pt2, keras, safetensors. %lepton_fetch brings them
        --seed       the same seed, the same result

        MODEL, F, D and M may be any Python without spaces, or in quotes. What of their names this notebook has is sent,
        however large; all others are those of the kernel there. The flags in the last lines are those of
        %%lepton_train (%%lepton_train? explains them). Put it into a cell of its own.

        Example::

            %lepton_compress model --evaluate accuracy --data train_set --budget 2m --on gpu1
        """
        asked, shell = _PARSER.parse_line(line), self.shell
        assert shell is not None
        name = _name(asked)
        asked.bring = _brought(asked, shell.user_ns)
        leave = (name, f"{name}_report")
        magic = f"%lepton_compress {line}".rstrip()
        send(shell, asked, code(asked, name), magic=magic, leave=leave, imports=_PACKAGES)


def code(asked: argparse.Namespace, name: str) -> str:
    """The cell that runs there. Raises ConfigError for an option that cannot be."""
    parse_duration(asked.budget)
    given = ", ".join(f"{flag}={_python(asked, flag)}" for flag in _PYTHON if getattr(asked, flag))
    options: dict[str, Any] = {"methods": asked.methods}
    for option in ("tolerance", "budget", "trials", "sparsity", "bits", "seed"):
        if getattr(asked, option) is not None:
            options[option] = getattr(asked, option)
    if asked.export:
        options["export"] = _words(asked.export)
    said = "".join(f",\n    {option}={value!r}" for option, value in options.items())
    return (
        f"# compress {' '.join(asked.model.split())} → {name}\n"
        "from lepton_jupyter.kernel.compressing import compressed as _compressed\n"
        f"{name}, {name}_report = _compressed(\n"
        f"    lambda: dict({given}),\n    {name!r},\n    keep=lepton.artifact{said},\n)"
    )


def _name(asked: argparse.Namespace) -> str:
    """What the result is called. Raises ConfigError for what is no name."""
    name = asked.result or (f"{asked.model}_small" if asked.model.isidentifier() else "model_small")
    if not name.isidentifier():
        raise ConfigError(f"--as {name}: that is no name of a variable", hint="Letters, digits and _, as in small_net.")
    return str(name)


def _python(asked: argparse.Namespace, flag: str) -> str:
    """What the user wrote for a flag, which must be one expression. Raises ConfigError."""
    text = str(getattr(asked, flag)).strip()
    try:
        found = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        shown = "MODEL" if flag == "model" else f"--{flag}"
        hint = "A name, or any Python that makes the value; in quotes when it has spaces."
        raise ConfigError(f"{shown} {text}: that is no Python", hint=hint) from None
    return f"({ast.unparse(found)})" if isinstance(found, (ast.Tuple, ast.GeneratorExp)) else ast.unparse(found)


def _brought(asked: argparse.Namespace, namespace: Mapping[str, Any]) -> str:
    """What of the notebook goes: --in, and the names that the line names and the notebook has.

    A value that stays on a host behind a handle is meant there, not here.
    """
    listed = _words(asked.bring)
    if "none" in listed:
        return "none"
    named = [
        node.id
        for flag in _PYTHON
        if getattr(asked, flag)
        for node in ast.walk(ast.parse(_python(asked, flag), mode="eval"))
        if isinstance(node, ast.Name)
    ]
    from ..remote.left import RemoteValue  # takes its time

    here = [name for name in named if name in namespace and not isinstance(namespace[name], RemoteValue)]
    return ",".join(dict.fromkeys([*here, *(name for name in listed if name != "auto")])) or "none"


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


_PARSER = MagicParser("%lepton_compress")
_PARSER.add_argument("model", metavar="MODEL")
_PARSER.add_argument("--as", dest="result", default="", metavar="NAME")
_PARSER.add_argument("--methods", default="auto", metavar="NAMES")
_PARSER.add_argument("--evaluate", default="", metavar="F")
_PARSER.add_argument("--data", default="", metavar="D")
_PARSER.add_argument("--test", default="", metavar="D")
_PARSER.add_argument("--loss", default="", metavar="F")
_PARSER.add_argument("--train", default="", metavar="F")
_PARSER.add_argument("--tolerance", default=0.01, type=float, metavar="T")
_PARSER.add_argument("--budget", default="5m", metavar="TIME")
_PARSER.add_argument("--trials", type=int, metavar="N")
_PARSER.add_argument("--sparsity", type=float, metavar="S")
_PARSER.add_argument("--bits", type=int, metavar="B")
_PARSER.add_argument("--student", default="", metavar="M")
_PARSER.add_argument("--export", default="", metavar="FORMATS")
_PARSER.add_argument("--seed", default=0, type=int, metavar="N")
add_flags(_PARSER)
