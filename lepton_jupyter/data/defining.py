"""A class that a cell defined over there is defined here too, when a value of it comes back. On the user's side.

What runs here is the user's own cell as the notebook has it, never what a host sent; and of the cell only the class,
what it is made of, and the imports and constants that these read.
"""

from __future__ import annotations

import ast
import hashlib
import linecache
from collections.abc import Iterable, Iterator, MutableMapping
from typing import Any

from ._magics import parsed

_DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_IMPORTS = (ast.Import, ast.ImportFrom)


def define(name: str, code: str, namespace: MutableMapping[str, Any]) -> bool:
    """Define class `name` in `namespace` as the cell `code` does; False when the cell does not define it at its top.

    Raises what the definition raises, such as ImportError for a module that is not here.
    """
    statements = parsed(code)
    makers = {bound: statement for statement in statements for bound in _bound(statement)}
    if not isinstance(makers.get(name), ast.ClassDef):
        return False
    wanted, waiting = set(), [name]
    while waiting:
        maker = makers.get(waiting.pop())
        if maker is None or maker in wanted:
            continue
        wanted.add(maker)
        waiting += [read for read in _read(maker) if read not in namespace]
    file = f"<{name} of a remote cell, {hashlib.sha256(code.encode()).hexdigest()[:8]}>"
    linecache.cache[file] = (len(code), None, [line + "\n" for line in code.split("\n")], file)  # for tracebacks
    body = [statement for statement in statements if statement in wanted]
    exec(compile(ast.Module(body, []), file, "exec", dont_inherit=True), namespace)  # type: ignore[arg-type] # noqa: S102 - the user's code
    return name in namespace


def _bound(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement binds, if it is one that does nothing else."""
    if isinstance(statement, _DEFINITIONS):
        yield statement.name
    elif isinstance(statement, _IMPORTS):
        yield from ((alias.asname or alias.name).partition(".")[0] for alias in statement.names)
    elif isinstance(statement, ast.Assign) and _is_constant(statement.value):
        yield from (target.id for target in statement.targets if isinstance(target, ast.Name))


def _read(statement: ast.stmt) -> Iterable[str]:
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def _is_constant(value: ast.expr) -> bool:
    try:
        ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, RecursionError):
        return False
    return True
