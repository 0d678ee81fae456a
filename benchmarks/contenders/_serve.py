"""A contender's end of a benchmark: commands come as JSON lines on stdin, each answered by one line on stdout.

Runs in the contender's process, whose interpreter may be the peers' own: standard library only. Every contender is a
process of its own, so that its time, memory and CPU are measured alike.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
import traceback
from typing import Any, Protocol

#: Longer texts are answered by their digest alone.
_LONG = 1 << 18


class Recorder:
    """What a cell showed, as a front end would keep it, and when it came."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._arrivals: list[tuple[float, int]] = []  # when, how many characters of stdout there were then
        self._length = 0
        self._displays: list[dict[str, Any]] = []
        self._updates = 0
        self._error = ""

    def add(self, msg_type: str, content: dict[str, Any]) -> None:
        """Take in one IOPub message."""
        if msg_type == "stream" and content["name"] == "stdout":
            self._text.append(content["text"])
            self._length += len(content["text"])
            self._arrivals.append((time.monotonic(), self._length))
        elif msg_type in ("display_data", "execute_result"):
            self._displays.append({**content, "id": content.get("transient", {}).get("display_id")})
        elif msg_type == "update_display_data":
            self._updates += 1
            for shown in self._displays:
                if shown["id"] == content["transient"]["display_id"]:
                    shown["data"] = content["data"]
        elif msg_type == "error":
            self._error = f"{content['ename']}: {content['evalue']}"

    def answer(self) -> dict[str, Any]:
        """All of it, for the benchmark."""
        text = "".join(self._text)
        return {
            "text": text if len(text) < _LONG else "",
            "arrivals": self._arrivals if len(text) < _LONG else [],
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "displays": [str(shown["data"].get("text/plain", "")) for shown in self._displays],
            "updates": self._updates,
            "failed": self._error,
        }


class Contender(Protocol):
    """One way to run cells."""

    def start(self, **options: Any) -> dict[str, Any] | None:
        """Make a kernel and have it answer a first cell."""

    def cell(self, code: str, recorder: Recorder, timeout: float) -> None:
        """Run a cell; returns when it has ended and all it showed is in `recorder`. Raises TimeoutError."""

    def stop(self) -> None:
        """End the kernel."""


def serve(contender: Contender) -> None:
    """Obey until stdin ends."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    print(json.dumps({"ready": True}), file=out)
    for line in sys.stdin:
        fields = json.loads(line)
        do = fields.pop("do")
        recorder = Recorder()
        ended, more, began = True, None, time.perf_counter()
        try:
            if do == "cell":
                contender.cell(fields["code"], recorder, fields["timeout"])
            else:
                more = getattr(contender, do)(**fields)
        except TimeoutError:
            ended = False
        except Exception as error:  # noqa: BLE001 - the benchmark is told, and says it in its table
            traceback.print_exc()
            print(json.dumps({"error": f"{type(error).__name__}: {error}"}), file=out)
            continue
        seconds = time.perf_counter() - began
        print(json.dumps({"seconds": seconds, "ended": ended, **recorder.answer(), **(more or {})}), file=out)
