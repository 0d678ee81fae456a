"""The outputs of a cell, folded from events by the rules of JupyterLab.

Streams of one name merge, ``\\r`` and ``\\b`` move the cursor, ``clear_output(wait=True)`` clears with the next output,
``update_display_data`` changes every output of its id.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from ..wire import Event, from_json

Output = dict[str, Any]
#: The messages that bring a mime bundle.
DISPLAYED = ("display_data", "execute_result")
_CONTROL = re.compile("[\n\r\b]")


def fold(events: Iterable[Event]) -> list[Output]:
    """The outputs of a cell, as nbformat 4 has them, after all of `events`."""
    folded = Fold()
    for event in events:
        folded.add(event)
    return folded.outputs()


class Fold:
    """The outputs of a cell, event by event."""

    def __init__(self) -> None:
        self._items: list[Output | _Text] = []
        self._by_id: dict[str, list[Output]] = {}
        self._clear_next = False
        self._captures: set[str] = set()

    def outputs(self) -> list[Output]:
        """The outputs so far, as copies."""
        return [item.output() if isinstance(item, _Text) else json.loads(json.dumps(item)) for item in self._items]

    def messages(self) -> list[tuple[str, dict[str, Any]]]:
        """Messages that bring an empty cell to where this one is, ready for the next message."""
        names = {id(output): name for name, outputs in self._by_id.items() for output in outputs}
        found: list[tuple[str, dict[str, Any]]] = []
        for item in self._items:
            if isinstance(item, _Text):
                found.append(("stream", {"name": item.name, "text": item.replay()}))
                continue
            content = {key: value for key, value in item.items() if key != "output_type"}
            if item["output_type"] in DISPLAYED:
                content["transient"] = {"display_id": names[id(item)]} if id(item) in names else {}
            found.append((item["output_type"], content))
        return found + ([("clear_output", {"wait": True})] if self._clear_next and found else [])

    @property
    def captured(self) -> bool:
        """Whether an Output widget takes the outputs at present, instead of the cell."""
        return bool(self._captures)

    def add(self, event: Event) -> None:
        if event.event == "iopub":
            self.add_message(event.fields["msg_type"], from_json(event.buffers[1]))

    def add_message(self, msg_type: str, content: dict[str, Any]) -> None:
        """Take in one IOPub message (https://jupyter-client.readthedocs.io/en/stable/messaging.html)."""
        if msg_type in ("comm_msg", "comm_close"):
            self._note_capture(msg_type, content)
        elif msg_type == "update_display_data":
            for output in self._by_id.get(content.get("transient", {}).get("display_id", ""), []):
                output.update(data=content["data"], metadata=content["metadata"])
        elif self._captures:
            return
        elif msg_type == "clear_output":
            if content.get("wait"):
                self._clear_next = True
            else:
                self._clear()
        elif msg_type == "stream":
            self._clear_if_due()
            last = self._items[-1] if self._items else None
            if not (isinstance(last, _Text) and last.name == content["name"]):
                last = _Text(content["name"])
                self._items.append(last)
            last.write(content["text"])
        elif msg_type in DISPLAYED or msg_type == "error":
            self._clear_if_due()
            self._items.append(self._output(msg_type, content))

    def _output(self, msg_type: str, content: dict[str, Any]) -> Output:
        if msg_type == "error":
            return {"output_type": "error", **{key: content[key] for key in ("ename", "evalue", "traceback")}}
        output: Output = {"output_type": msg_type, "data": content["data"], "metadata": content["metadata"]}
        if msg_type == "execute_result":
            output["execution_count"] = content["execution_count"]
        display_id = content.get("transient", {}).get("display_id")
        if display_id:  # whatever is shown under this id changes with it
            for other in (others := self._by_id.setdefault(display_id, [])):
                other.update(data=content["data"], metadata=content["metadata"])
            others.append(output)
        return output

    def _note_capture(self, msg_type: str, content: dict[str, Any]) -> None:
        """An Output widget names the request whose outputs it takes in its `msg_id`, and ``""`` when it stops."""
        comm_id = content.get("comm_id", "")
        state = content.get("data", {}).get("state", {})
        if msg_type == "comm_msg" and state.get("msg_id"):
            self._captures.add(comm_id)
        elif msg_type == "comm_close" or "msg_id" in state:
            self._captures.discard(comm_id)

    def _clear_if_due(self) -> None:
        if self._clear_next:
            self._clear()

    def _clear(self) -> None:
        self._items, self._by_id, self._clear_next = [], {}, False


class _Text:
    """A stream output, written the way a terminal writes: the cursor can go back on its line."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._parts: list[str] = []  # finished lines
        self._line = ""
        self._cursor = 0

    def write(self, text: str) -> None:
        start = 0
        for found in _CONTROL.finditer(text):
            self._put(text[start : found.start()])
            start = found.end()
            if found[0] == "\n":
                self._parts.append(self._line + "\n")
                self._line, self._cursor = "", 0
            elif found[0] == "\r":
                self._cursor = 0
            elif self._cursor:
                self._cursor -= 1
        self._put(text[start:])

    def output(self) -> Output:
        return {"output_type": "stream", "name": self.name, "text": "".join([*self._parts, self._line])}

    def replay(self) -> str:
        """The text that, written from the start, also leaves the cursor where it is now."""
        back = "\r" + self._line[: self._cursor] if self._cursor < len(self._line) else ""
        return "".join([*self._parts, self._line, back])

    def _put(self, text: str) -> None:
        self._line = self._line[: self._cursor] + text + self._line[self._cursor + len(text) :]
        self._cursor += len(text)
