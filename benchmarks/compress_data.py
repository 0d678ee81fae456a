"""The pictures of digits that are measured with, as arrays: for PyTorch and for Keras, which do not share a process."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 28
#: MNIST's mean and deviation; what is black becomes BLACK.
MEAN, DEVIATION = 0.1307, 0.3081
BLACK = -MEAN / DEVIATION


@dataclass(frozen=True)
class Data:
    """Pictures (count, 1, SIDE, SIDE) and which digit each is, as arrays or tensors; `name` says whose."""

    name: str
    pictures: Any
    digits: Any
    test_pictures: Any
    test_digits: Any

    def few(self, count: int) -> Data:
        """With so many training pictures: for what is timed, enough to see what accuracy is lost."""
        return replace(self, pictures=self.pictures[:count], digits=self.digits[:count])


def arrays(folder: Path | None, *, validate: bool = False, quick: bool = False) -> Data:
    """MNIST from its four idx files, else scikit-learn's digits at MNIST's size.

    `validate`: a tenth of the training pictures stands for the test pictures, which are not looked at: for choosing.
    """
    if folder is None:
        from scipy.ndimage import zoom
        from sklearn.datasets import load_digits

        found = load_digits()
        small = (found.images / 16).astype(np.float32)
        raw = zoom(small, (1, SIDE / 8, SIDE / 8), order=1, mode="nearest", grid_mode=True)[:, None]
        name, at = "scikit-learn's digits", 1300
        pictures, digits, test_pictures, test_digits = raw[:at], found.target[:at], raw[at:], found.target[at:]
    else:
        name = "MNIST"
        pictures, test_pictures = (
            _idx(folder / f"{each}-images-idx3-ubyte.gz")[:, None].astype(np.float32) / 255
            for each in ("train", "t10k")
        )
        digits, test_digits = (_idx(folder / f"{each}-labels-idx1-ubyte.gz") for each in ("train", "t10k"))
    pictures, test_pictures = ((each - MEAN) / DEVIATION for each in (pictures, test_pictures))
    digits, test_digits = (each.astype(np.int64) for each in (digits, test_digits))
    if quick:
        pictures, digits = pictures[:1000], digits[:1000]
    if validate:
        order = np.random.default_rng(9).permutation(len(pictures))
        held, kept = order[: len(order) // 10], order[len(order) // 10 :]
        pictures, digits, test_pictures, test_digits = pictures[kept], digits[kept], pictures[held], digits[held]
    return Data(name, pictures, digits, test_pictures, test_digits)


def _idx(path: Path) -> np.ndarray:
    raw = gzip.decompress(path.read_bytes())
    axes = raw[3]
    shape = np.frombuffer(raw, ">u4", axes, 4).astype(int)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(shape)
