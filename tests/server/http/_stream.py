"""The stream as a page has it. Runs in the test process."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any


class Stream:
    """What comes is kept; `until` waits for what shall come."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self.heard: list[dict[str, Any]] = []

    async def say(self, **message: Any) -> None:
        await self._socket.write_message(json.dumps(message))

    async def next(self, patience: float = 10.0) -> dict[str, Any]:
        """The next message."""
        text = await asyncio.wait_for(self._socket.read_message(), patience)
        assert text is not None, "the server closed the stream"
        message: dict[str, Any] = json.loads(text)
        self.heard.append(message)
        return message

    async def until(self, fits: Callable[[dict[str, Any]], bool], patience: float = 20.0) -> dict[str, Any]:
        """The first message from now on that `fits`."""
        deadline = time.monotonic() + patience
        while True:
            message = await self.next(max(0.01, deadline - time.monotonic()))
            if fits(message):
                return message

    async def of(self, kind: str) -> dict[str, Any]:
        """The next message of a type."""
        return await self.until(lambda message: message["type"] == kind)

    async def snapshot(self) -> list[dict[str, Any]]:
        """All jobs that the server begins with."""
        jobs: list[dict[str, Any]] = []
        while True:
            message = await self.of("jobs")
            jobs += message["jobs"]
            if not message["more"]:
                return jobs

    async def silence(self, seconds: float) -> list[dict[str, Any]]:
        """What comes within `seconds`."""
        found = []
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                found.append(await self.next(left))
            except asyncio.TimeoutError:
                break
        return found

    def close(self) -> None:
        self._socket.close()
