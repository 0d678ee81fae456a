"""What Jupyter Server knows of notebooks besides us: who is connected to their kernels, and where they are moved.

Runs in Jupyter Server.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

#: The schema of the events by which every ContentsManager tells what it did.
CONTENTS_EVENTS = "https://events.jupyter.org/jupyter_server/contents_service/v1"


def attached(sessions: Any) -> Callable[[str], Awaitable[int | None]]:
    """Asks a SessionManager how many front ends are connected to a notebook's kernel; None when it has no kernel."""

    async def ask(path: str) -> int | None:
        found = sessions.list_sessions()
        listed = await found if inspect.isawaitable(found) else found
        counts = [
            int(kernel.get("connections") or 0)
            for session in listed
            if session.get("path") == path and (kernel := session.get("kernel"))
        ]
        return sum(counts) if counts else None

    return ask


def follow_moves(event_logger: Any, moved: Callable[[str, str], Awaitable[None]]) -> Callable[[], None]:
    """Call `moved` with the old and the new path of whatever the ContentsManager renames; the result ends that."""

    async def listen(logger: Any, schema_id: str, data: dict[str, Any]) -> None:
        if data.get("action") == "rename" and data.get("source_path") and data.get("path"):
            await moved(str(data["source_path"]), str(data["path"]))

    event_logger.add_listener(schema_id=CONTENTS_EVENTS, listener=listen)
    return lambda: event_logger.remove_listener(listener=listen)
