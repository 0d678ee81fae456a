"""What a checkpoint keeps, as it is at one moment, ready to be written by another thread. In the remote kernel.

The training waits only while tensors and arrays are copied; what they become on the disk is worked out by the thread.
What is not made of these and of plain values alone has a form of its own, and is given it at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Protocol, Union

from ...data import values

Data = Union[bytes, bytearray, memoryview]


class Sink(Protocol):
    """Where the large parts go; of `data.values`."""

    def put(self, data: Data) -> str:
        """See `data.values.packer.Sink`."""

    def put_file(self, path: str) -> str:
        """See `data.values.packer.Sink`."""


class Snapshot:
    """Values by their names, as they are now."""

    def __init__(self, parts: Mapping[str, Any], copies: Copies) -> None:
        """Raises Untransferable for what has no safe format."""
        copies.begin()
        self._memory = _Memory()
        self._parts: dict[str, Callable[[Sink], Any]] = {}
        for name, value in parts.items():
            try:
                self._parts[name] = _late(name, copies.copy(value))
            except Other:
                document = values.encode(value, self._memory, name=name).doc
                self._parts[name] = lambda _, document=document: document  # type: ignore[misc]

    def write(self, folder: str) -> bytes:
        """Write the large parts into `folder`, each by its SHA-256; the document that names them. Raises OSError."""
        disk = _Disk(folder)
        for data in self._memory.parts.values():
            disk.put(data)
        return json.dumps({name: encode(disk) for name, encode in self._parts.items()}).encode()


def _late(name: str, copy: Any) -> Callable[[Sink], Any]:
    return lambda sink: values.encode(copy, sink, name=name).doc


class _Memory:
    def __init__(self) -> None:
        self.parts: dict[str, bytes] = {}

    def put(self, data: Data) -> str:
        kept = bytes(data)
        digest = hashlib.sha256(kept).hexdigest()
        self.parts[digest] = kept
        return digest

    def put_file(self, path: str) -> str:
        with open(path, "rb") as file:
            return self.put(file.read())


class _Disk:
    def __init__(self, folder: str) -> None:
        self._folder = folder

    def put(self, data: Data) -> str:
        digest = hashlib.sha256(data).hexdigest()
        write(os.path.join(self._folder, digest), data)
        return digest

    def put_file(self, path: str) -> str:
        with open(path, "rb") as file:
            return self.put(file.read())


def write(path: str, data: Data) -> None:
    """Write a file, down to the disk. Raises OSError."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


class Other(Exception):
    """Something whose form only its codec knows."""


class Copies:
    """Copies values, into the memory of the copies before: fresh memory costs more than what is written to it."""

    def __init__(self) -> None:
        self._known: dict[Any, Any] = {}
        self._used: dict[Any, list[Any]] = {}
        self._spare: dict[Any, list[Any]] = {}

    def begin(self) -> None:
        """Nobody needs any more what was copied before."""
        self._known, self._spare, self._used = {}, self._used, {}

    def copy(self, value: Any) -> Any:
        """A value that later changes of the first do not reach. Raises Other."""
        kind = type(value)
        if value is None or kind in (bool, int, float, str, bytes):
            return value
        if id(value) in self._known:
            return self._known[id(value)][1]
        copied: Any
        if kind in (list, tuple):
            copied = kind(self.copy(each) for each in value)
        elif kind in (dict, OrderedDict):
            copied = kind((self.copy(key), self.copy(each)) for key, each in value.items())
            if kind is OrderedDict and vars(value):  # PyTorch notes its layers' versions there
                vars(copied).update(self.copy(vars(value)))
        else:
            copied = self._array(value)
        self._known[id(value)] = value, copied  # with the value, so that its id is not given to another
        return copied

    def _array(self, value: Any) -> Any:
        torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
        if numpy is not None and type(value) is numpy.ndarray and value.dtype.kind in "biufc":
            return value.copy(order="K")
        if torch is None or type(value) is not torch.Tensor or vars(value):
            raise Other
        if value.layout != torch.strided or value.is_quantized or value.is_nested or value.device.type == "meta":
            raise Other
        form = value.dtype, value.shape, value.stride()
        # Weights that two layers share are one tensor under two names, and another object at each asking.
        place = value.data_ptr(), value.device, form
        if place not in self._known or not value.numel():
            spare = self._spare.get(form)
            copied = spare.pop().copy_(value.detach()) if spare else value.detach().to("cpu", copy=True)
            self._used.setdefault(form, []).append(copied)
            self._known[place] = copied
        return self._known[place]
