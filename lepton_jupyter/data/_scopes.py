"""Python's scopes for `_flow`: what a function binds as its own, and where a name is looked up. Runs on both ends."""

from __future__ import annotations

import ast
from typing import Optional, Union

FunctionNode = Union[ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda]
#: Names that are no longer the notebook's at this point; None where the code cannot be reached.
Own = Optional[set]  # type: ignore[type-arg]  # of str; Python 3.9 has no `set[str] | None` at run time

COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Frame:
    """One scope while the walk is in it: the cell itself, a class body, a function or a comprehension."""

    def __init__(
        self,
        kind: str,
        parent: Frame | None = None,
        local: frozenset[str] = frozenset(),
        declared: frozenset[str] = frozenset(),
    ) -> None:
        self.kind = kind  # module | class | function | comprehension
        self.parent = parent
        self.local = local  # a function's own names, known before it runs
        self.declared = declared  # by `global`
        self.own: Own = set()
        self.later: dict[str, set[str]] = {}  # function or class -> what its bodies read once they are called


def join(states: list[Own]) -> Own:
    """What is sure when one of `states` came about."""
    reachable = [state for state in states if state is not None]
    return set.intersection(*reachable) if reachable else None


def function_frame(node: FunctionNode, parent: Frame) -> Frame:
    """The scope of a function's body."""
    args = node.args
    names = [arg.arg for arg in [*args.posonlyargs, *args.args, *args.kwonlyargs]]
    names += [arg.arg for arg in (args.vararg, args.kwarg) if arg]
    body = node.body if isinstance(node.body, list) else [node.body]
    bound = _Bound()
    for child in body:
        bound.visit(child)
    local = (bound.names | set(names)) - bound.global_ - bound.nonlocal_
    return Frame("function", parent, frozenset(local), frozenset(bound.global_))


def comprehension_frame(generators: list[ast.comprehension], parent: Frame) -> Frame:
    """The scope of a comprehension: its targets."""
    bound = _Bound()
    for generator in generators:
        bound.visit(generator.target)
    return Frame("comprehension", parent, frozenset(bound.names))


def module_bound(statement: ast.stmt) -> set[str]:
    """The names that `statement` binds in the scope it stands in, its own nested statements included."""
    bound = _Bound()
    bound.visit(statement)
    return bound.names - bound.nonlocal_


class _Bound(ast.NodeVisitor):
    """What the statements of one scope bind; does not enter the scopes within."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.global_: set[str] = set()
        self.nonlocal_: set[str] = set()
        self._comprehension = 0

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load) and not self._comprehension:
            self.names.add(node.id)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.names.add(node.target.id)  # also from within a comprehension
        self.visit(node.value)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.names.add(node.name)
        self._outside(node)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - ast.NodeVisitor's name

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._outside(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.names.add(node.name)
        for part in [*node.decorator_list, *node.bases, *node.keywords]:
            self.visit(part)

    def _outside(self, node: FunctionNode) -> None:
        """The parts of a function that the scope around it evaluates."""
        parts = [*getattr(node, "decorator_list", ()), *node.args.defaults, *node.args.kw_defaults]
        for part in parts:
            if part is not None:
                self.visit(part)

    def generic_visit(self, node: ast.AST) -> None:
        inside = isinstance(node, COMPREHENSIONS)
        self._comprehension += inside
        super().generic_visit(node)
        self._comprehension -= inside
        for field in ("name", "rest"):  # except … as, case … as, case {**rest}
            name = getattr(node, field, None)
            if isinstance(name, str) and not isinstance(node, ast.alias):
                self.names.add(name)

    def visit_alias(self, node: ast.alias) -> None:
        if node.name != "*":
            self.names.add(node.asname or node.name.partition(".")[0])

    def visit_Global(self, node: ast.Global) -> None:
        self.global_.update(node.names)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        self.nonlocal_.update(node.names)
