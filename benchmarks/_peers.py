"""The peers' own environment, so that what they need touches nothing of ours. Runs in the benchmark's own process."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ._environment import install

#: What pip installs there; ipykernel is what the hosts of our own cells have, too.
PEERS = ("ipykernel", "ipyparallel", "sshpyk")


class Peers:
    """A virtual environment in `folder`, made at first use."""

    def __init__(self, folder: Path, *, wanted: bool = True) -> None:
        self.python = folder / "bin" / "python"
        self.wanted = wanted
        self._why: dict[str, str] = {} if wanted else dict.fromkeys(PEERS, "not measured")

    def install(self) -> None:
        """Have every peer there that can be had."""
        if not self.wanted:
            return
        for name in PEERS:
            if why := install([name], [name], python=self.python):
                self._why[name] = why

    def missing(self, name: str) -> str:
        """Why there is no `name`, in words; "" when it is there."""
        return self._why.get(name, "")

    def version(self, name: str) -> str:
        """The name with its version, once it is installed."""
        code = f"import importlib.metadata as m; print(m.version({name!r}))"
        return f"{name} {subprocess.run([self.python, '-c', code], capture_output=True, text=True).stdout.strip()}"
