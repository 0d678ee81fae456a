"""A job's outputs as plain text, for ``%lepton_logs``, ``lepton logs`` and the sidebar's log view.

Runs in the notebook's kernel, the server and the command line; needs no IPython. What a host sent may hold control
sequences that move a terminal's cursor, rename its window or type into it; of all these only colours are kept, and
only if wanted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from .folding import Output
from .terminal_view import plain

#: Escape sequences by their kinds: CSI (colours among them), OSC and other strings, two-byte ones, lone controls.
_CONTROL = re.compile(
    r"(?P<colour>\x1b\[[0-9;:]*m)"
    r"|[\x1b\x9b]\[?[0-?]*[ -/]*[@-~]"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
_STRING = re.compile(r"(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?")
#: Control characters as bytes; those from 0x80 on begin with 0xC2 in UTF-8.
_CONTROLS = bytes(code for code in range(0x80) if (code < 0x20 and chr(code) not in "\t\n") or code == 0x7F)
#: Characters that are cleaned at a time.
_PIECE = 1 << 16
_TEXTUAL = ("text/", "application/json")


def outputs_text(outputs: Iterable[Output], *, colour: bool = False) -> str:
    """All `outputs` one below the other: streams and tracebacks as they are, images by type and size."""
    text = ""
    for output in outputs:
        kind = output["output_type"]
        if text and not text.endswith("\n"):
            text += "\n"
        if kind == "stream":
            text += output["text"]
        elif kind == "error":
            text += "\n".join(output["traceback"]) or f"{output['ename']}: {output['evalue']}"
        else:
            text += _bundle_text(output["data"])
    return clean(text, colour=colour)


def clean(text: str, *, colour: bool = False) -> str:
    """`text` without anything that steers a terminal; colours stay when `colour` says so.

    A long text is taken in pieces of whole lines, most of which hold no control character: a search through megabytes
    would hold all threads of the process meanwhile.
    """
    return "".join(piece if _is_plain(piece) else _cleaned(piece, colour) for piece in _pieces(text))


def _pieces(text: str) -> Iterator[str]:
    start = 0
    while start < len(text):
        end = text.find("\n", start + _PIECE) + 1 or len(text)
        yield text[start:end]
        start = end


def _is_plain(piece: str) -> bool:
    data = piece.encode("utf-8", "surrogatepass")
    return b"\xc2" not in data and len(data.translate(None, _CONTROLS)) == len(data)


def _cleaned(piece: str, colour: bool) -> str:
    return _CONTROL.sub(lambda found: (found["colour"] or "") if colour else "", _STRING.sub("", piece))


def _bundle_text(data: dict[str, Any]) -> str:
    pictures = [
        f"[{mime}, {_size(value)}]"
        for mime, value in data.items()
        if not mime.startswith(_TEXTUAL) and not mime.endswith("+json")
    ]
    if not pictures or "text/plain" in data:
        return " ".join([plain(data), *pictures])
    return " ".join(pictures)


def _size(value: Any) -> str:
    length = len(value if isinstance(value, str) else json.dumps(value))
    return f"{length:,} characters" if length < 1024 else f"{length / 1024:,.0f} KiB"
