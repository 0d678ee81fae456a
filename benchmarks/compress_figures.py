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

#: Name for run.py -> name for compress.py.
NAMES = {
    "lenet-300-100": "LeNet-300-100",
    "lenet-5": "LeNet-5",
    "compressed-speed": "speed",
    "automatic": "automatic",
}


def figures(data_dir: Path | None) -> dict[str, Callable[[Bed], list[Row]]]:
    """For `run.FIGURES`; `data_dir` has MNIST's four files, else scikit-learn's digits stand in."""
    return {name: partial(_measured, figure, data_dir) for name, figure in NAMES.items()}


def _measured(figure: str, data_dir: Path | None, bed: Bed) -> list[Row]:
    """Raises Failed with the last words of the process."""
    command = [sys.executable, "-m", "benchmarks.compress", figure, "--json"]
    command += ["--data-dir", str(data_dir)] if data_dir else []
    command += ["--quick"] if bed.quick else []
    # Not `bed.env`: a home without the user's cache would have PyTorch compile all anew.
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise Failed(f"benchmarks.compress {figure} ended with {done.returncode}; see its words above")
    return [Row(**row) for row in json.loads(done.stdout.splitlines()[-1])]
