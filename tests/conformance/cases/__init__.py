"""The cells that must show the same here and on a target. Each file holds one kind; each case is plain source."""

from __future__ import annotations

import importlib
import pkgutil
import re
from dataclasses import dataclass

#: In the order in which they run: what is heavy comes last.
KINDS = ("text", "rich", "errors", "ipython", "processes", "widgets", "volume")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A cell, or a few that follow one another; a line `# %%` begins the next."""

    name: str
    source: str
    #: A regular expression: what the outputs hold on a plain kernel, so that no case passes by showing nothing.
    shows: str

    @property
    def cells(self) -> list[str]:
        return [cell.strip("\n") for cell in re.split(r"(?m)^# %%\n", self.source)]


def all_cases() -> list[Case]:
    """Every case, the kinds in their order."""
    assert {info.name for info in pkgutil.iter_modules(__path__)} == set(KINDS)
    found = []
    for kind in KINDS:
        cases = importlib.import_module(f"{__name__}.{kind}").CASES
        found += [
            Case(name=f"{kind}-{name}", shows=shows, source=source.lstrip("\n"))
            for name, (shows, source) in cases.items()
        ]
    return found
