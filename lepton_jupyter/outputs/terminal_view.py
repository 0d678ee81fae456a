"""A job's outputs in a terminal."""

from __future__ import annotations

import json
import sys
import threading
from typing import Any, TextIO

from ..wire import Event, from_json
from .folding import DISPLAYED


class TerminalView:
    """Writes a job's outputs to a terminal, as plain IPython shows them."""

    def __init__(self, job_id: str) -> None:
        self._job_id = job_id
        self._notice = ""
        self._writing, self._closed = threading.RLock(), False

    def show(self, event: Event) -> None:
        with self._writing:
            if event.event == "iopub" and not self._closed:
                self._show(event)

    def _show(self, event: Event) -> None:
        self.notice("")
        msg_type, content = event.fields["msg_type"], from_json(event.buffers[1])
        if msg_type == "stream":
            _write(sys.stderr if content["name"] == "stderr" else sys.stdout, content["text"])
        elif msg_type in (*DISPLAYED, "update_display_data"):
            _write(sys.stdout, plain(content["data"]) + "\n")
        elif msg_type == "error":
            _write(sys.stderr, "\n".join(content["traceback"]) + "\n")
        elif msg_type == "clear_output":
            _write(sys.stdout, "\033[2K\r")

    def notice(self, text: str) -> None:
        with self._writing:
            if text != self._notice and sys.stderr.isatty() and not self._closed:
                _write(sys.stderr, "\r\033[2K" + text)
            self._notice = text

    def close(self) -> None:
        """Write nothing more. Python aborts when it ends while a thread that nobody waits for is writing.

        A terminal that takes nothing is waited for a second.
        """
        self._closed = True
        if self._writing.acquire(timeout=1):
            self._writing.release()


def _write(stream: TextIO, text: str) -> None:
    stream.write(text)
    stream.flush()


def plain(data: dict[str, Any]) -> str:
    """A mime bundle as text; what has no text is named by its types and size."""
    text = data.get("text/plain")
    if text is None:
        return "".join(f"<{mime}, {len(json.dumps(value)):,} characters>" for mime, value in data.items())
    return "".join(text) if isinstance(text, list) else str(text)
