"""The figures of compression for `make bench`: each in a process of its own, so that torch is not imported here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ._bed import ROOT, Failed
from ._table import Row

if TYPE_CHECKING:
    from ._bed import Bed

#: Name for run.py -> the module that measures it, and its name there.
NAMES = {
    "lenet-300-100": ("compress", "LeNet-300-100"),
    "lenet-5": ("compress", "LeNet-5"),
    "compressed-speed": ("compress", "speed"),
    "compressed-speed-keras": ("compress_keras", "speed"),
    "automatic": ("compress", "automatic"),
    "automatic-keras": ("compress_keras", "automatic"),
}


def figures(data_dir: Path | None) -> dict[str, Callable[[Bed], list[Row]]]:
    """For `run.FIGURES`; `data_dir` has MNIST's four files, else scikit-learn's digits stand in."""
    return {name: partial(_measured, module, figure, data_dir) for name, (module, figure) in NAMES.items()}


def _measured(module: str, figure: str, data_dir: Path | None, bed: Bed) -> list[Row]:
    """Raises Failed with the last words of the process."""
    command = [sys.executable, "-m", f"benchmarks.{module}", figure, "--json"]
    command += ["--data-dir", str(data_dir)] if data_dir else []
    command += ["--quick"] if bed.quick else []
    # compress_keras.py has none but those that come with TensorFlow
    command += ["--no-peers"] if module == "compress" and not bed.peers.wanted else []
    # Not `bed.env`: a home without the user's cache would have PyTorch compile all anew.
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise Failed(f"benchmarks.{module} {figure} ended with {done.returncode}; see its words above")
    return [Row(**row) for row in json.loads(done.stdout.splitlines()[-1])]
