"""What a job displayed, as files to take away; what it left is in `left`. Pure; in the server's worker threads.

Each representation of each displayed output is a file: ``out-03.png``, ``out-03.html``. Names are ours, so no name that
a host invents reaches a page, a header or a disk.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..outputs import Output

#: Mime type -> ending. What is not here ends in .json or .bin.
_ENDINGS = {
    "text/plain": "txt", "text/html": "html", "text/markdown": "md", "text/latex": "tex", "text/csv": "csv",
    "image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp", "image/svg+xml": "svg",
    "application/pdf": "pdf", "application/json": "json", "application/javascript": "js",
    "application/vnd.plotly.v1+json": "plotly.json",
}  # fmt: skip
#: What may be told to a browser as what it is: it runs no script in them.
_HARMLESS = ("text/plain", "text/csv", "image/png", "image/jpeg", "image/gif", "image/webp", "application/json")


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """One file."""

    name: str
    mime: str
    data: bytes

    @property
    def content_type(self) -> str:
        """As it goes over HTTP: a page or script of the host's is bytes, whatever it says it is."""
        return self.mime if self.mime in _HARMLESS else "application/octet-stream"

    def as_json(self) -> dict[str, Any]:
        about = {"id": self.name, "name": self.name, "kind": "output", "mime": self.mime}
        return {**about, "size": len(self.data), "url": ""}


def artifacts(outputs: Sequence[Output]) -> Iterator[Artifact]:
    """The files that `outputs` hold, in order."""
    for number, output in enumerate(outputs, 1):
        data = output.get("data")
        bundle = data if isinstance(data, dict) else {}
        taken: set[str] = set()
        for mime, value in bundle.items():
            ending = _ENDINGS.get(mime) or ("json" if mime.endswith("json") else "bin")
            name = f"out-{number:02}.{ending}"
            extra = 2
            while name in taken:
                name, extra = f"out-{number:02}-{extra}.{ending}", extra + 1
            taken.add(name)
            yield Artifact(name=name, mime=str(mime), data=_bytes(mime, value))


def _bytes(mime: str, value: Any) -> bytes:
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        value = "".join(value)
    if not isinstance(value, str):
        return json.dumps(value, indent=1).encode()
    textual = mime.startswith("text/") or mime.endswith(("+xml", "json", "javascript"))
    if not textual:
        try:
            return base64.b64decode(value, validate=False)
        except (binascii.Error, ValueError):
            return value.encode("utf-8", "replace")
    return value.encode("utf-8", "replace")
