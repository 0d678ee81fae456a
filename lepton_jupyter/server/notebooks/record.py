"""How far a job's outputs have come, as it is kept with the job (`Job.written`). Runs in Jupyter Server."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .cells import Content

UNTRUSTED = "it holds HTML that could run scripts, so the cell is not trusted: “Trust Notebook” shows all of it"
#: The record of a job that was seen, and none of whose outputs are in a notebook yet.
NOTHING: dict[str, Any] = {
    "seq": 0, "state": "", "how": "", "words": "", "time": 0.0, "final": False, "saved": False,
}  # fmt: skip
#: Seconds between two notes of a job that goes on: each is news to every page.
_NOTE_EVERY = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What became of one attempt to write."""

    seq: int
    state: str  # "written", "live" (a page gets them from its kernel), "waiting", "gone", "failed"
    how: str = ""  # "tab", "document", "file"
    words: str = ""
    final: bool = False  # the job had ended, so nothing is left to be written
    saved: bool = True  # it is in the file, not only in a page

    def as_json(self) -> dict[str, Any]:
        return {
            "seq": self.seq, "state": self.state, "how": self.how, "words": self.words, "time": time.time(),
            "final": self.final, "saved": self.saved,
        }  # fmt: skip


def report(content: Content, state: str, *, how: str = "", words: str = "", saved: bool = True) -> Written:
    """What became of writing `content`."""
    if state == "written" and not content.inert:
        words = words or UNTRUSTED
    return Written(seq=content.seq, state=state, how=how, words=words, final=content.final, saved=saved)


def is_home(written: Mapping[str, Any]) -> bool:
    """Whether a job's record says that nothing is left to do."""
    done = written.get("state") == "written" and bool(written.get("saved", True))
    return bool(written.get("final")) and (done or written.get("state") == "gone")


def is_news(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a record is worth keeping in place of the old one."""
    if {**old, "time": 0} == {**new, "time": 0}:
        return False
    alike = all(old.get(key) == new[key] for key in ("state", "how", "words", "final", "saved"))
    return not alike or new["final"] or new["time"] - float(old.get("time", 0)) >= _NOTE_EVERY
