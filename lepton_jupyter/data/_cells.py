"""Where the code of a notebook's cells is found again: in IPython's line cache. On the user's side."""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
import types
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Union

from ._magics import parsed, shell_method

Definition = Union[ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.Assign, ast.AnnAssign]
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Place:
    """A definition in the code of a cell. `lines` is all of the cell, `cell` its number (0 when it has none)."""

    node: Definition
    lines: list[str]
    cell: int = 0

    @property
    def first(self) -> int:
        """The line that a function's code says it starts at: that of its first decorator."""
        decorators: list[ast.expr] = getattr(self.node, "decorator_list", [])
        return min([self.node.lineno, *(part.lineno for part in decorators)])

    @property
    def bound(self) -> list[str]:
        """The names that it binds."""
        targets = [self.node.target] if isinstance(self.node, ast.AnnAssign) else getattr(self.node, "targets", [])
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        return names or [name for name in [getattr(self.node, "name", "")] if name]

    def text(self) -> str:
        """Its source, indented as it is in the cell."""
        if isinstance(self.node, ast.Lambda):
            return ast.get_source_segment("".join(self.lines), self.node) or ""
        if isinstance(self.node, (ast.Assign, ast.AnnAssign)):  # other statements may share its lines
            return (ast.get_source_segment("".join(self.lines), self.node) or "") + "\n"
        return "".join(self.lines[self.first - 1 : self.node.end_lineno])


class Cells:
    """The cells that ran in the notebook of `namespace`, or the script that it belongs to."""

    def __init__(self, namespace: Mapping[str, Any]) -> None:
        get_ipython = namespace.get("get_ipython")
        shell = get_ipython() if callable(get_ipython) else None
        self._compiler = getattr(shell, "compile", None)
        self._script = namespace.get("__file__")
        self._parsed: dict[str, tuple[list[ast.stmt], list[str]]] = {}

    @property
    def flags(self) -> int:
        """How the notebook compiles cells now: the compiler's flags."""
        return int(getattr(self._compiler, "flags", 0))

    def of_code(self, code: types.CodeType) -> Place | None:
        """The function that `code` was compiled from."""
        found = []
        tree, lines = self._file(code.co_filename)
        for node in (node for statement in tree for node in ast.walk(statement)):
            if isinstance(node, ast.Lambda) or (isinstance(node, _FUNCTIONS) and node.name == code.co_name):
                place = Place(node, lines, self._number(code.co_filename))
                if place.first == code.co_firstlineno:
                    found.append(place)
        if code.co_name == "<lambda>":
            found = [place for place in found if isinstance(place.node, ast.Lambda) and _compiles_to(place, code)]
        return found[0] if found else None

    def of_class(self, cls: type) -> Place | None:
        """The statement that made `cls`: around its methods, else the newest one of its name with its attributes."""
        codes = [code for code in map(_code, vars(cls).values()) if code is not None]
        for code in codes:
            tree, lines = self._file(code.co_filename)
            for node in (node for statement in tree for node in ast.walk(statement)):
                around = isinstance(node, ast.ClassDef) and node.lineno <= code.co_firstlineno <= (node.end_lineno or 0)
                if around and node.name == cls.__qualname__:  # type: ignore[attr-defined]
                    return Place(node, lines, self._number(code.co_filename))  # type: ignore[arg-type]
        places = [place for place in self.binding(cls.__qualname__) if _fits(place.node, cls)]
        alike = [place for place in places if _has_constants(place.node, cls)]
        return next(iter(alike + places), None)

    def binding(self, name: str) -> Iterator[Place]:
        """The definitions and assignments of `name` outside functions, the newest cell first."""
        numbers = getattr(self._compiler, "_filename_map", {})
        files = sorted(numbers, key=lambda file: int(numbers[file]), reverse=True)
        for file in files or [self._script] * bool(self._script):
            tree, lines = self._file(str(file))
            for node in reversed(list(_outside_functions(tree))):
                place = Place(node, lines, self._number(str(file)))
                if name in place.bound:
                    yield place
            for call in (node for statement in tree for node in ast.walk(statement) if isinstance(node, ast.Call)):
                if shell_method(call) == "run_cell_magic" and isinstance(call.args[-1], ast.Constant):
                    body = str(call.args[-1].value)  # %%time compiles the cell once more, under no name
                    for node in reversed(list(_outside_functions(parsed(body)))):
                        place = Place(node, _lines(body), self._number(str(file)))
                        if name in place.bound:
                            yield place

    def _number(self, file: str) -> int:
        return int(getattr(self._compiler, "_filename_map", {}).get(file, 0))

    def _file(self, file: str) -> tuple[list[ast.stmt], list[str]]:
        if file not in self._parsed:
            text = "".join(linecache.getlines(file))
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    self._parsed[file] = ast.parse(text).body, _lines(text)
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                self._parsed[file] = [], []
        return self._parsed[file]


def _outside_functions(statements: list[ast.stmt]) -> Iterator[Definition]:
    """Definitions and assignments that happen in the scope of the cell itself."""
    for node in statements:
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef, ast.Assign, ast.AnnAssign)):
            yield node
        else:
            for field in ("body", "handlers", "orelse", "finalbody", "cases"):
                yield from _outside_functions(getattr(node, field, []))


def _lines(text: str) -> list[str]:
    """As the parser counts them: str.splitlines knows more ends of line."""
    return [line + "\n" for line in text.split("\n")]


def _code(value: Any) -> types.CodeType | None:
    """The code of a method, whatever descriptor holds it."""
    if isinstance(value, (classmethod, staticmethod)):
        value = value.__func__
    elif isinstance(value, property):
        value = value.fget
    elif isinstance(value, functools.cached_property):
        value = value.func
    if not isinstance(value, types.FunctionType):
        return None
    try:
        code = getattr(inspect.unwrap(value), "__code__", None)
    except ValueError:  # wraps itself
        return None
    return code if isinstance(code, types.CodeType) else None


def _compiles_to(place: Place, code: types.CodeType) -> bool:
    """Whether the lambda at `place` is the one with this code: several may share a line."""
    try:
        consts = compile(f"({place.text()})", "", "eval", dont_inherit=True).co_consts
    except SyntaxError:
        return False
    return any(isinstance(made, types.CodeType) and _shape(made) == _shape(code) for made in consts)


def _shape(code: types.CodeType) -> tuple[Any, ...]:
    consts = tuple(_shape(c) if isinstance(c, types.CodeType) else (type(c), c) for c in code.co_consts)
    return code.co_code, code.co_names, code.co_varnames, code.co_freevars, consts


def _fits(node: Definition, cls: type) -> bool:
    """Whether `cls` can be what the statement made."""
    if not isinstance(node, ast.ClassDef):
        return False
    first = vars(cls).get("__firstlineno__")  # Python 3.13
    if first is not None and first != Place(node, []).first:
        return False
    fields = {*vars(cls).get("__annotations__", ()), *vars(cls).get("__dataclass_fields__", ())}
    for part in node.body:
        if (
            isinstance(part, (*_FUNCTIONS, ast.ClassDef))
            and not part.name.startswith("_")
            and not hasattr(cls, part.name)
        ):
            return False
        if (
            isinstance(part, ast.AnnAssign)
            and isinstance(part.target, ast.Name)
            and fields
            and part.target.id not in fields
        ):
            return False
    return True


def _has_constants(node: Definition, cls: type) -> bool:
    """Whether ``name = constant`` in the statement's body is what `cls` has."""
    for part in getattr(node, "body", ()):
        value: Any = getattr(part, "value", None)
        place = Place(part, [])
        names = place.bound if isinstance(value, ast.Constant) else []
        if any(vars(cls).get(name, value.value) != value.value for name in names):
            return False
    return True
