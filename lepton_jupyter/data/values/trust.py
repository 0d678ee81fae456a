"""Which classes and functions a document may name. The receiving end, either side.

On the host the notebook's owner speaks, so everything importable is there. On the user's side the host speaks: a name
is looked up among what the user's kernel has already loaded, without an import and without running any code, and just
data, never a function that could do harm, comes of it (docs/decisions/0019-typed-values.md).
"""

from __future__ import annotations

import importlib
import os
import sys
import sysconfig
from collections.abc import Mapping
from types import FunctionType, ModuleType
from typing import Any

from ...errors import UnknownClass

#: Where a library's code lies; everything else is the user's own.
_LIBRARIES = tuple(os.path.realpath(sysconfig.get_path(name)) + os.sep for name in ("stdlib", "platstdlib", "platlib"))
_PACKAGES = {"site-packages", "dist-packages"}
#: Built-in classes that may be a value on the user's side: calling them makes data.
_DATA = (bool, bytearray, bytes, complex, dict, float, frozenset, int, list, object, set, str, tuple)
#: Functions of libraries that may be a value on the user's side: they compute with their arguments, and that is all.
_SAFE_MODULES = ("torch.nn.functional", "torch._C._nn", "torch.special")
_SAFE_NAMES = {
    "torch": {"abs", "cos", "erf", "exp", "log", "relu", "selu", "sigmoid", "sin", "softmax", "sqrt", "square", "tanh"},
    "torch.utils.data._utils.collate": {"default_collate", "default_convert"},
}  # fmt: skip


class Trust:
    """What this end lets a document name: `Trust.host` or `Trust.notebook`."""

    def __init__(self, namespace: Mapping[str, Any], *, imports: bool) -> None:
        self._namespace, self._imports = namespace, imports

    @classmethod
    def host(cls, namespace: Mapping[str, Any]) -> Trust:
        """For the host, whose kernel has `namespace`: what the user sends may name whatever can be imported."""
        return cls(namespace, imports=True)

    @classmethod
    def notebook(cls, namespace: Mapping[str, Any]) -> Trust:
        """For the user's side, whose notebook has `namespace`: only what is loaded already, and no code runs."""
        return cls(namespace, imports=False)

    @property
    def is_host(self) -> bool:
        """Whether documents come from the notebook's owner."""
        return self._imports

    def find_class(self, module: str, qualname: str, base: type = object) -> Any:
        """The class of that name, derived from `base`. Raises UnknownClass."""
        found = self._find(module, qualname)
        if isinstance(found, type) and issubclass(found, base):
            return found
        raise UnknownClass(f"{module}.{qualname} is no class of {base.__name__} here")

    def find_own(self, module: str, qualname: str) -> Any:
        """The class of that name, which on the user's side must be one of his own. Raises UnknownClass."""
        found = self.find_class(module, qualname)
        if self._imports or is_own(found):
            return found
        raise UnknownClass(f"objects of {module}.{qualname} are not taken from a host")

    def find_reference(self, module: str, qualname: str) -> Any:
        """A class or function to be a value itself. Raises UnknownClass for one that a host may not hand to a user."""
        found = self._find(module, qualname)
        if self._imports or self._harmless(module, qualname, found):
            return found
        raise UnknownClass(
            f"{module}.{qualname} is not taken from a host: called by mistake it might do harm",
            hint="Leave it out of what comes back, or name it here again.",
        )

    def _harmless(self, module: str, qualname: str, found: Any) -> bool:
        if isinstance(found, type):
            package = module.partition(".")[0]
            return found in _DATA or is_own(found) or (package == "numpy" and _has_base(found, "numpy", "generic"))
        name = qualname.rpartition(".")[2]
        safe = module in _SAFE_MODULES and not name.startswith("_")
        return safe or name in _SAFE_NAMES.get(module, ()) or (isinstance(found, FunctionType) and is_own(found))

    def _find(self, module: str, qualname: str) -> Any:
        unknown = UnknownClass(
            f"{module}.{qualname} is not known here",
            hint="Define or import it here first, with a cell of its own." if not self._imports else "",
        )
        first, *rest = qualname.split(".")
        if module == "__main__":
            found = self._namespace.get(first)
        else:
            owner = sys.modules.get(module)
            if owner is None and self._imports:
                try:
                    owner = importlib.import_module(module)
                except ImportError as error:
                    unknown.hint = f"{error}."
                    raise unknown from error
            found = vars(owner).get(first) if isinstance(owner, ModuleType) else None
            if found is None and self._imports:
                found = getattr(owner, first, None)  # of a module that loads its names when asked
        for name in rest:
            found = vars(found).get(name) if isinstance(found, type) else None
        if isinstance(found, staticmethod):
            found = found.__func__
        if found is None:
            raise unknown
        return found


def is_own(thing: Any) -> bool:
    """Whether a class or function is the user's own: of the notebook, or of a module that is no installed library's."""
    name = getattr(thing, "__module__", None)
    if name == "__main__":
        return True
    path = getattr(sys.modules.get(name or ""), "__file__", None)
    if not isinstance(path, str) or (name or "").partition(".")[0] == __package__.partition(".")[0]:
        return False
    path = os.path.realpath(path)
    return not (path.startswith(_LIBRARIES) or _PACKAGES & set(path.split(os.sep)))


def _has_base(cls: type, module: str, name: str) -> bool:
    return any(base.__module__ == module and base.__qualname__ == name for base in cls.__mro__)
