"""How far a cell is in its passes over data, so that a checkpoint within an epoch can be gone on from. Remote kernel.

A pass is known by what it goes over and by its turn within the epoch. `of_torch` and `batches` begin passes here; what
is kept of those that go on is enough to begin them again behind the batches they had given, and draw the same numbers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ...errors import ConfigError
from .states import chance, put_chance_back

#: What becomes of a pass when its epoch is resumed: it goes on; it trained and gives nothing more; it is made again.
ON, BEHIND, AGAIN = "on", "behind", "again"


class Pass:
    """One pass over data. `about` is what it goes over, the same in another process: [kind, length, batch, order]."""

    def __init__(self, about: list[Any], position: Position) -> None:
        self.about = about
        self.began = chance()
        self.why = ""  # its position cannot be known
        self.trained = False  # in the run that was resumed
        self.steps_before = position.steps
        self.steps_after: int | None = None  # of the optimizers, when it ended
        self.within: list[tuple[Pass, int]] = []  # those that went on when it began, and how far they were
        self.after: list[tuple[Pass, int]] = []  # the same, when it ended
        self.renewed = False  # an iterator over the same had just ended: no loop within another one

    def going(self) -> bool:
        """Whether it has neither ended nor been left."""
        raise NotImplementedError

    def count(self) -> int:
        """Batches that it has given."""
        raise NotImplementedError

    def kept(self) -> dict[str, Any]:
        """What else a checkpoint has of it."""
        return {}


class Position:
    """Of one run of a cell, whose thread makes this."""

    def __init__(self) -> None:
        self.steps = 0  # of all optimizers
        self.blind = False  # `batches` asks what it goes over, and only its own pass counts
        self._thread = threading.get_ident()
        self._passes: list[Pass] = []
        self._outer = 0  # of these, so many began before the epoch
        self._in_epoch = False
        self._epoch_began: dict[str, Any] | None = None
        self._put_back: Callable[[], None] = lambda: None
        self._awaited_outer: list[dict[str, Any]] = []
        self._awaited: list[dict[str, Any]] = []  # of the epoch that is resumed, in order; all ON behind the first ON
        self._rested: list[dict[str, Any]] = []  # loaders of the checkpoint that made no pass then
        self._of_epochs = False  # the checkpoint was made in an epoch, so they go on in one
        self.idle: Callable[[], list[dict[str, Any]]] = list  # the same of this run
        self._found = False  # the first of those that go on has begun

    def begin_epoch(self) -> None:
        """An epoch begins; the one that is resumed, with the random numbers that it began with."""
        if self._epoch_began is not None:
            put_chance_back(self._epoch_began)
        self._passes = [each for each in self._passes if each.going()]
        self._outer, self._in_epoch, self._epoch_began = len(self._passes), True, chance()

    def end_epoch(self) -> None:
        """Raises ConfigError if the epoch was resumed and did not come to where it had been."""
        self._in_epoch, self._epoch_began = False, None
        self.require_resumed()

    def require_resumed(self) -> None:
        """Raises ConfigError if a pass of the checkpoint did not go on."""
        for kept in self._awaited_outer + self._awaited:
            raise ConfigError(
                f"the checkpoint was made after {kept['count']} batches of {words(kept['about'])}, and the cell did "
                "not go on there",
                hint="Resume with the loaders and loops that the checkpoint was made with.",
            )

    def _place(self) -> tuple[dict[str, Any] | None, str]:
        outer: list[dict[str, Any]] = []
        inner: list[dict[str, Any]] = []
        on: list[Pass] = []
        for place, one in enumerate(self._passes):
            into = inner if self._in_epoch and place >= self._outer else outer
            around = [(each, count) for each, count in one.within if each.going()]
            if one.going():
                if one.why:
                    return None, one.why
                if not one.renewed and any(count and each.count() == count for each, count in around):
                    return None, "one loop over data goes on within another one"
                on.append(one)
                into.append(
                    {
                        "about": one.about, "what": ON, "count": one.count(), "began": one.began,
                        "trained": self._trained(place), **one.kept(),
                    }
                )  # fmt: skip
            elif into is inner and around and self._trained(place):
                return None, "one loop over data trains within another one"
            elif into is inner and not on and not one.within:
                into.append({"about": one.about, "what": BEHIND if self._trained(place) else AGAIN})
        return ({"outer": outer, "inner": inner, "epoch": self._epoch_began} if on else None), ""

    def kept(self) -> tuple[dict[str, Any], str]:
        """What a checkpoint keeps; and, if it does not know the place within a pass that goes on, why."""
        place, why = self._place()
        return {"place": place, "rested": self.idle(), "in_epoch": self._in_epoch}, why

    def resume(self, kept: dict[str, Any], put_back: Callable[[], None]) -> None:
        """Go on where `kept` is; `put_back` undoes what the cell does until a pass goes on."""
        self._rested, self._of_epochs, self._put_back = list(kept["rested"]), kept["in_epoch"], put_back
        place = kept["place"]
        if place is not None:
            self._awaited_outer, self._awaited = list(place["outer"]), list(place["inner"])
            self._epoch_began = place["epoch"]

    def rested(self, about: list[Any]) -> dict[str, Any] | None:
        """What the checkpoint has of a loader whose next pass begins, once."""
        if self._in_epoch or not self._of_epochs:
            for number, kept in enumerate(self._rested):
                if kept["about"] == about:
                    return self._rested.pop(number)
        return None

    def resumed(self) -> None:
        """A pass was brought to where it had been."""
        self._put_back()

    def begin(self, one: Pass) -> dict[str, Any] | None:
        """This pass begins. What the checkpoint has of it, if it is one that trained, else None.

        Raises ConfigError if another one should begin.
        """
        if threading.get_ident() != self._thread:
            one.why = "a loader is gone through in another thread"
        kept = self._expected(one.about)
        one.trained = kept is not None and (kept["what"] == BEHIND or kept["trained"])
        one.within = self._going()
        one.renewed = any(each.about == one.about and each.after == one.within for each in self._passes)
        self._passes.append(one)
        return kept

    def end(self, one: Pass) -> None:
        """This pass has given its last batch, or gives none."""
        one.steps_after = self.steps
        one.after = self._going()

    def _going(self) -> list[tuple[Pass, int]]:
        return [(each, each.count()) for each in self._passes if each.going()]

    def _expected(self, about: list[Any]) -> dict[str, Any] | None:
        inner = self._awaited if self._in_epoch else []
        for awaited in (inner, self._awaited_outer):
            for place, kept in enumerate(awaited):
                if kept["about"] == about:
                    del awaited[place]
                    self._found |= kept["what"] == ON and awaited is inner
                    return kept if kept["what"] != AGAIN else None
                if awaited is inner and not self._found:
                    break  # up to there, passes come in order
        if inner and not self._found:
            raise ConfigError(
                f"the next pass in the checkpoint's epoch is over {words(inner[0]['about'])}, and one begins over "
                f"{words(about)}",
                hint="Resume with the loaders that the checkpoint was made with, or run the cell without --resume.",
            )
        return None

    def _trained(self, place: int) -> bool:
        after = self._passes[place].steps_after
        if after is None:  # it was left, at the latest when the next one began
            after = self._passes[place + 1].steps_before if place + 1 < len(self._passes) else self.steps
        return self._passes[place].trained or after > self._passes[place].steps_before


def words(about: list[Any]) -> str:
    """What a pass goes over."""
    kind, length, batch, order = about
    return f"{kind}{'' if length is None else f' of {length}'}{f' by {batch}' if batch else ''} {order}".strip()
