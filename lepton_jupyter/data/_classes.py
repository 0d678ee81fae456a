"""Which classes and functions a value holds, so that their source or modules travel with it. On the user's side."""

from __future__ import annotations

import functools
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

#: A walk looks at so many objects at most.
MOST = 1_000_000

_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, bytearray, memoryview, range, slice})
#: Values whose parts are numbers: walking into them finds nothing.
_LEAVES = frozenset({"numpy", "pandas", "polars", "pyarrow", "scipy", "tensorflow", "PIL", "datetime"})


def definitions_in(value: Any, cut: Callable[[], None] = lambda: None) -> Iterator[Any]:
    """The functions and classes that `value` holds, and the classes of all that it holds, each once.

    Builtin types are left out. `cut` is called when there is more in it than is looked at.
    """
    seen_ids: set[int] = set()
    seen_classes: set[type] = set()
    waiting = deque([value])
    for _ in range(MOST):
        if not waiting:
            return
        one = waiting.popleft()
        cls = one if isinstance(one, type) else type(one)
        if cls in _PLAIN or id(one) in seen_ids:
            continue
        seen_ids.add(id(one))
        if cls.__module__ != "builtins" and cls not in seen_classes:
            seen_classes.add(cls)
            yield cls
        if isinstance(one, types.FunctionType):
            yield one
        elif not isinstance(one, (type, types.ModuleType)):
            waiting.extend(_inside(one, cls))
    if waiting:
        cut()


def _inside(one: Any, cls: type) -> Iterator[Any]:
    parts: list[Iterable[Any]] = []
    if isinstance(one, dict):
        parts = [dict.keys(one), dict.values(one)]
    elif isinstance(one, (list, tuple, set, frozenset, deque)):
        parts = [one]
    for part in parts:
        if not _PLAIN.issuperset(map(type, part)):
            yield from part
    if cls.__module__ == "builtins" or _is_leaf(cls):
        return
    try:
        held = object.__getattribute__(one, "__dict__")
    except AttributeError:
        held = None
    if isinstance(held, dict):
        yield from held.values()
    for slot in _slots(cls):
        try:
            yield slot.__get__(one)
        except AttributeError:
            continue  # not set


@functools.lru_cache(maxsize=1024)
def _is_leaf(cls: type) -> bool:
    tensor = any(base.__qualname__ == "Tensor" for base in cls.__mro__)
    return tensor or str(cls.__module__).partition(".")[0] in _LEAVES


@functools.lru_cache(maxsize=1024)
def _slots(cls: type) -> tuple[Any, ...]:
    own = [base for base in cls.__mro__ if base.__module__ != "builtins"]
    return tuple(slot for base in own for slot in vars(base).values() if isinstance(slot, types.MemberDescriptorType))
