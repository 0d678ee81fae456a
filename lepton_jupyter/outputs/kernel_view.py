"""A job's outputs as those of one cell of this Jupyter kernel."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Any

from ..wire import Event, from_json
from .folding import DISPLAYED, Fold

_OUTPUTS = (*DISPLAYED, "stream", "error")


class KernelView:
    """Publishes a job's outputs as those of one cell of this Jupyter kernel, whichever cell runs by then.

    `kernel` is the ipykernel we run in, `parent` the request message of the cell. Messages go out with their bytes as
    they came; only what names the remote kernel's own requests is translated.

    `above` gives the content of a display message that is not the job's: it is shown first, and again above the outputs
    whenever the job clears them.
    """

    def __init__(
        self, kernel: Any, parent: dict[str, Any], send_comm: Callable[..., None],
        above: Callable[[], dict[str, Any]] | None = None,
    ) -> None:  # fmt: skip
        self._kernel, self._parent, self._send_comm, self._above = kernel, parent, send_comm, above
        self._above_is_due = False  # the next output clears the cell, so what stands above it has to come first
        self._count = kernel.shell.displayhook.prompt_count
        self._fold: Fold | None = Fold()
        self._notice = ""
        self._notice_id = f"lepton-{secrets.token_hex(4)}"
        self._comms: dict[str, Any] = {}
        self._parents: dict[str, dict[str, Any]] = {}  # msg_id of a comm message we sent -> the front end's own
        self._published = 0
        self._show_above()

    def redraw_above(self) -> None:
        """Put what `above` gives now in the place of what it gave before. For any thread."""
        if self._above is not None:
            self._publish("update_display_data", _json(self._above()))

    def show(self, event: Event) -> None:
        if event.event == "state":
            if event.fields["state"] in ("COMPLETED", "FAILED", "CANCELLED"):
                self.notice("")
                self._fold = None  # nothing can be taken back any more, so nothing needs to be remembered
            return
        if event.event != "iopub":
            return
        if self._notice:
            self.notice("")
        msg_type, content = event.fields["msg_type"], from_json(event.buffers[1])
        if self._fold is not None:
            self._fold.add_message(msg_type, content)
        captured = self._fold is not None and self._fold.captured
        metadata, body = from_json(event.buffers[0]), event.buffers[1]
        parent = self._parents.get(event.fields["parent"], self._parent)
        if msg_type.startswith("comm_"):
            body = self._relay_comm(msg_type, content, event.fields["parent"], parent) or body
        elif msg_type == "execute_result" and content["execution_count"] != self._count:
            body = json.dumps({**content, "execution_count": self._count}).encode()
        if self._above_is_due and msg_type in _OUTPUTS and not captured:
            self._show_above()
        self._publish(msg_type, body, metadata, event.buffers[2:], parent)
        if msg_type == "clear_output" and not captured:
            self._above_is_due = self._above is not None
            if not content.get("wait"):
                self._show_above()

    def notice(self, text: str) -> None:
        if text == self._notice or self._fold is None or self._fold.captured:
            return
        data = {"text/plain": text, "text/html": f'<span style="opacity:.6">{_escape(text)}</span>'}
        notice = {"data": data, "metadata": {}, "transient": {"display_id": self._notice_id}}
        if text:
            self._publish("update_display_data" if self._notice else "display_data", _json(notice))
        else:
            # Only clearing takes an output away, so what else the cell shows is shown again.
            again = self._fold.messages()
            self._publish("clear_output", _json({"wait": bool(again or self._above)}))
            self._show_above()
            for kind, content in again:
                self._publish(kind, _json(content))
                self._above_is_due = kind == "clear_output" and self._above is not None
        self._notice = text

    def _show_above(self) -> None:
        self._above_is_due = False
        if self._above is not None:
            self._publish("display_data", _json(self._above()))

    def _publish(
        self, msg_type: str, content: bytes, metadata: dict[str, Any] | None = None,
        buffers: tuple[bytes, ...] = (), parent: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        kernel = self._kernel
        if self._published % 256 == 0:  # again and again: a front end may connect at any time
            _drop_nothing(kernel)
        self._published += 1
        kernel.session.send(
            kernel.iopub_socket, msg_type, content, parent=parent or self._parent, ident=msg_type.encode(),
            metadata=metadata, buffers=list(buffers) or None,
        )  # fmt: skip

    def _relay_comm(self, msg_type: str, content: dict[str, Any], request: str, parent: dict[str, Any]) -> bytes | None:
        """Keep a twin of a remote widget here, so that the front end's messages to it find their way."""
        comm_id = content["comm_id"]
        manager = self._kernel.comm_manager
        if msg_type == "comm_open":
            self._comms[comm_id] = manager.comms[comm_id] = _Twin(
                comm_id, content.get("target_name", ""), self._from_front_end
            )
        elif msg_type == "comm_close":
            self._comms.pop(comm_id, None)
            manager.comms.pop(comm_id, None)
        state = content.get("data", {}).get("state", {})
        if state.get("msg_id") == request:  # an Output widget takes the outputs of this request
            state["msg_id"] = parent["header"]["msg_id"]
            return json.dumps(content).encode()
        return None

    def _from_front_end(self, msg_type: str, message: dict[str, Any]) -> None:
        msg_id = message["header"]["msg_id"]
        self._parents[msg_id] = message
        if len(self._parents) > 1000:
            self._parents.pop(next(iter(self._parents)))
        metadata, content = json.dumps(message["metadata"]).encode(), json.dumps(message["content"]).encode()
        self._send_comm(msg_type, msg_id, metadata, content, *map(bytes, message.get("buffers", [])))


def _drop_nothing(kernel: Any) -> None:
    """Let the kernel's output socket hold what a slow front end has not taken yet.

    ZeroMQ drops the 1001st message that waits, unless told otherwise; what arrives after a cut comes in longer bursts.
    """
    thread = getattr(kernel.iopub_socket, "io_thread", None)  # a ZeroMQ socket belongs to its thread
    if thread is not None:
        thread.schedule(lambda: setattr(thread.socket, "sndhwm", 0))


class _Twin:
    """What ipykernel's comm manager knows of a remote comm: an id, and where its messages go."""

    def __init__(self, comm_id: str, target_name: str, send: Callable[[str, dict[str, Any]], None]) -> None:
        self.comm_id, self.target_name, self._send = comm_id, target_name, send

    def handle_msg(self, message: dict[str, Any]) -> None:
        self._send("comm_msg", message)

    def handle_close(self, message: dict[str, Any]) -> None:
        self._send("comm_close", message)


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content).encode()


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
