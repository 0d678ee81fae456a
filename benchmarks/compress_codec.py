"""The ISO NNC codec beside the packed file: the same tensors, coded by `nncodec` in an environment of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "peers-compress"
#: nncodec is installed without what only its framework parts need (torch, OpenCV…): its coder needs numpy.
PACKAGES = (["--no-deps", "nncodec"], ["numpy"])


class Codec:
    """`codec.size(state)`: bytes, or None; then `codec.why` says why not."""

    def __init__(self, *, wanted: bool = True, folder: Path = FOLDER) -> None:
        self.why = "" if wanted else "not asked for"
        self._python = folder / "bin" / "python"
        if wanted:
            self._install(folder)

    def size(self, state: Mapping[str, np.ndarray]) -> int | None:
        """Of arrays with few values: their palettes in 16 bits, and which value each item has, coded without loss.

        Values are numbered from zero outwards, since the codec is made for integers that are mostly small.
        """
        if self.why:
            return None
        tensors, palettes = {}, 0
        for index, array in enumerate(state.values()):
            values, places = np.unique(array, return_inverse=True)
            zero = int(np.searchsorted(values, 0))
            tensors[str(index)] = (places.reshape(array.shape) - zero).astype(np.int32)
            palettes += 2 * int(np.count_nonzero(values))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "tensors.npz")
            np.savez(path, **tensors)
            command = [self._python, Path(__file__).with_name("compress_peer.py"), path]
            done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            self.why = f"nncodec failed: {_last(done.stderr)}"
            return None
        return int(done.stdout) + palettes

    def _install(self, folder: Path) -> None:
        made = self._python.exists()
        commands = [] if made else [[sys.executable, "-m", "venv", str(folder)]]
        there = [self._python, "-c", "import nncodec, numpy"]
        if not made or subprocess.run(there, capture_output=True).returncode:
            pip = [str(self._python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            commands += [pip + packages for packages in PACKAGES]
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                self.why = f"nncodec could not be installed: {_last(done.stderr)}"
                return


def _last(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no word why")[:200]
