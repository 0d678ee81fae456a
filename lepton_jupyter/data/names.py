"""Which of the notebook's names a cell reads: static analysis, nothing is run. On the user's side.

``%%lepton_train --in auto`` sends these names. A name counts as read when the cell may read it before it has bound it;
what only dynamic code reads (``globals()[name]``, ``exec``) is not seen and has to be named by ``--in``.
"""

from __future__ import annotations

import ast
import builtins
import sys
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ._flow import Flow
from ._kinds import kind, reference, submodules, waits_everywhere
from ._magics import code_of_call, plain


@dataclass(frozen=True)
class Reads:
    """What a cell reads of its notebook. Each tuple is in the order of the cell, without repeats."""

    values: tuple[str, ...] = ()  # instances of classes that the notebook defines among them
    definitions: tuple[str, ...] = ()  # functions, classes and types that the notebook defines
    modules: dict[str, str] = field(default_factory=dict)  # name -> "numpy", or "sklearn.svm:SVC"
    unknown: tuple[str, ...] = ()  # neither the notebook has them nor Python; the host's kernel may
    imports: tuple[str, ...] = ()  # modules that the cell needs: by import statements, names and attributes
    dotted: frozenset[str] = frozenset()  # chains of attributes: "scipy.optimize.minimize"

    @property
    def names(self) -> tuple[str, ...]:
        """All that the notebook has: what to capture."""
        return (*self.modules, *self.definitions, *self.values)


def read(code: str, namespace: Mapping[str, Any]) -> Reads:
    """What the cell `code`, in IPython's syntax, reads of `namespace`.

    Never raises on strange code. A cell that does not parse reads nothing: the kernel that runs it shows its error.
    """
    try:
        with warnings.catch_warnings():  # the kernel that runs it warns
            warnings.simplefilter("ignore")
            tree = ast.parse(plain(code))
    except (SyntaxError, ValueError, RecursionError, MemoryError, RuntimeError):
        return Reads()
    flow = Flow(star=_star, call=code_of_call)
    try:
        flow.run(tree)
        names, dotted, imports = [*flow.now, *flow.later], flow.dotted, list(flow.imports)
    except RecursionError:  # nested beyond reason: then every name in it
        nodes = list(ast.walk(tree))
        names, dotted = list(dict.fromkeys(node.id for node in nodes if isinstance(node, ast.Name))), set()
        imports = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return _sorted(names, dotted, imports, namespace)


def _sorted(names: Iterable[str], dotted: Iterable[str], imports: Iterable[str], namespace: Mapping[str, Any]) -> Reads:
    values, definitions, unknown = [], [], []
    modules: dict[str, str] = {}
    needed = dict.fromkeys(imports)
    main = str(namespace.get("__name__", "__main__"))
    for name in names:
        if name not in namespace:
            if not hasattr(builtins, name) and not waits_everywhere(name):
                unknown.append(name)
            continue
        value = namespace[name]
        travels = kind(name, value, main)
        if travels == "import":
            modules[name] = reference(name, value)
            needed.update(dict.fromkeys(submodules(name, value, dotted)))
        elif travels == "definition":
            definitions.append(name)
        elif travels == "value":
            values.append(name)
    return Reads(tuple(values), tuple(definitions), modules, tuple(unknown), tuple(needed), frozenset(dotted))


def _star(module: str) -> Iterable[str]:
    """The names of a star-import, if this process has the module."""
    loaded = sys.modules.get(module)
    public = [name for name in vars(loaded) if not name.startswith("_")] if loaded else []
    return [str(name) for name in getattr(loaded, "__all__", public)]
