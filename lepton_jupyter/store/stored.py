"""A JSON object as the store keeps it: text until somebody looks into it. Runs wherever the store does.

A list of thousands of jobs has hundreds of thousands of numbers in its curves. Most readers want none of them, and each
would be an object that garbage collection looks through, with the whole process at a halt.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


class Stored(Mapping[str, Any]):
    """Like the dict that `text` says; it is not to be changed."""

    __slots__ = ("_value", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._value: dict[str, Any] | None = None

    def __getitem__(self, key: str) -> Any:
        return self._read()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Stored) and other.text == self.text:
            return True
        return isinstance(other, Mapping) and self._read() == dict(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._read())

    def _read(self) -> dict[str, Any]:
        if self._value is None:
            self._value = json.loads(self.text)
        return self._value
