"""A Jupyter front end in the test process: cells, answers to questions, widgets, the stop button.

Drives a real ipykernel by jupyter_client, as JupyterLab does over its WebSocket: every message is kept under the
request that it belongs to, whenever it arrives.
"""

from __future__ import annotations

import queue
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zmq
from jupyter_client import BlockingKernelClient, KernelManager

from lepton_jupyter.outputs import Fold

Message = dict[str, Any]
#: Longer than anything a test waits for.
PATIENCE = 90.0
_CHANNELS = ("stdin", "iopub", "shell")


class Cell:
    """One executed cell, as the front end knows it."""

    def __init__(self, front_end: FrontEnd, msg_id: str) -> None:
        self._front_end, self.msg_id = front_end, msg_id

    @property
    def messages(self) -> list[Message]:
        """What arrived for this cell on iopub so far."""
        return list(self._front_end.by_parent[self.msg_id])

    def reply(self) -> dict[str, Any]:
        """The content of the cell's reply, once it is there and the cell is idle."""
        self._front_end.until(lambda: self.msg_id in self._front_end.replies and self.idle)
        content: dict[str, Any] = self._front_end.replies[self.msg_id]["content"]
        return content

    @property
    def idle(self) -> bool:
        states = [m["content"]["execution_state"] for m in self.messages if m["msg_type"] == "status"]
        return "idle" in states

    def outputs(self) -> list[dict[str, Any]]:
        """The cell's outputs now, as JupyterLab would have them."""
        fold = Fold()
        for message in self.messages:
            fold.add_message(message["msg_type"], message["content"])
        return fold.outputs()

    def text(self, name: str = "stdout") -> str:
        """All that this cell shows on a stream now."""
        return "".join(output["text"] for output in self.outputs() if output.get("name") == name)

    def shows(self, text: str, name: str = "stdout") -> str:
        """Wait until the cell shows `text` on a stream; all that it shows there by then."""
        self._front_end.until(lambda: text in self.text(name))
        return self.text(name)


class FrontEnd:
    """One kernel and the person before it. `answers` are typed when a question comes, in order."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self.manager, self.client = manager, client
        self.by_parent: dict[str, list[Message]] = defaultdict(list)
        self.replies: dict[str, Message] = {}
        self.questions: list[dict[str, Any]] = []
        self.answers: list[str] = []
        self._poller = zmq.Poller()
        for name in _CHANNELS:
            self._poller.register(getattr(client, f"{name}_channel").socket, zmq.POLLIN)

    def start(self, code: str, *, answers: list[str] | None = None) -> Cell:
        """Run a cell; questions are allowed when there are answers."""
        if answers is not None:
            self.answers = [*answers]
        return Cell(self, self.client.execute(code, allow_stdin=answers is not None, stop_on_error=False))

    def run(self, code: str, *, answers: list[str] | None = None) -> Cell:
        """Run a cell to its end."""
        cell = self.start(code, answers=answers)
        cell.reply()
        return cell

    def run_well(self, code: str) -> Cell:
        """Run a cell that has to succeed."""
        cell = self.run(code)
        assert cell.reply()["status"] == "ok", cell.outputs()
        return cell

    def send_comm(self, comm_id: str, state: dict[str, Any], *buffers: bytes) -> Cell:
        """A widget's view changed its model, as a slider that is moved does."""
        content = {"comm_id": comm_id, "data": {"method": "update", "state": state, "buffer_paths": []}}
        message = self.client.session.msg("comm_msg", content)
        self.client.session.send(self.client.shell_channel.socket, message, buffers=list(buffers))
        return Cell(self, message["header"]["msg_id"])

    def interrupt(self) -> None:
        """The stop button."""
        self.manager.interrupt_kernel()

    def until(self, condition: Callable[[], bool]) -> None:
        """Take in messages until `condition` holds."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "this never came"
            self._poller.poll(100)
            for name in _CHANNELS:
                for message in _waiting(getattr(self.client, f"{name}_channel")):
                    self._take(name, message)

    def _take(self, channel: str, message: Message) -> None:
        parent = message["parent_header"].get("msg_id", "")
        if channel == "iopub":
            self.by_parent[parent].append(message)
        elif channel == "shell":
            self.replies[parent] = message
        elif message["msg_type"] == "input_request":
            self.questions.append(message["content"])
            self.client.input(self.answers.pop(0))


def _waiting(channel: Any) -> Iterator[Message]:
    while True:
        try:
            yield channel.get_msg(timeout=0)
        except queue.Empty:
            return


@contextmanager
def front_end(folder: Path, env: dict[str, str]) -> Iterator[FrontEnd]:
    """A kernel in `folder`, ready for its first cell."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(folder), env=env)
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=PATIENCE)
    try:
        yield FrontEnd(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=False)
