"""The peers' own environment, so that what they need touches nothing of ours. Runs in the benchmark's own process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

#: What pip installs there; ipykernel is what the hosts of our own cells have, too.
PEERS = ("ipykernel", "ipyparallel", "sshpyk")


class Peers:
    """A virtual environment in `folder`, made at first use."""

    def __init__(self, folder: Path, *, wanted: bool = True) -> None:
        self.python = folder / "bin" / "python"
        self._folder, self.wanted = folder, wanted
        self._why: dict[str, str] = {} if wanted else dict.fromkeys(PEERS, "not measured")

    def install(self) -> None:
        """Have every peer there that can be had."""
        if not self.wanted:
            return
        if not self.python.exists():
            _say(f"making an environment for the peers in {self._folder} …")
            made = subprocess.run([sys.executable, "-m", "venv", str(self._folder)], capture_output=True, text=True)
            if made.returncode:
                self._why = dict.fromkeys(PEERS, f"no environment for peers: {_last(made.stdout + made.stderr)}")
                return
        for name in PEERS:
            if subprocess.run([self.python, "-c", f"import {name}"], capture_output=True).returncode:
                _say(f"installing {name} for comparison …")
                pip = [str(self.python), "-m", "pip", "install", "-q", "--disable-pip-version-check", name]
                done = subprocess.run(pip, capture_output=True, text=True)
                if done.returncode:
                    self._why[name] = f"{name} could not be installed: {_last(done.stderr)}"

    def missing(self, name: str) -> str:
        """Why there is no `name`, in words; "" when it is there."""
        return self._why.get(name, "")

    def version(self, name: str) -> str:
        """The name with its version, once it is installed."""
        code = f"import importlib.metadata as m; print(m.version({name!r}))"
        return f"{name} {subprocess.run([self.python, '-c', code], capture_output=True, text=True).stdout.strip()}"


def _last(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no word why")[:200]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
