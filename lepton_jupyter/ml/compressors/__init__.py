"""Smaller and faster models: one file per way to compress, each a `Compressor`.

Runs in the kernel that holds the model. Nothing heavy is imported before its use.
"""

from ._base import Compressor, Task

__all__ = ["Compressor", "Task"]
