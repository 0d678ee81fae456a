"""How one name of a notebook travels: by import, by source, by value, or not at all. On the user's side."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterable, Iterator
from typing import Any

from ._own_modules import is_own

#: What every kernel has by itself.
_IPYTHON = re.compile(r"__\w+__|_+|_i+|_[io]h|_dh|_i?\d+|_exit_code|In|Out|get_ipython|lepton")
#: IPython's own, unless the notebook has given the name another meaning.
_SHADOWED = frozenset({"display", "exit", "open", "quit"})


def waits_everywhere(name: str) -> bool:
    """Whether every kernel has that name by itself."""
    return name in _SHADOWED or bool(_IPYTHON.fullmatch(name))


def kind(name: str, value: Any, main: str = "__main__") -> str:
    """How a name of the notebook travels: "" (not at all), "import", "definition" or "value"."""
    if _IPYTHON.fullmatch(name):
        return ""
    home = getattr(type(value), "__module__", None) if not _named(value) else getattr(value, "__module__", None)
    if name in _SHADOWED and str(home).partition(".")[0] in ("IPython", "ipykernel", "builtins", "_io", "io"):
        return ""
    if isinstance(value, types.ModuleType) or reference(name, value):
        return "import"
    if isinstance(value, types.MethodType) and not isinstance(value.__self__, type):
        return "value"  # it has its object's state
    if _named(value) and home == main:
        return "definition"
    return "definition" if is_type_form(value) else "value"


def is_type_form(value: Any) -> bool:
    """TypeVar, NewType, and aliases such as ``list[int] | None``."""
    cls = type(value)
    return cls.__module__ == "typing" or (cls.__module__ == "types" and cls.__name__ in ("GenericAlias", "UnionType"))


def reference(name: str, value: Any) -> str:
    """Where `value` can be imported from: "numpy", "sklearn.svm:SVC"; "" when it has no such place.

    Taken by reference are modules, functions and classes, and what an installed library or Python itself has by this
    `name`, such as ``scipy.stats.norm``. Other instances have a state of their own.
    """
    if isinstance(value, types.ModuleType):
        return "os.path" if value.__name__ in ("posixpath", "ntpath") else value.__name__
    places = []
    if _named(value):
        places.append((getattr(value, "__module__", None), value.__qualname__))
    elif type(value).__module__ == "typing":
        places.append(("typing", getattr(value, "_name", None)))
    elif type(value).__name__ == "ufunc":
        places += [(module, value.__name__) for module in ("numpy", "scipy.special")]
    for module, path in places:
        if not isinstance(module, str) or not isinstance(path, str) or module == "__main__" or "<" in path:
            continue
        found: Any = sys.modules.get(module)
        for part in path.split("."):
            found = getattr(found, part, None)
        if found is value or _is_newer(found, value, path):
            return f"{module}:{path}"
    return _in_library(name, value)


def _in_library(name: str, value: Any) -> str:
    """The place where a library has exactly this object by this name; its own modules are looked through."""
    top = str(type(value).__module__).partition(".")[0]
    anywhere = top in ("typing", "types") or isinstance(value, types.BuiltinFunctionType)
    if top in ("builtins", "__main__") and not anywhere:
        return ""
    found = [
        module
        for module, loaded in list(sys.modules.items())
        if (anywhere or module.partition(".")[0] == top)
        and getattr(loaded, "__dict__", {}).get(name) is value
        and module != "__main__"
        and not is_own(str(getattr(loaded, "__file__", None) or ""))
    ]
    public = sorted(found, key=lambda module: (f".{module}".count("._"), len(module)))
    return f"{public[0]}:{name}" if public else ""


def _is_newer(found: Any, value: Any, path: str) -> bool:
    """Whether it is what the module has by that name since it was loaded again; IPython's autoreload does that."""
    return type(found) is type(value) and getattr(found, "__qualname__", "") == path


def _named(value: Any) -> bool:
    """Functions, classes and what wraps them know their own name; other instances do not."""
    try:
        return isinstance(getattr(value, "__qualname__", None), str)
    except Exception:  # noqa: BLE001 - whatever a foreign __getattr__ raises, it is no definition
        return False


def submodules(name: str, value: Any, dotted: Iterable[str]) -> Iterator[str]:
    """The modules to import so that `name` and its chains of attributes work: "scipy", "scipy.optimize"."""
    module = reference(name, value).partition(":")[0]
    yield module
    if isinstance(value, types.ModuleType):
        for chain in sorted(dotted):
            first, *parts = chain.split(".")
            inner = module
            for part in parts if first == name else ():
                inner = f"{inner}.{part}"
                if inner not in sys.modules:
                    break
                yield inner
