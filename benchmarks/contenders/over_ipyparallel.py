"""Cells through ipyparallel's `%%px`. Runs in the peers' environment.

The client reaches the controller through one proxy per port, without SSH: the kindest setting, since ZeroMQ then opens
its connections again by itself after a cut, which tunnels of ssh do not.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import ipyparallel
from _serve import Recorder, serve


class Ipyparallel:
    def start(self, **options: Any) -> dict[str, Any]:
        """Start a cluster of one engine; answers the ports a client uses, for `join`."""
        folder = Path(options["folder"]) / "profile"
        self._cluster = ipyparallel.Cluster(n=1, profile_dir=str(folder), cluster_id="", log_level=30)
        self._cluster.start_cluster_sync()
        self._file = folder / "security" / "ipcontroller-client.json"
        about = json.loads(self._file.read_text())
        return {"ports": {name: port for name, port in about.items() if isinstance(port, int)}}

    def join(self, ports: dict[str, int]) -> None:
        """Connect, with these ports instead of the controller's own."""
        about = {**json.loads(self._file.read_text()), **ports}
        self._file.write_text(json.dumps(about))
        self._client = ipyparallel.Client(str(self._file), timeout=30)
        self._client.wait_for_engines(1, timeout=60)
        self._view = self._client[0]
        self.cell("pass", Recorder(), 60.0)

    def cell(self, code: str, recorder: Recorder, timeout: float) -> None:
        result = self._view.execute(code, silent=False, block=False)
        result.wait(timeout)
        result.wait_for_output(3.0)  # outputs may come after the answer
        recorder.add("stream", {"name": "stdout", "text": result.stdout})
        for content in result.outputs:
            recorder.add("display_data", content)
        if not result.done():
            raise TimeoutError

    def up(self, path: str) -> dict[str, Any]:
        """Push the bytes of a file."""
        data = Path(path).read_bytes()
        began = time.perf_counter()
        self._view.push({"data": data}, block=True)
        return {"took": time.perf_counter() - began}

    def down(self, path: str) -> dict[str, Any]:
        """Pull the bytes of a file."""
        self._view.execute(f"data = open({path!r}, 'rb').read()", block=True)
        began = time.perf_counter()
        self._view.pull("data", block=True)
        return {"took": time.perf_counter() - began}

    def stop(self) -> None:
        self._client.close()
        self._cluster.stop_cluster_sync()


if __name__ == "__main__":
    serve(Ipyparallel())
