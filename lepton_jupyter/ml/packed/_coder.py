"""Bits to bytes and back, each bit at the price of its probability: the range coder of `constriction`.

Runs wherever a packed file is written or read. Writing and reading walk through the same code: `code` takes the bits
when it writes and gives them when it reads, so the two can't drift apart.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from ...errors import LeptonError, MissingDependency
from ._predictor import ONE, Ints


def constriction() -> Any:
    """The module, imported now. Raises MissingDependency with the command that installs it."""
    try:
        import constriction
    except ModuleNotFoundError:
        raise MissingDependency(
            "packed files need the package 'constriction', which is not installed here",
            hint='Install it: pip install "lepton-jupyter[compress]"',
        ) from None
    return constriction


class Coder(Protocol):
    """Either direction."""

    def code(self, probabilities: Ints, bits: Ints | None) -> Ints:
        """The bits, which are 1 with these probabilities (in 65,536ths); a reader is given None."""


class Writer:
    """Collects bits."""

    def __init__(self) -> None:
        self._probabilities: list[Ints] = []
        self._bits: list[Ints] = []

    def code(self, probabilities: Ints, bits: Ints | None) -> Ints:
        """Note the bits."""
        assert bits is not None
        self._probabilities.append(probabilities)
        self._bits.append(bits)
        return bits

    def append(self, other: Writer) -> None:
        """Note all that another Writer has noted."""
        self._probabilities += other._probabilities
        self._bits += other._bits

    @property
    def cost(self) -> float:
        """The bits so far, in bytes of code."""
        p = np.concatenate([np.zeros(0), *self._probabilities]) / ONE
        bits = np.concatenate([np.zeros(0), *self._bits])
        return float(-np.log2(np.where(bits == 1, p, 1 - p)).sum() / 8)

    def finish(self) -> bytes:
        """All bits, coded."""
        if not self._bits:
            return b""
        stream = constriction().stream
        encoder = stream.queue.RangeEncoder()
        encoder.encode(
            np.concatenate(self._bits).astype(np.int32),
            stream.model.Bernoulli(perfect=False),
            np.concatenate(self._probabilities) / ONE,
        )
        words: bytes = encoder.get_compressed().astype("<u4").tobytes()
        return words.rstrip(b"\0")


class Reader:
    """Gives the bits that a Writer was given, if asked with the same probabilities."""

    def __init__(self, code: bytes) -> None:
        stream = constriction().stream
        code += bytes(-len(code) % 4)  # the writer leaves out zeros at the end
        self._decoder = stream.queue.RangeDecoder(np.frombuffer(code, "<u4").astype(np.uint32))
        self._model = stream.model.Bernoulli(perfect=False)

    def code(self, probabilities: Ints, bits: Ints | None = None) -> Ints:
        """The next bits. Raises LeptonError where the code is none."""
        try:
            found = self._decoder.decode(self._model, probabilities / ONE)
        except (AssertionError, ValueError) as error:
            raise LeptonError("the packed file is damaged: its code makes no sense", hint=str(error)) from None
        return np.asarray(found, np.int64)
