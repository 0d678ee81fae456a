"""The magics: one file per verb family. Runs in the notebook's kernel; parses, calls, renders, nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line shares our tables, and is light
    from IPython.core.interactiveshell import InteractiveShell


def register(shell: InteractiveShell) -> None:
    """Make every magic known to `shell`. Doing it twice is harmless."""
    from .compress import CompressMagics
    from .fetch import FetchMagics
    from .jobs import JobMagics
    from .metrics import MetricMagics
    from .sync import SyncMagics
    from .target import TargetMagics
    from .train import TrainMagics
    from .tune import TuneMagics

    for magics in (
        TrainMagics,
        TuneMagics,
        CompressMagics,
        TargetMagics,
        JobMagics,
        MetricMagics,
        FetchMagics,
        SyncMagics,
    ):
        shell.register_magics(magics)
