"""The ways to compress by the names that users give them, with the few options that most want.

Runs in the kernel that holds the model.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from .. import registry
from ..errors import ConfigError
from .compressors import Compressor

#: What the user says -> the file in compressors/.
NAMES = {
    "prune": "pruning",
    "share": "sharing",
    "structured": "structured",
    "distill": "distilling",
    "quantize": "quantizing",
}


def steps(
    methods: str | Compressor | Sequence[str | Compressor],
    *,
    sparsity: float | None = None,
    bits: int | None = None,
    student: Any = None,
) -> list[Compressor]:
    """The compressors of these names, in this order; a name may have options: "structured(keep=0.5), quantize".

    `sparsity` is the share of weights that go (of channels, where "structured" is asked for and "prune" is not), `bits`
    are those of "quantize", else of "share"; `student` is for "distill". Raises ConfigError for a name nobody knows and
    for an option that none of the methods has.
    """
    listed = [methods] if isinstance(methods, str) or not isinstance(methods, Sequence) else list(methods)
    wanted = [named for each in listed for named in (_parsed(each) if isinstance(each, str) else [each])]
    if not wanted:
        raise ConfigError("no method is given", hint=f'methods="auto", or some of {", ".join(NAMES)}, in order.')
    options = {each[0]: each[1] for each in wanted[::-1] if isinstance(each, tuple)}  # of a name, those it has first
    if sparsity is not None:
        if not 0 <= sparsity < 1:
            raise ConfigError(f"a sparsity of {sparsity} leaves nothing", hint="It is a share: 0.9 leaves a tenth.")
        name = _first(("prune", "structured"), options, "sparsity")
        options[name]["density" if name == "prune" else "keep"] = 1 - sparsity
    if bits is not None:
        options[_first(("quantize", "share"), options, "bits")]["bits"] = bits
    if student is not None:
        options[_first(("distill",), options, "student")]["student"] = student
    return [_made(*each) if isinstance(each, tuple) else each for each in wanted]


def words(steps: Sequence[Compressor]) -> str:
    """The steps in order, each by its name and its options where they are not the usual ones."""
    return " → ".join(map(_word, steps))


def _word(step: Compressor) -> str:
    if not is_dataclass(step):
        return type(step).__name__
    options = [
        f"{each.name}={value!r}"
        for each in fields(step)
        if isinstance(value := getattr(step, each.name), int | float | str | tuple) and value != each.default
    ]
    return f"{type(step).__name__}({', '.join(options)})"


def _made(name: str, options: dict[str, Any]) -> Compressor:
    known = registry.names("ml.compressors")
    file = NAMES.get(name, name)
    if file not in known:
        others = sorted(set(known) - set(NAMES.values()))
        raise ConfigError(
            f"there is no method {name!r}",
            hint=f'Known: {", ".join([*NAMES, *others])}; or give Compressor objects; or methods="auto".',
        )
    kind = registry.load("ml.compressors", file)
    has = [each.name for each in fields(kind)] if is_dataclass(kind) else list(options)
    if wrong := [option for option in options if option not in has]:
        raise ConfigError(f"{name} has no option {', '.join(wrong)}", hint=f"It has {', '.join(has)}.")
    try:
        compressor: Compressor = kind(**options)
    except TypeError as error:
        raise ConfigError(f"{name} can't be made with {options}: {error}", hint=f"Look at {kind.__name__}.") from None
    return compressor


def _parsed(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Names, and the options in the brackets behind them."""
    try:
        (found,) = ast.parse(f"[{text}]").body
        assert isinstance(found, ast.Expr) and isinstance(found.value, ast.List)
        return [_named(each) for each in found.value.elts]
    except (AssertionError, SyntaxError, ValueError):
        raise ConfigError(
            f"methods {text!r}: that is no list of methods",
            hint='Names with commas between, options in brackets: "structured(keep=0.5),quantize".',
        ) from None


def _named(node: ast.expr) -> tuple[str, dict[str, Any]]:
    if isinstance(node, ast.Name):
        return node.id, {}
    assert isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.args
    return node.func.id, {str(each.arg): ast.literal_eval(each.value) for each in node.keywords}


def _first(able: Sequence[str], names: Collection[str], option: str) -> str:
    for name in able:
        if name in names:
            return name
    raise ConfigError(
        f"{option}= is for {' and '.join(able)}, which is not among the methods",
        hint=f'Leave it out, or add "{able[0]}" to methods.',
    )
