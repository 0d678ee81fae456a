"""Which files are left out when a folder is sent. On the user's side.

``.leptonignore`` counts before ``.gitignore``, both before the list below; of two files of one kind the deeper one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..errors import ConfigError

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

#: What nobody means when they send a folder.
DEFAULTS = (
    ".git/", ".hg/", ".svn/", "__pycache__/", ".venv/", "venv/", "node_modules/", ".ipynb_checkpoints/", ".mypy_cache/",
    ".pytest_cache/", ".ruff_cache/", ".tox/", ".nox/", "*.py[co]", "*.egg-info/", ".DS_Store", ".lepton-*",
)  # fmt: skip


class Rules:
    """The ignore files that hold for one folder: its own and those of the folders above it in the same repository."""

    def __init__(self, kinds: tuple[str, ...] = (".gitignore", ".leptonignore")) -> None:
        self._kinds = kinds
        self._levels: list[tuple[int, str, GitIgnoreSpec]] = []  # (which kind, folder, patterns), weakest first

    @classmethod
    def at(cls, folder: str, base: str = "", kinds: tuple[str, ...] = (".gitignore", ".leptonignore")) -> Rules:
        """The rules for what lies in `folder`, from the root of its repository on, or from `base` on.

        When a folder above has it left out, those above do not count: then it was named in spite of them.
        """
        plain = cls(kinds)
        plain._levels.append((-1, folder, _spec(list(DEFAULTS), "")))
        rules = plain
        above = _above(folder, base)
        for place in above[:-1]:
            rules = rules.within(place)
        named = any(rules.ignore(place, True) for place in above[1:])
        return (plain if named else rules).within(folder)

    def within(self, folder: str) -> Rules:
        """The rules for what lies in `folder`, a folder inside the one of these."""
        found = []
        for rank, name in enumerate(self._kinds):
            path = os.path.join(folder, name)
            try:
                with open(path, encoding="utf-8", errors="surrogateescape") as file:
                    found.append((rank, folder, _spec(file.read().splitlines(), path)))
            except OSError:
                continue  # most folders have none
        if not found:
            return self
        rules = Rules(self._kinds)
        rules._levels = sorted([*self._levels, *found], key=lambda level: level[0])
        return rules

    def ignore(self, path: str, is_folder: bool) -> bool:
        """Whether the file or folder at this absolute path is left out."""
        for _, folder, spec in reversed(self._levels):
            top = folder.rstrip(os.sep) + os.sep
            if path.startswith(top):
                decided = spec.check_file(path[len(top) :] + "/" * is_folder).include
                if decided is not None:
                    return bool(decided)
        return False


def _above(folder: str, base: str) -> list[str]:
    """`folder` and those above it up to the repository's root, else up to `base`; the outermost first."""
    above = [folder]
    while os.path.dirname(above[-1]) != above[-1]:
        above.append(os.path.dirname(above[-1]))
    for index, place in enumerate(above):
        if os.path.exists(os.path.join(place, ".git")):
            return above[index::-1]
    return above[above.index(base) :: -1] if base in above else [folder]


def _spec(lines: list[str], path: str) -> GitIgnoreSpec:
    from pathspec import GitIgnoreSpec

    try:
        return GitIgnoreSpec.from_lines(lines)
    except ValueError as error:
        raise ConfigError(f"{path} has a pattern that git would not read: {error}") from error
