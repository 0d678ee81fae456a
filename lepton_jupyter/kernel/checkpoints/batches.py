"""`lepton.batches(…)`: the position of whatever else a loop goes over. In the remote kernel."""

from __future__ import annotations

import glob
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sized
from typing import Any

from .position import BEHIND, Pass, Position
from .states import put_chance_back

_END = object()


class _Counted(Pass):
    def __init__(self, about: list[Any], position: Position) -> None:
        super().__init__(about, position)
        self.given = 0
        self.turns: Any = None
        self.over = False

    def going(self) -> bool:
        return not self.over

    def count(self) -> int:
        return self.given

    def kept(self) -> dict[str, Any]:
        return {"iterator": _saved(self.turns)} if _of_tensorflow(self.turns, "OwnedIterator") else {}


def batches(over: Iterable[Any], position: Position) -> Iterator[Any]:
    """What `over` gives; when an epoch is resumed, what it had not given yet.

    What was given is asked for and dropped; but a `tf.data` iterator has a state of its own, and PyTorch's loaders are
    followed by themselves.
    """
    if _followed(over):
        yield from over
        return
    length = len(over) if isinstance(over, Sized) else None
    one = _Counted([type(over).__name__, length, None, ""], position)
    kept = position.begin(one)
    if kept is not None:
        put_chance_back(kept.get("began", one.began))
        one.began = kept.get("began", one.began)
    try:
        if kept is None or kept["what"] != BEHIND:
            yield from _turns(over, one, kept, position)
    finally:
        one.over = True
        position.end(one)


def _turns(over: Iterable[Any], one: _Counted, kept: dict[str, Any] | None, position: Position) -> Iterator[Any]:
    def ask() -> Any:
        position.blind = True
        try:
            return next(one.turns, _END)
        finally:
            position.blind = False

    one.turns = iter(over)
    if kept is not None:
        one.given = kept["count"]
        if "iterator" in kept:
            _restore(one.turns, kept["iterator"])
        else:
            for _ in range(one.given):
                ask()
        position.resumed()
    while (batch := ask()) is not _END:
        one.given += 1
        yield batch


def _followed(over: Any) -> bool:
    """Whether it is a loader of PyTorch's own, not one that goes over another one ahead of its loop."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(over, torch.utils.data.DataLoader):
        return False
    owner = next(each for each in type(over).__mro__ if "__iter__" in vars(each))
    return owner.__module__.partition(".")[0] in ("torch", "torchdata")


def _of_tensorflow(turns: Any, kind: str) -> bool:
    return type(turns).__name__ == kind and type(turns).__module__.startswith("tensorflow.")


def _saved(turns: Any) -> dict[str, bytes]:
    import tensorflow as tf

    found = {}
    with tempfile.TemporaryDirectory() as folder:
        tf.train.Checkpoint(turns=turns).write(os.path.join(folder, "at"))
        for path in glob.glob(os.path.join(folder, "at*")):
            with open(path, "rb") as file:
                found[os.path.basename(path)] = file.read()
    return found


def _restore(turns: Any, files: dict[str, bytes]) -> None:
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            with open(os.path.join(folder, os.path.basename(name)), "wb") as file:
                file.write(data)
        tf.train.Checkpoint(turns=turns).read(os.path.join(folder, "at")).assert_consumed()
