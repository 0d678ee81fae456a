"""Which names a piece of Python reads before it has made them its own. Pure syntax; runs on both ends.

The walk follows the order in which Python runs the code and keeps the names that are surely bound by then. What a
branch, a loop or a `try` may leave unbound counts as read; code that can never be reached does not. The body of a
function counts where the function is first used, or at the end: by then it is the notebook's later cells that call it.
"""

# ruff: noqa: N802, N815 - the names are ast.NodeVisitor's
from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from typing import Any, Callable

from ._order import Order, copied, last_name
from ._scopes import Frame, FunctionNode, Own, comprehension_frame, function_frame

#: Decorators that do not call what they decorate.
_CALM = re.compile(
    "abstractmethod|cache|cached_property|classmethod|compile|contextmanager|dataclass|enable_grad|final|function"
    "|inference_mode|jit|lru_cache|njit|no_grad|overload|override|property|runtime_checkable|setter|staticmethod"
    "|total_ordering|vmap|wraps"
)
_AT_NAME = re.compile(r"@([^\W\d]\w*)")


class Flow(Order):
    """Walks a tree once; then `now` has the names read while it runs, `later` those that its functions read if called.

    `dotted` are the chains of attributes ("scipy.optimize.minimize"), `imports` the modules of its own import
    statements. `star(module)` gives the names of ``from module import *``, as far as they are known; `call(node)`
    gives further code that a call runs, such as the argument of ``%time``. Without `eager`, decorators are taken not to
    call what they decorate.
    """

    def __init__(
        self,
        star: Callable[[str], Iterable[str]] = lambda module: (),
        call: Callable[[ast.Call], Iterable[ast.AST]] = lambda node: (),
        eager: bool = True,
    ) -> None:
        super().__init__()
        self.now: dict[str, None] = {}
        self.later: dict[str, None] = {}
        self.dotted: set[str] = set()
        self.imports: dict[str, None] = {}
        self._star, self._call, self._eager = star, call, eager
        self._module = self._frame = Frame("module")
        self._body: set[str] | None = None  # collects for the body of a function, which runs later
        self._running: set[str] = set()
        self._lazy = 0  # inside a lambda or a generator, which may run at any time from here on
        self._escaped: set[str] = set()  # what such bodies read

    def run(self, tree: ast.AST) -> Flow:
        """Walk `tree`; itself."""
        self.visit(tree)
        before, self.now = self.now, {}
        for name in list(self._module.later):
            self._call_later(self._module, name)
        self.later = {name: None for name in self.now if name not in before}
        self.now = before
        return self

    # Names

    @property
    def _in_function(self) -> bool:  # type: ignore[override]
        return self._frame.kind == "function"

    @property
    def _own(self) -> Own:
        return _outside_comprehensions(self._frame).own

    @_own.setter
    def _own(self, own: Own) -> None:
        _outside_comprehensions(self._frame).own = own

    def _read(self, name: str) -> None:
        frame: Frame | None = self._frame
        if self._own is None:
            return
        while frame is not None and frame.kind != "module":
            if name in frame.declared:
                if frame.own is not None and name in frame.own:
                    return
                break
            if frame.kind == "class":
                if frame is self._frame and frame.own is not None and name in frame.own:
                    self._call_later(frame, name)
                    return
            elif name in frame.local:
                return
            frame = frame.parent
        self._read_global(name)

    def _read_global(self, name: str) -> None:
        if self._body is not None:
            self._body.add(name)
            return
        if self._lazy:
            self._escaped.add(name)
        own = self._module.own
        if own is not None and name not in own:
            self.now[name] = None
        self._call_later(self._module, name)

    def _call_later(self, frame: Frame, name: str) -> None:
        if name in frame.later and name not in self._running:
            self._running.add(name)
            self._lazy += 1
            for read in sorted(frame.later[name]):
                self._read_global(read)
            self._lazy -= 1
            self._running.discard(name)

    def _bind(self, name: str) -> None:
        if self._frame.kind == "comprehension" and name in self._frame.local:
            return
        frame = _outside_comprehensions(self._frame)
        if name in frame.declared and self._body is None and self._module.own is not None:
            self._module.own.add(name)
        if frame.own is not None:
            frame.own.add(name)

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Store):
            self._read(node.id)
        if not isinstance(node.ctx, ast.Load):
            self._bind(node.id)  # a deleted name is no longer the notebook's either

    def visit_Attribute(self, node: ast.Attribute) -> None:
        parts, base = [node.attr], node.value
        while isinstance(base, ast.Attribute):
            parts.append(base.attr)
            base = base.value
        if isinstance(base, ast.Name):
            self.dotted.add(".".join([base.id, *reversed(parts)]))
        self.visit(node.value)

    # Imports

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.imports[alias.name] = None
            self._bind(alias.asname or alias.name.partition(".")[0])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        if not node.level:
            self.imports[module] = None
        for alias in node.names:
            for name in self._star(module) if alias.name == "*" else [alias.asname or alias.name]:
                self._bind(name)

    # Scopes

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._each(node.decorator_list)
        self._defaults(node)
        with_types = self._type_parameters(node)
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        self._each([arg.annotation for arg in every if arg and arg.annotation])
        self._each([node.returns] if node.returns else [])
        self._define(node.name, node)
        self._frame = with_types
        self._settle(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._defaults(node)
        self._lazy += 1
        self._inside(function_frame(node, self._frame), [node.body])
        self._lazy -= 1

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._each(node.decorator_list)
        with_types = self._type_parameters(node)
        self._each([*node.bases, *node.keywords])
        frame = Frame("class", self._frame)
        frame.declared = frozenset(name for part in node.body if isinstance(part, ast.Global) for name in part.names)
        self._inside(frame, node.body)
        self._frame = with_types
        if self._body is None:
            bodies = set().union(*frame.later.values()) if frame.later else set()
            self._frame.later.setdefault(node.name, set()).update(bodies)
        self._settle(node)

    def _settle(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        """A definition is bound; a decorator or metaclass may have called it before that."""
        calls = [part for part in node.decorator_list if not _CALM.fullmatch(last_name(part))]
        eager = self._eager and (calls or bool(getattr(node, "keywords", None)))
        if self._body is None and (eager or node.name in self._escaped):
            self._call_later(self._frame, node.name)
        self._bind(node.name)

    def _define(self, name: str, node: FunctionNode) -> None:
        """Keep what the body of `node` reads until `name` is used."""
        frame = function_frame(node, self._frame)
        body = node.body if isinstance(node.body, list) else [node.body]
        if self._body is not None:
            self._inside(frame, body)
            return
        self._body = set()
        self._inside(frame, body)
        keeper = _outside_comprehensions(self._frame)
        keeper.later.setdefault(name, set()).update(self._body)
        self._body = None
        if keeper.kind == "module" and name in self._escaped:
            self._call_later(keeper, name)

    def _type_parameters(self, node: Any) -> Frame:
        """Enter the scope of ``def f[T]``, if there is one; the frame to return to."""
        before = self._frame
        parameters = getattr(node, "type_params", ())
        if parameters:
            self._frame = Frame("comprehension", before, frozenset(parameter.name for parameter in parameters))
            self._each(parameters)
        return before

    def visit_TypeAlias(self, node: Any) -> None:
        before = self._type_parameters(node)
        self.visit(node.value)
        self._frame = before
        self._bind(node.name.id)

    def _inside(self, frame: Frame, body: Iterable[ast.AST]) -> None:
        before, breaks = self._frame, self._breaks
        if self._own is None:
            return
        self._frame, self._breaks = frame, []
        self._each(body)
        self._frame, self._breaks = before, breaks

    def _comprehension(self, node: Any) -> None:
        first, *others = node.generators
        self.visit(first.iter)
        before, start = self._frame, copied(self._own)
        lazy = isinstance(node, ast.GeneratorExp)
        self._lazy += lazy
        self._frame = comprehension_frame(node.generators, before)
        self._each(first.ifs)
        for generator in others:
            self._each([generator.iter, *generator.ifs])
        self._each([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt])
        self._frame = before
        self._lazy -= lazy
        self._own = start

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("query", "eval"):  # pandas' @names
            for arg in node.args:
                if isinstance(arg, ast.Constant) and isinstance(arg.value, str):
                    for name in _AT_NAME.findall(arg.value):
                        self._read(name)
        self._each(self._call(node))


def _outside_comprehensions(frame: Frame) -> Frame:
    while frame.kind == "comprehension" and frame.parent:
        frame = frame.parent
    return frame
