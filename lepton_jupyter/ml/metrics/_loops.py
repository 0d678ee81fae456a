"""Which loops of the user's code are going on, and how far each is: read off the frames, not off the code's promises.

In the kernel's process. A step of training is called from within `for epoch in range(20)`; the frame above has the
line it is at and the loop's variable, and the source says what the variable counts. No code of the user's is run, but
for the length of a loader's data.
"""

from __future__ import annotations

import ast
import functools
import linecache
import os
import sysconfig
import weakref
from collections.abc import Callable, Sized
from dataclasses import dataclass
from types import FrameType
from typing import Any

#: Loops that are told: the outermost of those around a step.
MOST = 8
#: Whose loops are not the user's: libraries, also the trainers among them, and this one.
_LIBRARIES = (
    *{path for name, path in sysconfig.get_paths().items() if name in ("stdlib", "purelib", "platlib")},
    os.path.dirname(os.path.dirname(os.path.dirname(__file__))) + os.sep,
)
#: Iterators that were begun: by the id of what they go over, that (weakly) and how many turns are behind.
TURNS: dict[int, tuple[weakref.ref[Any], Callable[[], int | None]]] = {}
#: What is put around what is looped over.
_AROUND = {"tqdm", "trange", "enumerate", "list", "iter", "track", "notebook", "progress_bar", "master_bar"}


@dataclass(frozen=True)
class Loop:
    """A loop that goes on: `done` of `total` turns are behind."""

    name: str  # of its variable
    done: float
    total: float


def around(frame: FrameType | None) -> list[Loop]:
    """The loops that `frame` and its callers are in, the outermost first, as far as their lengths are known."""
    frames: list[FrameType] = []
    while frame is not None:  # a trainer's own frames are many, and the user's loop is beyond them
        if not frame.f_code.co_filename.startswith(_LIBRARIES):
            frames.append(frame)
        frame = frame.f_back
    found: list[Loop] = []
    for each in reversed(frames):
        for node in _loops(each.f_code.co_filename, len(linecache.getlines(each.f_code.co_filename))):
            if node.lineno < each.f_lineno <= (node.end_lineno or 0):
                loop = _read(node, each)
                if loop is not None:
                    found.append(loop)
    return found[:MOST]


@functools.lru_cache(maxsize=64)
def _loops(filename: str, lines: int) -> list[ast.For]:
    """All `for` loops of a file, as they stand; `lines` tells an old version of it from a new one."""
    try:
        tree = ast.parse("".join(linecache.getlines(filename)))
    except (SyntaxError, ValueError):
        return []  # a cell with magics in it
    return sorted((node for node in ast.walk(tree) if isinstance(node, ast.For)), key=lambda node: node.lineno)


def _read(node: ast.For, frame: FrameType) -> Loop | None:
    names = [each.id for each in ast.walk(node.target) if isinstance(each, ast.Name)]
    if not names:
        return None
    name, over = names[0], node.iter
    while isinstance(over, ast.Call) and _called(over) in _AROUND - {"trange"} and over.args:
        over = over.args[0]
    if isinstance(over, ast.Call) and _called(over) in ("range", "trange"):
        numbers = [_value(argument, frame) for argument in over.args]
        if not 1 <= len(numbers) <= 3 or not all(type(each) is int for each in numbers):
            return None
        turns = range(*numbers)
        at = frame.f_locals.get(name)
        return Loop(name, turns.index(at), len(turns)) if type(at) is int and at in turns else None
    value = _value(over, frame)
    known, far = TURNS.get(id(value), (None, None))
    done = far() if known is not None and far is not None and known() is value else None
    if done is None:
        return None
    try:
        total = len(value)
    except TypeError:
        return None  # of a stream nobody knows it
    return Loop("batch", min(done, total), total) if total else None


def _called(call: ast.Call) -> str:
    function = call.func
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def _value(node: ast.expr, frame: FrameType) -> Any:
    """The value of a name, a number, or an attribute that lies in an object as it is; None for all else."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return frame.f_locals.get(node.id, frame.f_globals.get(node.id))
    if isinstance(node, ast.Attribute):
        return getattr(_value(node.value, frame), "__dict__", {}).get(node.attr)
    if isinstance(node, ast.Call) and _called(node) == "len" and len(node.args) == 1:
        of = _value(node.args[0], frame)
        plain = type(of).__module__.partition(".")[0] in ("builtins", "numpy", "torch", "tensorflow", "pandas")
        try:
            return len(of) if plain and isinstance(of, Sized) else None  # no code of the user's
        except TypeError:
            return None  # a tensor without dimensions
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv)):
        left, right = _value(node.left, frame), _value(node.right, frame)
        if type(left) is int and type(right) is int:
            try:
                return {ast.Add: left.__add__, ast.Sub: left.__sub__, ast.Mult: left.__mul__}.get(
                    type(node.op), left.__floordiv__
                )(right)
            except ZeroDivisionError:
                return None
    return None
