# ruff: noqa: N815 - the names are ast.NodeVisitor's
"""The order in which Python runs statements, and what is surely bound after each: half of `_flow`. On both ends."""

from __future__ import annotations

import abc
import ast
import re
from collections.abc import Callable, Iterable
from typing import Any

from ._scopes import FunctionNode, Own, join

_SWALLOWS = re.compile(r"suppress|raises|ignore", re.IGNORECASE)


class Order(ast.NodeVisitor, abc.ABC):
    """Visits the parts of statements in the order of their execution, with `_own` as it is then.

    What a branch, a loop or a ``try`` may leave unbound is not in `_own` after it; it is None where nothing follows.
    """

    _own: Own
    _in_function = False

    def __init__(self) -> None:
        self._breaks: list[list[Own]] = []
        self._loops = 0

    @abc.abstractmethod
    def _read(self, name: str) -> None: ...

    @abc.abstractmethod
    def _bind(self, name: str) -> None: ...

    @abc.abstractmethod
    def _define(self, name: str, node: FunctionNode) -> None: ...

    def _defaults(self, node: FunctionNode) -> None:
        self._each([part for part in [*node.args.defaults, *node.args.kw_defaults] if part is not None])

    def _each(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        if isinstance(node.value, ast.Lambda) and len(names) == len(node.targets):
            self._defaults(node.value)
            for name in names:
                self._define(name, node.value)
                self._bind(name)
            return
        self._each([node.value, *node.targets])

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self._read(node.target.id)
        self._each([node.value, node.target])

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)
        if node.value is not None or not isinstance(node.target, ast.Name):
            self.visit(node.target)
        if not (node.simple and self._in_function):
            self.visit(node.annotation)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._each([node.value, node.target])

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        self._loop(node, lambda: self.visit(node.target), endless=False)

    visit_AsyncFor = visit_For

    def visit_While(self, node: ast.While) -> None:
        self.visit(node.test)
        endless = isinstance(node.test, ast.Constant) and bool(node.test.value)
        self._loop(node, lambda: self.visit(node.test), endless)

    def _loop(self, node: ast.For | ast.AsyncFor | ast.While, head: Callable[[], None], endless: bool) -> None:
        start = copied(self._own)
        breaks: list[Own] = []
        self._loops += 1
        # A second time around finds the functions that the first one defined.
        for _ in range(2 if self._loops == 1 else 1):
            self._own = copied(start)
            self._breaks.append(breaks)
            head()
            self._each(node.body)
            self._breaks.pop()
        self._loops -= 1
        self._own = None if endless else start
        self._each(node.orelse)
        self._own = join([self._own, *breaks])

    def visit_Break(self, node: ast.Break) -> None:
        if self._breaks:
            self._breaks[-1].append(copied(self._own))
        self._own = None

    def _dead_end(self, node: ast.AST) -> None:
        self.generic_visit(node)
        self._own = None

    visit_Continue = visit_Raise = visit_Return = _dead_end

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        self._branches([node.body, node.orelse])

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.visit(node.test)
        self._branches([[node.body], [node.orelse]])

    def _branches(self, branches: list[Any]) -> None:
        start, ends = self._own, []
        for branch in branches:
            self._own = copied(start)
            self._each(branch)
            ends.append(self._own)
        self._own = join(ends)

    def _maybe(self, nodes: Iterable[ast.AST]) -> None:
        """Nodes that may not be run: what they bind is not sure."""
        start = copied(self._own)
        self._each(nodes)
        self._own = start

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self.visit(node.values[0])
        self._maybe(node.values[1:])

    def visit_Compare(self, node: ast.Compare) -> None:
        self._each([node.left, node.comparators[0]])
        self._maybe(node.comparators[1:])

    def visit_Assert(self, node: ast.Assert) -> None:
        self.visit(node.test)
        self._maybe([node.msg] if node.msg else [])

    def visit_Try(self, node: Any) -> None:
        start = copied(self._own)
        self._each([*node.body, *node.orelse])
        ends = [self._own]
        for handler in node.handlers:
            self._own = copied(start)
            self.visit(handler)
            ends.append(self._own)
        self._own = copied(start)
        self._each(node.finalbody)
        last = self._own
        end = join(ends)
        self._own = None if end is None or last is None else end | last

    visit_TryStar = visit_Try

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.type:
            self.visit(node.type)
        if node.name:
            self._bind(node.name)
        self._each(node.body)

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        start = None
        for item in node.items:
            self.visit(item.context_expr)
            if start is None and _SWALLOWS.search(last_name(item.context_expr)):
                start = copied(self._own)  # it may end the body early and go on
            if item.optional_vars:
                self.visit(item.optional_vars)
        self._each(node.body)
        if start is not None:
            self._own = start

    visit_AsyncWith = visit_With

    def visit_Match(self, node: Any) -> None:
        self.visit(node.subject)
        start, ends = self._own, []
        for case in node.cases:
            self._own = copied(start)
            self._each([case.pattern, *([case.guard] if case.guard else []), *case.body])
            ends.append(self._own)
        last = node.cases[-1]
        sure = last.guard is None and type(last.pattern).__name__ == "MatchAs" and last.pattern.pattern is None
        self._own = join(ends if sure else [*ends, start])

    def _capture(self, node: Any) -> None:
        self.generic_visit(node)
        name = getattr(node, "name", None) or getattr(node, "rest", None)
        if name:
            self._bind(name)

    visit_MatchAs = visit_MatchStar = visit_MatchMapping = _capture


def copied(own: Own) -> Own:
    return None if own is None else set(own)


def last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Call):
        node = node.func
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
