"""Threads for what would block the event loop. Runs in the Jupyter server.

The standard library's pool waits for its threads when the interpreter ends, and a thread that waits for a dead host
would keep the whole server from stopping. These threads are daemons: they may be left behind.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

_T = TypeVar("_T")


class Workers:
    """At most `limit` threads, started when there is something to do."""

    def __init__(self, name: str, limit: int) -> None:
        self._name, self._limit = name, limit
        self._todo: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0
        self._closed = False

    async def run(self, function: Callable[[], _T]) -> _T:
        """What `function` returns or raises; the event loop goes on meanwhile."""
        future: Future[_T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("the server stops")
            self._todo.put((future, function))
            if self._idle < self._todo.qsize() and self._threads < self._limit:
                self._threads += 1
                threading.Thread(target=self._work, name=self._name, daemon=True).start()
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Take nothing more; what has not begun is cancelled, what has begun is left to itself."""
        with self._lock:
            self._closed = True
            while not self._todo.empty():
                if (todo := self._todo.get()) is not None:
                    todo[0].cancel()
            for _ in range(self._threads):
                self._todo.put(None)

    def _work(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            todo = self._todo.get()
            with self._lock:
                self._idle -= 1
            if todo is None:
                return
            future, function = todo
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = function()
            except BaseException as error:  # noqa: BLE001 - it is raised where it is awaited
                future.set_exception(error)
            else:
                future.set_result(result)
            del todo, future, function
