"""Brings clicks on our buttons through while a cell blocks the notebook's kernel.

Runs in the notebook's kernel. A click is a ``comm_msg`` on the shell channel, which waits until the cell is over. That
JupyterLab sends it to a subshell is no help: ipykernel 7.4 gives it to the shell that the widget was made in.

- ipykernel 7 reads the shell channel in a thread, and there our clicks are taken out.
- ipykernel 6 reads it in the main thread only, so whoever blocks that has to call `hear` meanwhile.

Only clicks on buttons that were added here are taken; every other message goes its usual way, in its usual order. A
kernel of another make is left alone: there a click is heard when the cell is over.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import zmq

_KEPT_AS = "lepton_clicks"
_CLICK = {"method": "custom", "content": {"event": "click"}}


class Clicks:
    """The clicks of one kernel. `Clicks.of(kernel)` is the same for all who ask."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        self._pressed: dict[str, Callable[[], None]] = {}
        self._stream = getattr(kernel, "shell_stream", None)
        self._usual: Callable[..., Any] | None = None
        self._reads_here = False  # whether the main thread reads the shell channel
        thread = getattr(kernel, "shell_channel_thread", None)
        if self._stream is None:
            return
        if thread is not None:
            self._usual = kernel.shell_channel_thread_main
            thread.io_loop.add_callback(self._listen)  # a stream belongs to its thread
        elif hasattr(kernel, "schedule_dispatch"):
            self._usual = partial(kernel.schedule_dispatch, kernel.dispatch_shell)
            self._reads_here = True
            self._listen()

    @classmethod
    def of(cls, kernel: Any) -> Clicks:
        """Those of `kernel`, made at first use."""
        known = getattr(kernel, _KEPT_AS, None)
        if known is None:
            known = cls(kernel)
            setattr(kernel, _KEPT_AS, known)
        return known

    def add(self, model_id: str, pressed: Callable[[], None]) -> None:
        """Have `pressed` called, in any thread, when the button of this model is clicked. It must return at once."""
        self._pressed[model_id] = pressed

    def remove(self, model_id: str) -> None:
        self._pressed.pop(model_id, None)

    def hear(self) -> None:
        """Take in what has arrived. For the main thread, while it blocks."""
        if self._reads_here and self._pressed:
            assert self._stream is not None
            self._stream.flush(zmq.POLLIN)

    def _listen(self) -> None:
        assert self._stream is not None
        self._stream.on_recv(self._on_message, copy=False)

    def _on_message(self, frames: list[Any]) -> Any:
        pressed = self._pressed and self._of_ours(frames)
        if pressed:
            return pressed()
        assert self._usual is not None
        return self._usual(frames)

    def _of_ours(self, frames: list[Any]) -> Callable[[], None] | None:
        """What a message calls when it is a click on one of our buttons."""
        session = self._kernel.session
        try:
            _, parts = session.feed_identities(frames, copy=False)
            header = session.unpack(parts[1].bytes)
            if header["msg_type"] != "comm_msg":
                return None
            content = session.unpack(parts[4].bytes)
            pressed = self._pressed.get(content["comm_id"])
            if pressed is None or content["data"] != _CLICK:
                return None
            session.deserialize(parts, copy=False)  # checks the signature, and notes it: it counts once
            return pressed
        except (ValueError, TypeError, LookupError, AttributeError):
            return None  # what is wrong with a message, its usual receiver says
