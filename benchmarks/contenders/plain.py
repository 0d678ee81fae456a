"""Cells on an ipykernel of this machine through jupyter_client, as a notebook runs them without us."""

from __future__ import annotations

from typing import Any

from _serve import Recorder, serve
from jupyter_client.manager import KernelManager


class Plain:
    kernel_name = "python3"

    def start(self, **options: Any) -> None:
        self._manager = KernelManager(kernel_name=self.kernel_name)
        self._manager.start_kernel()
        self._client = self._manager.blocking_client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=120)
        self.cell("pass", Recorder(), 60.0)

    def cell(self, code: str, recorder: Recorder, timeout: float) -> None:
        self._client.execute_interactive(
            code, output_hook=lambda message: recorder.add(message["msg_type"], message["content"]), timeout=timeout
        )

    def stop(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)


if __name__ == "__main__":
    serve(Plain())
