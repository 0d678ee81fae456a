"""The random numbers of a loader's worker processes, which the training's process has no other way to know.

Each worker writes where its own are, after each batch that it loads, into memory that it shares with the process that
forked it. Workers are ahead of the training by some batches, so that many states of each are kept. Remote kernel.
"""

from __future__ import annotations

import mmap
import random
import struct
import sys
from typing import Any

import torch

#: Batches loaded; Python's generator; NumPy's, with -1 in front if it is not loaded; torch's.
_STATE = struct.Struct("<q 2500s?d i2496sid 5056s")


class Area:
    """Of the workers of one loader. `starts` are states for them to begin with, one for each."""

    def __init__(self, workers: int, ahead: int, starts: list[bytes | None]) -> None:
        self._slots = ahead + 2  # the last is where to begin
        self._memory = mmap.mmap(-1, workers * self._slots * _STATE.size)  # zeros
        self._starts = starts
        self._loaded: int | None = None  # in a worker: batches

    def state(self, worker: int, loaded: int) -> bytes | None:
        """Where a worker was when it had loaded so many batches. None if it is not known, or it had not begun."""
        if loaded == 0:
            return self._starts[worker]
        found = self._memory[self._place(worker, loaded) : self._place(worker, loaded) + _STATE.size]
        return found if _STATE.unpack(found)[0] == loaded else None

    def begin(self, worker: int) -> None:
        """In a worker, before it loads a batch."""
        if self._loaded is None:
            self._loaded = 0
            start = self._starts[worker]
            if start is not None:
                _put_back(start)

    def note(self, worker: int) -> None:
        """In a worker: it has loaded one more."""
        assert self._loaded is not None
        self._loaded += 1
        place = self._place(worker, self._loaded)
        self._memory[place : place + _STATE.size] = _now(self._loaded)

    def _place(self, worker: int, loaded: int) -> int:
        return (worker * self._slots + loaded % self._slots) * _STATE.size


def _now(loaded: int) -> bytes:
    _, words, gauss = random.getstate()
    python = struct.pack("<625I", *words), gauss is not None, gauss or 0.0
    numpy: tuple[Any, ...] = (-1, b"", 0, 0.0)
    if "numpy" in sys.modules:
        _, key, *rest = sys.modules["numpy"].random.get_state()
        numpy = rest[0], key.astype("<u4").tobytes(), *rest[1:]
    return _STATE.pack(loaded, *python, *numpy, torch.get_rng_state().numpy().tobytes())


def _put_back(state: bytes) -> None:
    _, words, has, gauss, position, key, *rest, generator = _STATE.unpack(state)
    random.setstate((3, struct.unpack("<625I", words), gauss if has else None))
    if position >= 0:
        import numpy

        numpy.random.set_state(("MT19937", numpy.frombuffer(key, "<u4"), position, *rest))
    torch.set_rng_state(torch.frombuffer(bytearray(generator), dtype=torch.uint8))
