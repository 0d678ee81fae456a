"""A Jupyter Server extension that measures how long the event loop is held. Runs in the server that is measured.

A clock on the loop itself: due every few milliseconds, it notes how late it is. What makes it late holds every request,
every kernel's message, every keystroke's save just as long.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado.web import authenticated

_EVERY = 0.002
_late: list[float] = []
_busiest = [0.0]  # CPU seconds of the longest callback: what we do ourselves, whatever else the machine does
_run = asyncio.events.Handle._run


def _timed(handle: asyncio.events.Handle) -> None:
    began = time.thread_time()
    _run(handle)
    _busiest[0] = max(_busiest[0], time.thread_time() - began)


async def _tick() -> None:
    while True:
        began = time.perf_counter()
        await asyncio.sleep(_EVERY)
        _late.append(time.perf_counter() - began - _EVERY)


class LagHandler(APIHandler):
    """Answers how late the clock was since the last time this was asked, in seconds."""

    auth_resource = "lag"

    @authenticated
    async def get(self) -> None:
        found, _late[:] = sorted(_late), []
        found, busiest = found or [0.0], _busiest[0]
        _busiest[0] = 0.0
        self.finish(json.dumps({"longest": found[-1], "p99": found[int(len(found) * 0.99)], "busiest": busiest}))


def _load_jupyter_server_extension(app: Any) -> None:
    app.web_app.add_handlers(".*$", [(url_path_join(app.base_url, "bench/lag"), LagHandler)])
    asyncio.events.Handle._run = _timed  # type: ignore[method-assign]
    _load_jupyter_server_extension.task = asyncio.get_event_loop().create_task(_tick())  # type: ignore[attr-defined]


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    return [{"module": "_lag"}]
