"""Functions and classes that the notebook defines travel as source, with what they need.

`capture` runs on the user's side, `restore` in the remote kernel. The document between them is JSON::

    {"modules": ["numpy"], "names": {"np": "numpy", "SVC": "sklearn.svm:SVC"}, "definitions": [
        {"name": "f", "made": "f", "text": "def f(x): …", "line": 3, "cell": 12, "future": false,
         "needs": ["Base"], "values": ["LIMIT"], "soon": ["TABLE"], "digest": "…"}], "holds": {"model": ["Net"]}}

`needs` and `values` are the definitions and values that have to be there before this one runs (decorators, defaults,
bases). What a body reads when it is called need not, so functions may call one another in any order; of that, `soon`
are the values that can be there. `holds` tells which values have to be set again when a definition was made anew.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import LeptonError
from ._classes import MOST, definitions_in
from ._definitions import Definitions, stale
from ._flow import Flow
from ._kinds import kind, reference, submodules
from ._restoring import restore

__all__ = ["Captured", "capture", "restore"]

_CUT = "classes of yours were looked for in the first {1:,} objects of {0}: name those that only come later with --in"


@dataclass(frozen=True)
class Captured:
    """What names of the notebook stand for: source in `doc`, and what else has to travel."""

    doc: dict[str, Any] = field(default_factory=dict)
    values: tuple[str, ...] = ()  # to be encoded and sent: those asked for, and those that definitions read
    imports: tuple[str, ...] = ()  # modules that the definitions, names and values need
    notes: tuple[str, ...] = ()  # what was not looked at

    @property
    def definitions(self) -> tuple[str, ...]:
        """The names of the functions and classes that are sent."""
        return tuple(entry["name"] for entry in self.doc.get("definitions", ()))


def capture(names: Iterable[str], namespace: Mapping[str, Any], dotted: Iterable[str] = ()) -> Captured:
    """What has to travel so that `names` of the notebook's `namespace` exist elsewhere, and all that they need.

    Classes of the notebook that values are instances of are among it. `dotted` are the chains of attributes that the
    cell reads: ``scipy.optimize.minimize`` needs more than ``import scipy``. Raises LeptonError, with the choices, for
    what has no source, keeps variables of its maker, or was made from a definition that has changed since.
    """
    work = _Capture(namespace)
    for name in names:
        work.add(name, dotted)
    return work.result()


class _Capture:
    def __init__(self, namespace: Mapping[str, Any]) -> None:
        self._namespace = namespace
        self._main = str(namespace.get("__name__", "__main__"))
        self._definitions = Definitions(namespace)
        self._values: dict[str, list[str]] = {}  # name -> the definitions that it holds or is an instance of
        self._names: dict[str, str] = {}
        self._modules: dict[str, None] = {}
        self._imports: dict[str, None] = {}
        self._entries: dict[str, dict[str, Any]] = {}
        self._notes: list[str] = []

    def add(self, name: str, dotted: Iterable[str] = ()) -> str:
        """Take in what `name` stands for; how it travels."""
        if name not in self._namespace:
            return ""
        value = self._namespace[name]
        travels = kind(name, value, self._main)
        if travels == "import":
            self._names[name] = reference(name, value)
            self._modules.update(dict.fromkeys(submodules(name, value, dotted)))
        elif travels == "definition" and name not in self._entries:
            self._define(name, value)
        elif travels == "value" and name not in self._values:
            self._values[name] = []
            held = list(definitions_in(value, lambda: self._notes.append(_CUT.format(name, MOST))))
            self._values[name] += filter(None, [self._held_by(name, one) for one in held])
        return travels

    def result(self) -> Captured:
        definitions = [self._entries[name] for name in self._in_order()]
        holds = {name: held for name, held in self._values.items() if held}
        doc = {"modules": list(self._modules), "names": self._names, "definitions": definitions, "holds": holds}
        imports = tuple({**self._modules, **self._imports})
        return Captured(doc if any(doc.values()) else {}, tuple(self._values), imports, tuple(self._notes))

    def _held_by(self, name: str, held: Any) -> str:
        """Take in what the value `name` holds; the definition's name. Who packs the value says what else cannot go."""
        if held.__module__ != self._main:
            self._imports[str(held.__module__)] = None
            return ""
        top = held.__qualname__.partition(".")[0]
        known = self._namespace.get(top)
        if isinstance(held, type) and top == held.__qualname__ and known is not held:
            if known is not None and not self._definitions.same_source(known, held):
                raise stale(name, top)
            if top not in self._entries:
                self._define(top, held)
        elif self._definitions.is_at(held.__qualname__, held):
            self.add(top)
        return top if top in self._entries else ""

    def _define(self, name: str, value: Any) -> None:
        made, line, text, place = self._definitions.text(name, value)
        entry: dict[str, Any] = {
            "name": name,
            "made": made,
            "text": text,
            "line": line,
            "cell": place.cell if place else 0,
        }
        entry["future"] = self._definitions.has_future(value)
        entry["digest"] = hashlib.sha256(json.dumps([name, made, text, entry["future"]]).encode()).hexdigest()
        self._entries[name] = entry
        if place:
            self._definitions.check(name, value, place.node)
        flow = Flow(eager=False).run(ast.parse(text))
        self._imports.update(flow.imports)
        travels = {need: self.add(need, flow.dotted) for need in [*flow.now, *flow.later] if need != made}
        entry["values"] = [need for need in flow.now if travels.get(need) == "value"]
        # What a decorator reads when it is called has to be there in time, too.
        entry["soon"] = [need for need in flow.later if travels.get(need) == "value" and not self._values[need]]
        needs = [need for need in flow.now if travels.get(need) == "definition"]
        needs += [held for value in entry["values"] for held in self._values[value]]
        entry["needs"] = list(dict.fromkeys(need for need in needs if need != name))

    def _in_order(self) -> list[str]:
        """Every definition after what it needs at once; apart from that, callers after what they call."""
        order: dict[str, None] = {}
        running: list[str] = []

        def place(name: str) -> None:
            if name in order or name not in self._entries:
                return
            if name in running:
                circle = " → ".join([*running[running.index(name) :], name])
                raise LeptonError(
                    f"{name} cannot be sent: definitions need one another at once ({circle})",
                    hint="One of them was made from an earlier version of another: run their cells again, in order.",
                )
            running.append(name)
            for need in self._entries[name]["needs"]:
                place(need)
            running.pop()
            order[name] = None

        for name in reversed(list(self._entries)):  # entered first, needed last
            place(name)
        return list(order)
