"""``lepton/api/stream``: the WebSocket itself. Runs in the Jupyter server, on its event loop.

It is opened only to whom Jupyter Server knows, from pages that it served (or with a token), and who may read jobs.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from tornado.web import HTTPError
from tornado.websocket import WebSocketHandler

from .handlers import AUTH_RESOURCE, SETTING
from .parts import Parts
from .stream import Client

_PING = 20.0


class StreamHandler(JupyterHandler, WebSocketHandler):
    """One page's socket."""

    auth_resource = AUTH_RESOURCE
    #: Seconds between pings, and for the answer: a page that is gone without a word has no claims for long.
    ping_interval = _PING
    ping_timeout = _PING
    _client: Client | None = None

    async def prepare(self, *, _redirect_to_login: bool = False) -> Awaitable[None] | None:  # type: ignore[override]
        """Refuse whom nobody knows: a socket cannot follow to a page for logging in."""
        prepared: Awaitable[None] | None = await super().prepare(_redirect_to_login=_redirect_to_login)
        return prepared

    @ws_authenticated
    async def get(self, *args: Any, **kwargs: Any) -> None:
        allowed = self.authorizer.is_authorized(self, self.current_user, "read", AUTH_RESOURCE)
        if not await ensure_async(allowed):
            raise HTTPError(403)
        answer = super().get(*args, **kwargs)
        if answer is not None:
            await answer

    def open(self, *args: Any, **kwargs: Any) -> None:
        parts: Parts = self.settings[SETTING]
        self._client = Client(_Bytes(self), parts.hub, parts.targets, parts.claims, parts.log)
        parts.clients.add(self._client)

    def on_message(self, message: str | bytes) -> None:
        if self._client is not None:
            self._client.hear(message)

    def on_close(self) -> None:
        parts: Parts = self.settings[SETTING]
        if self._client is not None:
            self._client.close()
            parts.clients.discard(self._client)
            parts.errands.on_close()


class _Bytes:
    """The socket for texts that are bytes already."""

    def __init__(self, handler: WebSocketHandler) -> None:
        self._handler = handler

    async def write_message(self, message: bytes) -> None:
        """Return when the page's connection has taken it. Raises WebSocketClosedError."""
        await self._handler.write_message(message, binary=False)

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        self._handler.close(code, reason)
