"""The server extension: loaded with the Jupyter server, ended with it. Runs in the Jupyter server.

An `ExtensionApp`, since only those are told when the server stops. It starts whatever the store and lepton.toml hold;
what is wrong with them is said where somebody looks.
"""

from __future__ import annotations

from typing import Any

from jupyter_server.extension.application import ExtensionApp
from traitlets import Unicode

from .handlers import SETTING
from .parts import Parts
from .routes import routes


class LeptonServer(ExtensionApp):
    """Jobs and targets for the Lepton sidebar, and outputs that find their way home."""

    name = "lepton_jupyter"
    description = Unicode("Jobs that run elsewhere, for the Lepton sidebar.")
    load_other_extensions = True

    _parts: Parts | None = None

    def initialize_settings(self) -> None:
        """Make what the routes need, and have it ended with the server."""
        server = self.serverapp
        assert server is not None and server.event_logger is not None
        self._parts = Parts(
            root=str(getattr(server.contents_manager, "root_dir", "") or ""),
            contents=server.contents_manager,
            sessions=server.session_manager,
            events=server.event_logger,
            settings=server.web_app.settings,
            log=self.log,
        )
        self.settings[SETTING] = self._parts

    def initialize_handlers(self) -> None:
        """Answer to our addresses."""
        self.handlers.extend(routes())

    async def _start_jupyter_server_extension(self, serverapp: Any) -> None:
        """Jupyter Server's hook, called when the event loop runs."""
        assert self._parts is not None
        self._parts.start()

    async def stop_extension(self) -> None:
        """Jupyter Server's hook at its end: let go of everything; jobs live on."""
        if self._parts is not None:
            await self._parts.close()
