"""What a job left on its host, as its journal tells: files, and the variables of ``--out``. Runs in the Jupyter server.

A host may tell anything, and call a file whatever it likes. What is not well formed is passed over; a name is shown as
text and never used as one: a file's address is its number, and it is saved under `LeftFile.file_name`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..blobs import checked, checked_size
from ..errors import WireError
from ..outputs.words import visible
from ..wire import Event, from_json

#: So many names of files and of variables are kept of one job, and so many more are counted.
_MOST, _COUNTED = 10_000, 1_000_000
#: No host's file system has longer names.
_LONGEST_PATH = 4096
#: Characters of a name, of an address and of other words that are shown.
_NAME, _URL, _WORDS = 300, 2000, 200
#: What a saved file's name may have besides letters and digits, and its length; some file systems take 143 bytes.
_PLAIN, _LONGEST, _LONGEST_ENDING = " ._-+=(),@", 120, 20
#: What Windows takes for a device, whatever the ending.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)( *\.|$)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftFile:
    """The newest file of one name."""

    id: str  # ours, the same as long as there is the job: no output is called so
    name: str
    size: int
    digest: str
    url: str  # the bucket in which it is kept besides, or ""

    @property
    def shown(self) -> str:
        """Its name as one line of text."""
        return _cut(visible(self.name), _NAME)

    @property
    def file_name(self) -> str:
        """A name under which any file system and any browser can save it."""
        last = re.split(r"[/\\]", self.name)[-1]
        plain = "".join(char if char.isalnum() or char in _PLAIN else "_" for char in last).strip(". ")
        while len(plain.encode()) > _LONGEST:
            stem, dot, ending = plain.rpartition(".")
            short = dot and len(ending) <= _LONGEST_ENDING
            plain = f"{stem[:-1]}.{ending}" if short and stem else plain[:-1]
        if not plain.strip("_"):
            return self.id
        return f"_{plain}" if _DEVICES.match(plain) else plain

    def as_json(self) -> dict[str, Any]:
        about = {"id": self.id, "name": self.shown, "kind": "file", "mime": "application/octet-stream"}
        return {**about, "size": self.size, "url": _cut(visible(self.url), _URL)}


class Left:
    """Takes note of the events that tell of what is left."""

    def __init__(self) -> None:
        self._files: dict[str, LeftFile] = {}
        self._variables: dict[str, Any] = {}
        self._beyond: set[int] = set()  # hashes of the names that are not kept

    def add(self, event: Event) -> None:
        if event.event == "artifact":
            self._add_file(event.fields)
        elif event.event == "reply":
            left = from_json(event.buffers[0]).get("lepton")
            told = left.get("out") if isinstance(left, dict) else None
            self._variables = told if isinstance(told, dict) else {}

    def files(self) -> dict[str, LeftFile]:
        """By their ids, in the order in which their names first came."""
        return {file.id: file for file in self._files.values()}

    @property
    def unlisted(self) -> int:
        """How many names of files and of variables there are that are not told."""
        return len(self._beyond) + max(0, len(self._variables) - _MOST)

    def variables(self) -> list[dict[str, Any]]:
        """Name, size and words of each variable; size is None where it was not kept, and the words say why."""
        return [_variable(str(name), about) for name, about in list(self._variables.items())[:_MOST]]

    def _add_file(self, fields: Mapping[str, Any]) -> None:
        name, size, url = fields.get("name"), fields.get("size"), fields.get("url", "")
        if not isinstance(name, str) or len(name) > _LONGEST_PATH or not isinstance(url, str) or type(size) is not int:
            return
        before = self._files.get(name)
        if before is None and len(self._files) >= _MOST:
            if len(self._beyond) < _COUNTED:
                self._beyond.add(hash(name))
            return
        try:
            digest, size = checked(fields.get("digest", "")), checked_size(size)
        except WireError:
            return
        number = before.id if before else f"file-{len(self._files) + 1}"
        self._files[name] = LeftFile(id=number, name=name, size=size, digest=digest, url=url)


def _variable(name: str, about: Any) -> dict[str, Any]:
    told = about if isinstance(about, dict) else {"error": "the host told nothing sensible of it"}
    size = told.get("size")
    kept = "error" not in told and type(size) is int and size >= 0
    words = told.get("words", "") if kept else told.get("error", "")
    return {
        "name": _cut(visible(name), _NAME), "size": size if kept else None, "words": _cut(visible(str(words)), _WORDS)
    }  # fmt: skip


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
