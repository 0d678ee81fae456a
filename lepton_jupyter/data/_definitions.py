"""The source of one definition of a notebook, or why there is none: for `source.capture`. On the user's side."""

from __future__ import annotations
import __future__

import ast
import inspect
import types
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import LeptonError
from ._cells import Cells, Place
from ._kinds import is_type_form

_CHOICES = (
    "Define it at the top of a cell or in a module beside the notebook, make it within the cell that uses it, "
    "or name what shall be sent: --in NAME,…"
)


class Definitions:
    """Finds the source of what `namespace` holds. Raises LeptonError, with choices, for what cannot go as source."""

    def __init__(self, namespace: Mapping[str, Any]) -> None:
        self._namespace = namespace
        self._main = str(namespace.get("__name__", "__main__"))
        self._cells = Cells(namespace)

    def text(self, name: str, value: Any) -> tuple[str, int, str, Place | None]:
        """The name that the source binds, its first line in the cell, the source, and where it was found."""
        own = getattr(value, "__qualname__", name)
        if own != name and "<" not in own and self.is_at(own, value):  # another name for a definition
            return name, 1, f"{name} = {own}\n", None
        place = self._place(name, value)
        node, text = place.node, place.text()
        if isinstance(node, ast.Lambda):
            return name, node.lineno, f"{name} = ({text})\n", place
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            return name, node.lineno, text, place
        if node.col_offset:
            return place.bound[0], place.first - 1, f"if True:\n{text}", place
        return place.bound[0], place.first, text, place

    def is_at(self, qualname: str, value: Any) -> bool:
        """Whether the notebook has `value` itself at this dotted name."""
        first, *parts = qualname.split(".")
        found = self._namespace.get(first)
        for part in parts:
            found = getattr(found, part, None)
        return found is value or (isinstance(value, types.MethodType) and bool(found == value))

    def _place(self, name: str, value: Any) -> Place:
        if is_type_form(value) or not hasattr(value, "__qualname__"):
            place = next(self._assignments(name), None)
        elif isinstance(value, type):
            place = None if "<locals>" in value.__qualname__ else self._cells.of_class(value)
            place = place or next(self._assignments(name), None)
            if place is None and "<locals>" in value.__qualname__:
                raise _local(name, value.__qualname__)
        else:
            place = self._place_of_function(name, value)
        if place is None:
            raise LeptonError(f"{name} cannot be sent: the source that it was made from is not known", hint=_CHOICES)
        return place

    def _assignments(self, name: str) -> Iterator[Place]:
        """``Point = namedtuple(…)``, ``T = TypeVar(…)``: run again there."""
        return (place for place in self._cells.binding(name) if isinstance(place.node, (ast.Assign, ast.AnnAssign)))

    def _place_of_function(self, name: str, value: Any) -> Place | None:
        try:
            inner = inspect.unwrap(value)
        except ValueError:  # wraps itself
            inner = value
        code = getattr(inner, "__code__", None)
        if not isinstance(code, types.CodeType):
            return None
        if "<locals>" in inner.__qualname__:  # made by a decorator that says nothing of what it decorates, or a factory
            for decorated in self._cells.binding(name):
                if getattr(decorated.node, "decorator_list", ()) and _holds(inner, decorated):
                    return decorated
            raise _local(name, inner.__qualname__, code.co_freevars)
        if "." in inner.__qualname__:  # of a class that is another one by now
            return None
        place = self._cells.of_code(code) or next((p for p in self._cells.binding(name) if _takes(p.node, code)), None)
        if place and inner is not value and not getattr(place.node, "decorator_list", ()):
            wrapper = f"{type(value).__module__}.{type(value).__qualname__}"
            raise LeptonError(
                f"{name} cannot be sent: it was wrapped after it was defined ({wrapper} around {inner.__qualname__})",
                hint=f"Write the wrapper as a decorator above def {name}, or wrap it within the cell that uses it.",
            )
        return place

    def check(self, name: str, value: Any, node: ast.AST) -> None:
        """Run again there, the source must not find other defaults or bases than it found here."""
        if isinstance(node, ast.ClassDef) and isinstance(value, type) and len(node.bases) == len(value.__bases__):
            for base, was in zip(node.bases, value.__bases__):
                now = self._namespace.get(base.id) if isinstance(base, ast.Name) else None
                own = was.__module__ == self._main
                if own and now is not None and now is not was and not self.same_source(now, was):
                    raise stale(name, base.id)  # type: ignore[attr-defined]
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            function = inspect.unwrap(value) if hasattr(value, "__wrapped__") else value
            positional = zip(reversed(node.args.defaults), reversed(getattr(function, "__defaults__", None) or ()))
            keywords = getattr(function, "__kwdefaults__", None) or {}
            named = [(part, keywords.get(arg.arg)) for arg, part in zip(node.args.kwonlyargs, node.args.kw_defaults)]
            for part, was in [*positional, *named]:
                if isinstance(part, ast.Name) and part.id in self._namespace:
                    now = self._namespace[part.id]
                    if now is not was and not (isinstance(was, (bool, int, float, str, bytes)) and now == was):
                        raise stale(name, part.id)

    def has_future(self, value: Any) -> bool:
        """Whether ``from __future__ import annotations`` held when it was compiled."""
        code = getattr(value, "__code__", None)
        flags = code.co_flags if isinstance(code, types.CodeType) else self._cells.flags
        return bool(flags & __future__.annotations.compiler_flag)

    def same_source(self, one: Any, other: type) -> bool:
        """Whether two classes were made from the same text: a cell was run again unchanged."""
        if not isinstance(one, type):
            return False
        places = self._cells.of_class(one), self._cells.of_class(other)
        return all(places) and len({place.text() for place in places if place}) == 1


def _takes(node: ast.AST, code: types.CodeType) -> bool:
    """Whether the statement defines a function of this name and with these arguments."""
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or node.name != code.co_name:
        return False
    arguments = [arg.arg for arg in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]]
    return arguments == list(code.co_varnames[: len(arguments)])


def _holds(function: Any, place: Place) -> bool:
    """Whether a decorator's inner function keeps the one that is defined at `place`."""
    for cell in function.__closure__ or ():
        try:
            code = getattr(inspect.unwrap(cell.cell_contents), "__code__", None)
        except ValueError:  # empty, or wraps itself
            continue
        if isinstance(code, types.CodeType) and _takes(place.node, code) and code.co_firstlineno == place.first:
            return True
    return False


def _local(name: str, qualname: str, keeps: tuple[str, ...] = ()) -> LeptonError:
    maker = qualname.partition(".<locals>")[0]
    kept = f" and keeps {', '.join(keeps)} from there" if keeps else ""
    return LeptonError(f"{name} cannot be sent as source: {maker}() made it while it ran{kept}", hint=_CHOICES)


def stale(name: str, of: str) -> LeptonError:
    return LeptonError(
        f"{name} cannot be sent: it was made when {of} was another one than it is now",
        hint=f"Run the cell that makes {name} again, or restore {of}. Elsewhere it would be made from today's {of}.",
    )
