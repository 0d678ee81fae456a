"""The ways to compress by the names that users give them, with the few options that most want.

Runs in the kernel that holds the model.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    """The compressors of these names, in this order.

    `sparsity` is the share of weights that go (of channels, where "structured" is asked for and "prune" is not), `bits`
    are those of "quantize", else of "share"; `student` is for "distill". Raises ConfigError for a name nobody knows and
    for an option that none of the methods has.
    """
    wanted = [methods] if isinstance(methods, str) or not isinstance(methods, Sequence) else list(methods)
    if not wanted:
        raise ConfigError("no method is given", hint=f'methods="auto", or some of {", ".join(NAMES)}, in order.')
    names = [each for each in wanted if isinstance(each, str)]
    options: dict[str, dict[str, Any]] = {name: {} for name in names}
    if sparsity is not None:
        if not 0 <= sparsity < 1:
            raise ConfigError(f"a sparsity of {sparsity} leaves nothing", hint="It is a share: 0.9 leaves a tenth.")
        name = _first(("prune", "structured"), names, "sparsity")
        options[name]["density" if name == "prune" else "keep"] = 1 - sparsity
    if bits is not None:
        options[_first(("quantize", "share"), names, "bits")]["bits"] = bits
    if student is not None:
        options[_first(("distill",), names, "student")]["student"] = student
    return [_made(each, options[each]) if isinstance(each, str) else each for each in wanted]


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
    compressor: Compressor = registry.load("ml.compressors", file)(**options)
    return compressor


def _first(able: Sequence[str], names: Sequence[str], option: str) -> str:
    for name in able:
        if name in names:
            return name
    raise ConfigError(
        f"{option}= is for {' and '.join(able)}, which is not among the methods",
        hint=f'Leave it out, or add "{able[0]}" to methods.',
    )
