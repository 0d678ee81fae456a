"""Python that hides in IPython's syntax: magics, ``!commands``, ``name?``. On the user's side."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

#: Magics whose argument, or whose cell, is Python that runs in the notebook's namespace.
_PYTHON = frozenset({"capture", "debug", "lprun", "memit", "mprun", "prun", "time", "timeit"})
_OPTIONS = re.compile(r"\s*(-[a-zA-Z]\S*\s+(\d+\s+)?)*")
_DOLLAR = re.compile(r"(?<!\$)\$([^\W\d]\w*)")
_BRACES = re.compile(r"(?<!\{)\{([^{}]+)\}")


def plain(code: str) -> str:
    """`code` in plain Python. Raises SyntaxError, ValueError or RuntimeError where IPython cannot read it."""
    from IPython.core.inputtransformer2 import TransformerManager

    return TransformerManager().transform_cell(code)


def parsed(code: str) -> list[ast.stmt]:
    """The statements of a piece of a cell; none when it does not parse."""
    try:
        return ast.parse(plain(code)).body
    except (SyntaxError, ValueError, RuntimeError):
        return []


def code_of_call(node: ast.Call) -> Iterator[ast.AST]:
    """What a call like ``get_ipython().run_line_magic('time', 'f(x)')`` runs."""
    method = shell_method(node)
    texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    if not method or not texts:
        return
    if method in ("system", "getoutput"):
        yield from _expanded(texts[0])
        return
    magic, line, cell = (*texts, "", "")[:3]
    yield from _expanded(line)
    if magic in ("pinfo", "pinfo2"):
        yield from parsed(line.partition(".")[0])
    elif magic in _PYTHON:
        if magic != "capture":
            yield from parsed(_OPTIONS.sub("", line, count=1))
        yield from parsed(cell)


def shell_method(node: ast.Call) -> str:
    """ "run_cell_magic" in ``get_ipython().run_cell_magic(…)``; "" in any other call."""
    of = node.func.value if isinstance(node.func, ast.Attribute) else None
    if isinstance(of, ast.Call) and isinstance(of.func, ast.Name) and of.func.id == "get_ipython":
        return str(getattr(node.func, "attr", ""))
    return ""


def _expanded(line: str) -> Iterator[ast.AST]:
    """The Python in ``!cmd $name {expression}``."""
    for text in [*_DOLLAR.findall(line), *_BRACES.findall(line)]:
        yield from parsed(text.strip())
