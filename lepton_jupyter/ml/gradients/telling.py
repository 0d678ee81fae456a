"""Tells each kind of intervention when it first happens, and all of them with their counts at the end."""

from __future__ import annotations

from collections.abc import Callable


class Told:
    """What was done to a cell's gradients."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self.counts: dict[str, int] = {}
        self._words: dict[str, Callable[[int], str]] = {}

    def did(self, kind: str, first: str, end: Callable[[int], str], times: int = 1) -> None:
        """It happened `times` more: `first` is said now if it is the first time, `end(count)` at the cell's end."""
        if not times:
            return
        if kind not in self.counts and first:
            self.say(first)
        self.counts[kind] = self.counts.get(kind, 0) + times
        self._words[kind] = end

    def say(self, words: str) -> None:
        """One line now."""
        self._tell(f"gradients: {words}")

    def end(self) -> None:
        """The cell has ended."""
        if self.counts:
            self.say("; ".join(self._words[kind](count) for kind, count in self.counts.items()))


def steps(count: int, what: str) -> str:
    """``3 steps were left out``."""
    return f"{count} step was {what}" if count == 1 else f"{count} steps were {what}"
