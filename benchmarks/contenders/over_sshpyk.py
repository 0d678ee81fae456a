"""Cells through sshpyk, the SSH kernel provisioner. Runs in the peers' environment, with a kernelspec by hand."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from _serve import Recorder, serve
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.paths import jupyter_runtime_dir


class Sshpyk:
    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._watch = 0.0

    def start(self, folder: str, watch: float, options: dict[str, str]) -> None:
        """`ssh` is a command that knows the alias `host`; `python` is the peers' interpreter, also on the host.

        `watch`: seconds between the server's looks at its kernels, which is when sshpyk opens its tunnels again.
        """
        self._watch = watch
        Path(jupyter_runtime_dir()).mkdir(mode=0o700, parents=True, exist_ok=True)  # it takes this for granted
        place = Path(folder) / "kernels" / "overssh"
        place.mkdir(parents=True, exist_ok=True)
        names = {"remote_python": options["python"], "remote_kernel_name": "python3"}
        config = {"ssh": options["ssh"], "ssh_host_alias": options["host"], **names, "raise_on_ssh_config_error": False}
        launcher = str(Path(sys.executable).with_name("sshpyk-kernel"))
        spec = {
            "argv": [launcher, "--SSHKernelApp.kernel_name=overssh", "-f", "{connection_file}"],
            "display_name": "over ssh", "language": "python", "interrupt_mode": "message",
            "metadata": {"kernel_provisioner": {"provisioner_name": "sshpyk-provisioner", "config": config}},
        }  # fmt: skip
        (place / "kernel.json").write_text(json.dumps(spec))
        specs = KernelSpecManager(kernel_dirs=[str(place.parent)], ensure_native_kernel=False)
        self._manager = AsyncKernelManager(kernel_name="overssh", kernel_spec_manager=specs)
        self._loop.run_until_complete(self._start())
        self.cell("pass", Recorder(), 60.0)

    def cell(self, code: str, recorder: Recorder, timeout: float) -> None:
        self._loop.run_until_complete(self._cell(code, recorder, timeout))

    def stop(self) -> None:
        self._client.stop_channels()
        self._loop.run_until_complete(self._manager.shutdown_kernel(now=True))

    async def _start(self) -> None:
        await self._manager.start_kernel()
        self._client = self._manager.client()
        self._client.start_channels()
        await self._client.wait_for_ready(timeout=120)

    async def _cell(self, code: str, recorder: Recorder, timeout: float) -> None:
        watching = asyncio.ensure_future(self._look()) if self._watch else None
        try:
            await self._client.execute_interactive(
                code, output_hook=lambda message: recorder.add(message["msg_type"], message["content"]), timeout=timeout
            )
        finally:
            if watching is not None:
                watching.cancel()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(self._watch)
            await self._manager.is_alive()


if __name__ == "__main__":
    serve(Sshpyk())
