"""How far a job is and how well it learns, read off what its cell prints.

Runs in the notebook's kernel, the server and the command line. A pure function of the events, by the times they carry:
whoever follows a job from its first event comes to the same figures. It is cheap by looking away: what is printed is
kept as the bytes it came in, only the newest of it, and read a few times in each second of the job's time.
"""

from __future__ import annotations

import collections
import html
import re
from typing import Any

from ..wire import Event, from_json
from ._curves import Curves
from ._levels import Levels
from ._measured import Measured
from ._models import Models
from ._readings import Step, lines_of, read_html, read_line, read_table

#: Seconds of a job's time between looks at what it printed.
_EVERY = 0.5
#: Bytes and messages that are kept between looks, and as many lines are read at each.
_WINDOW, _LINES = 8192, 50
#: A single message beyond this is text by the megabyte, not a bar; but a bar in HTML may stand above a long table.
_LARGE, _HUGE = 1 << 16, 1 << 20
_TOLD = frozenset(("stream", "display_data", "update_display_data", "comm_open", "comm_msg"))
_TAG = re.compile("<[^>]*>")


class Progress:
    """What one job tells; `telemetry` has the keys ``progress``, ``metric``, ``training`` and ``models`` once known."""

    def __init__(self) -> None:
        self._recent: collections.deque[tuple[float, str, bytes]] = collections.deque()
        self._size = 0
        self._began: float | None = None
        self._looked = self._now = 0.0
        self._tails: dict[str, str] = {}  # stream -> its last line, which may go on
        self._rows: list[str] = []  # of the table of results that was shown last
        self._widgets: dict[str, tuple[float, float, float]] = {}  # comm of a progress widget -> min, max, value
        self._levels, self._curves = Levels(), Curves()
        self._measured, self._models = Measured(), Models()

    def add(self, event: Event) -> None:
        """Take note of an event."""
        time = event.fields.get("time")
        if isinstance(time, (int, float)) and time > self._now:
            self._now = float(time)
        if self._began is None:
            self._began = self._looked = self._now
        if event.event == "metrics":
            self._measured.take(event.fields, self._now, self._began)
            return
        kind = event.fields.get("msg_type")
        if event.event != "iopub" or kind not in _TOLD or len(event.buffers) < 2:
            return
        body = event.buffers[1]
        if kind == "display_data":
            self._models.take(body)
        if kind == "comm_open" and (len(body) > _LARGE or b"ProgressModel" not in body):
            return
        self._recent.append((self._now, kind, body))
        self._size += len(body)
        while (self._size > _WINDOW and len(self._recent) > 1) or len(self._recent) > _LINES:
            self._size -= len(self._recent.popleft()[2])
            self._tails.clear()  # they do not go on here
        if kind == "comm_open" or self._now - self._looked >= _EVERY:
            self._look()

    def telemetry(self) -> dict[str, Any]:
        """What is known now: JSON, without NaN. Logged values go before printed ones, those before measured ones."""
        self._look()
        measured = self._measured
        progress = measured.trainers() or self._levels.telemetry() or measured.levels.telemetry()
        curves = (measured.logged, self._curves, measured.curves)
        metric = next((found for each in curves if (found := each.telemetry())), {})
        if metric:  # what a picture of one curve leaves out
            metric["metric"]["others"] = len({name for each in curves for name in each.names}) - 1
            metric["metric"]["recorded"] = bool(measured.logged.names or measured.curves.names)
        return {**progress, **metric, **measured.training(), **self._models.telemetry()}

    def _look(self) -> None:
        """Read what came since the last look; the lines of one message, as if they had come evenly."""
        found: list[tuple[float, str | Step]] = []
        while self._recent:
            time, kind, body = self._recent.popleft()
            try:
                told = self._told(kind, body)
            except (ValueError, TypeError, AttributeError, KeyError):
                continue  # a message that follows no rule shows nothing
            since = self._looked
            found += [(since + (time - since) * number / len(told), one) for number, one in enumerate(told, 1)]
            self._looked = time
        self._size = 0
        for time, one in found[-_LINES:]:
            if isinstance(one, Step):
                self._levels.take(one, time)
                continue
            reading = read_line(one)
            if reading.step is not None:
                self._levels.take(reading.step, time)
            for name, value in reading.metrics.items():
                self._curves.take(name, time - (self._began or 0.0), value)
        self._looked = self._now

    def _told(self, kind: str, body: bytes) -> list[str | Step]:
        """The lines and bars in a message."""
        if kind == "stream":
            return [*self._lines(body)]
        if len(body) > (_HUGE if b"<progress" in body[:2000] else _LARGE):
            return []
        content = from_json(body)
        if kind in ("comm_open", "comm_msg"):
            return self._widget(str(content["comm_id"]), content["data"].get("state", {}))
        data = content["data"]
        if any(mime.startswith("application/vnd.jupyter.widget") for mime in data):
            return []  # its text is a picture of the first moment; the widget's own messages tell the rest
        page = _joined(data.get("text/html", ""))
        step = read_html(page)
        if step is not None:
            return [*self._table(page), step]
        return [*lines_of(_joined(data.get("text/plain", ""))[-_WINDOW:])]

    def _lines(self, body: bytes) -> list[str]:
        if len(body) > _LARGE:  # not worth parsing for its end
            cut = body[-_WINDOW:].decode("utf-8", "replace").replace("\\n", "\n").replace("\\r", "\r")
            return lines_of(cut)[1:]
        content = from_json(body)
        name = str(content["name"])
        known = self._tails.get(name, "")
        lines = lines_of((known + content["text"])[-_WINDOW:])
        self._tails[name] = lines[-1] if lines and content["text"][-1:] not in ("", "\n") else ""
        return lines[1:] if lines[:1] == [known] else lines  # what was read before and did not go on

    def _table(self, page: str) -> list[str]:
        """The rows that are new in a table of results, which is shown again with every step."""
        rows, before = read_table(page), self._rows
        self._rows = rows
        return rows[len(before) :] if rows[: len(before)] == before else rows

    def _widget(self, comm: str, state: dict[str, Any]) -> list[str | Step]:
        """ipywidgets' progress bars, and the text beside tqdm's."""
        if isinstance(text := state.get("value"), str):
            # tqdm's bar says by itself how far it is; what it writes beside has the metrics
            return [html.unescape(_TAG.sub("", text)).partition("[")[2]]
        low, high, value = self._widgets.get(comm, (0.0, 0.0, 0.0))
        if "_model_name" not in state and comm not in self._widgets:
            return []
        low, high = float(state.get("min", low)), float(state.get("max", high))
        self._widgets[comm] = low, high, value = low, high, float(state.get("value", value))
        if high - low <= 1:
            return []  # tqdm's bar of unknown length has 1
        return [Step(key=f"widget {comm}", done=value - low, total=high - low, unit="it")]


def _joined(text: Any) -> str:
    return "".join(text) if isinstance(text, list) else str(text)
