"""The ISO NNC codec beside the packed file: the same tensors, coded by `nncodec` in an environment of its own."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ._environment import PYTHON, install, last

#: nncodec is installed without what only its framework parts need (torch, OpenCV…): its coder needs numpy.
PACKAGES = (["--no-deps", "nncodec"], ["numpy"])


class Codec:
    """`codec.size(state)`: bytes, or None; then `codec.why` says why not."""

    def __init__(self, *, wanted: bool = True) -> None:
        self.why = install(("nncodec", "numpy"), *PACKAGES) if wanted else "not asked for"

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
            command = [PYTHON, Path(__file__).with_name("compress_peer.py"), path]
            done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            self.why = f"nncodec failed: {last(done.stderr)}"
            return None
        return int(done.stdout) + palettes
