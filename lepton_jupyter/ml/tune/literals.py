"""The numbers that a cell assigns at its top level: what they could be instead, and the cell with others in place.

Pure, on the syntax tree: nothing is run. Line numbers stay, so that tracebacks and metrics point where they should.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import ConfigError
from .space import Choice, Domain, Range, Space, Value

#: Numbers that say how long, how reproducibly or on what a cell works, not how well: never offered by themselves.
_NOT = re.compile(
    r"(^|_)(seed|random_state|epochs?|steps?|iters?|iterations?|rounds?|classes|device|verbose|workers|patience|every"
    r"|interval|folds?|k|n|size|version|port|count|total|best|start|end|max|min|limit|rank|index|channels_in"
    r"|in_channels|in_features|out_features|num_features|vocab_size|image_size|width_px|height_px)$",
    re.IGNORECASE,
)
_RATE = re.compile(r"(^|_)(lr|learning_rate|eta|alpha)\d*($|_)", re.IGNORECASE)
_BATCH = re.compile(r"(^|_)(batch|batch_size|bs)($|_)", re.IGNORECASE)
_DROP = re.compile(r"drop|(^|_)(p|prob)($|_)", re.IGNORECASE)
_NEAR_ONE = re.compile(r"momentum|beta|decay_rate|ema|gamma", re.IGNORECASE)


def parsed(code: str) -> ast.Module:
    """The cell's tree. Raises ConfigError for what is no Python, and for `await` outside of functions."""
    try:
        tree = ast.parse(code)
        compile(tree, "<cell>", "exec")
    except SyntaxError as error:
        where = f" in line {error.lineno}: {(error.text or '').strip()}" if error.lineno else ""
        raise ConfigError(f"the cell cannot be a trial: {error.msg}{where}") from None
    return tree


def offered(tree: ast.Module) -> dict[str, Domain]:
    """Ranges around the numbers that the cell assigns once, at its top level."""
    bindings = _bindings(tree)
    found: dict[str, Domain] = {}
    for place in _assigned(tree):
        name, value = place.name, _number(place.value)
        if value is None or bindings.count(name) != 1 or (_NOT.search(name) and not _BATCH.search(name)):
            continue
        domain = _around(name, value)
        if domain is not None:
            found[name] = domain
    return found


def values(tree: ast.Module) -> dict[str, Value]:
    """The plain values that the cell assigns at its top level, each name's first."""
    found: dict[str, Value] = {}
    for place in _assigned(tree):
        try:
            value = ast.literal_eval(place.value)
        except ValueError:
            continue
        if value is None or isinstance(value, bool | int | float | str):
            found.setdefault(place.name, value)
    return found


def check(tree: ast.Module, space: Space) -> None:
    """Raises ConfigError for a name of the space that the cell does not use, and when there is nothing to tune."""
    if not space:
        raise ConfigError(
            "the cell has nothing to tune: it assigns no number at its top level, as lr = 1e-3 does",
            hint="Assign the numbers to names there, or name one that the cell reads: --space lr=log:1e-5..1e-1",
        )
    assigned = [place.name for place in _assigned(tree)]
    read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    if any(isinstance(node, ast.Attribute) and node.attr == "params" for node in ast.walk(tree)):
        return  # lepton.params may be asked for any name
    for name in space:
        if name not in assigned and name not in read:
            known = list(dict.fromkeys([*assigned, *sorted(read)]))
            close = difflib.get_close_matches(name, known, n=2)
            guess = f"Did you mean {' or '.join(close)}? " if close else ""
            has = f"It assigns {', '.join(dict.fromkeys(assigned))}." if assigned else "It assigns no names itself."
            raise ConfigError(f"--space {name}: the cell neither assigns nor reads {name}", hint=f"{guess}{has}")


def replaced(code: str, given: Mapping[str, Value]) -> ast.Module:
    """The cell's tree with `given` in place of what it assigns to these names first, at its top level."""
    tree, left = ast.parse(code), dict(given)
    for place in _assigned(tree):
        if place.name in left:
            place.set(left.pop(place.name))
    return ast.fix_missing_locations(tree)


@dataclass
class _Place:
    """Where a name is assigned at the top level: the value of a statement, or one of a tuple."""

    name: str
    holder: Any
    index: int | None = None

    @property
    def value(self) -> ast.expr:
        value: ast.expr = self.holder.value if self.index is None else self.holder.elts[self.index]
        return value

    def set(self, value: Value) -> None:
        made = ast.copy_location(ast.Constant(value), self.value)
        if self.index is None:
            self.holder.value = made
        else:
            self.holder.elts[self.index] = made


def _assigned(tree: ast.Module) -> Iterator[_Place]:
    for statement in tree.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            yield _Place(statement.target.id, statement)
        elif isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target, value = statement.targets[0], statement.value
            if isinstance(target, ast.Name):
                yield _Place(target.id, statement)
            elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                for index, inner in enumerate(target.elts[: len(value.elts)]):
                    if isinstance(inner, ast.Name):
                        yield _Place(inner.id, value, index)


def _bindings(tree: ast.Module) -> list[str]:
    """Every name that anything in the cell binds, once for each time: what is bound twice is no setting."""
    return [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)]


def _number(node: ast.expr) -> int | float | None:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _around(name: str, value: int | float) -> Domain | None:
    if isinstance(value, int):
        if value < 1:
            return None
        if _BATCH.search(name):
            power = 2 ** max(round(value).bit_length() - 1, 1)
            sizes = {size for size in (power // 4, power // 2, power, power * 2, power * 4, value) if size >= 1}
            return Choice(tuple(sorted(sizes)))
        return Range(1, 2 * value) if value < 8 else Range(value // 4, value * 4, log=True)
    if _DROP.search(name) and 0 <= value < 1:
        return Range(0.0, max(0.5, min(2 * value, 0.9)))
    if _NEAR_ONE.search(name) and 0.5 <= value < 1:
        return Range(0.5, 0.999)
    if value <= 0:
        return None
    if _RATE.search(name):
        return Range(_round(value / 100), _round(max(min(value * 100, 1.0), 2 * value)), log=True)
    width = 30 if value < 0.05 else 3
    high = min(value * width, 1.0) if value < 1 else value * width  # what is below 1 may be a share
    return Range(_round(value / width), _round(high), log=True)


def _round(value: float) -> float:
    return float(f"{value:.3g}")


def batch_name(tree: ast.Module, texts: Sequence[str] = ()) -> tuple[str, int]:
    """The name of the cell's batch size, and its value; ``--space rows=…`` may name it. Raises ConfigError."""
    known = {name: value for name, value in values(tree).items() if type(value) is int and value > 0}
    named = [text.partition("=")[0].strip() for text in texts]
    found = [name for name in known if name in named] or [name for name in known if _BATCH.search(name) and not named]
    if len(found) != 1:
        has = f"it has several: {', '.join(found)}" if found else "it assigns none at its top level, as batch = 32 does"
        raise ConfigError(f"which number is the cell's batch size? {has}", hint="Name it: --space rows=1..1024")
    return found[0], int(known[found[0]] or 0)


def rate_name(tree: ast.Module) -> str:
    """What the cell calls its learning rate; "lr" if that cannot be told."""
    return next((name for name in values(tree) if _RATE.search(name)), "lr")
