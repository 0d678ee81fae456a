"""Files through paramiko's SFTP, as Python programs usually send them. Runs in a process of its own."""

from __future__ import annotations

import time
from typing import Any

import paramiko
from _serve import serve


class Sftp:
    def start(self, **options: Any) -> None:
        client = paramiko.SSHClient()
        client.load_host_keys(options["known_hosts"])
        client.connect("127.0.0.1", options["port"], options["user"], key_filename=options["key"])
        self._client, self._sftp = client, client.open_sftp()

    def up(self, path: str, to: str) -> dict[str, Any]:
        began = time.perf_counter()
        self._sftp.put(path, to)
        return {"took": time.perf_counter() - began}

    def down(self, path: str, to: str) -> dict[str, Any]:
        began = time.perf_counter()
        self._sftp.get(path, to)
        return {"took": time.perf_counter() - began}

    def stop(self) -> None:
        self._client.close()


if __name__ == "__main__":
    serve(Sftp())
