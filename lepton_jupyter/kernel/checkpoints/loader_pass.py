"""One pass over a PyTorch loader: how far it is, and the random numbers of its order and its workers. Remote kernel."""

from __future__ import annotations

import sys
import weakref
from array import array
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch.utils.data import dataloader

from ._workers import Area
from .position import Pass, Position
from .states import chance, put_chance_back


class LoaderPass(Pass):
    """See above."""

    def __init__(self, loader: Any, position: Position) -> None:
        super().__init__(_about(loader), position)
        self._loader: Callable[[], Any] = weakref.ref(loader)
        self.turns: Callable[[], Any] = lambda: None  # its iterator, weakly
        self.generators = [each.get_state() for each in _generators(loader)]
        self.drew: list[Any] | None = None  # random numbers when its order was first asked for, which may be later
        self.again = False  # the iterator has made a pass before: its workers live on, and no seed is drawn for them
        self.skip = 0  # batches to go over, at the first index that is asked for
        self.draws_late = False  # its loader has a state of its own, and may draw before it gives the first index
        self.first = 0  # batches that were behind when this process began the pass
        self.sums = array("I")  # of the order: after each index that was drawn
        self.area: Area | None = None
        self.before = [0] * loader.num_workers  # batches that each worker loaded in earlier passes
        if loader.num_workers and not getattr(loader, "in_order", True):
            self.why = "the loader gives batches in the order in which its workers happen to be done"

    def going(self) -> bool:
        """See Pass."""
        loader = self._loader()
        if self.turns() is None or self.steps_after is not None:
            return False
        # Some loaders keep their iterator, so that a loop was left is seen by nobody else having it.
        return getattr(loader, "_iterator", None) is not self.turns() or _held(loader)

    def count(self) -> int:
        """See Pass."""
        turns = self.turns()
        return int(turns._num_yielded) if turns is not None else 0

    def kept(self) -> dict[str, Any]:
        """See Pass."""
        loader, count = self._loader(), self.count()
        found: dict[str, Any] = {"generators": self.generators, "drew": self.drew, "again": self.again}
        if _stateful(loader):
            return {**found, "state": loader.state_dict()}
        return {**found, "order": self.sums[count - 1] if count else 0, "workers": self.workers(count)}

    def idle(self) -> dict[str, Any]:
        """What a checkpoint keeps of a loader between two passes; this was the last."""
        loader, turns = self._loader(), self.turns()
        found: dict[str, Any] = {"about": self.about, "generators": [each.get_state() for each in _generators(loader)]}
        if loader.persistent_workers and turns is not None and not _stateful(loader):
            found["workers"] = self.workers(self.first + turns._send_idx)
        return found

    def draw_again(self) -> None:
        """Random numbers are drawn as when the pass began."""
        _put_back(self._loader(), self.began, self.generators)

    def draws(self) -> None:
        """Its order is asked for, or it is gone over again, from the start."""
        if self.drew is None:
            self.drew = [chance(), [each.get_state() for each in _generators(self._loader())]]
        else:
            _put_back(self._loader(), *self.drew)

    def ran(self, share: int) -> list[int]:
        """Batches that each worker has loaded, or will have when `share` of this pass's were."""
        workers = len(self.before)
        return [n + _turns(share, w, workers) - _turns(self.first, w, workers) for w, n in enumerate(self.before)]

    def workers(self, share: int) -> list[bytes | None] | None:
        """Their random numbers when `share` of this pass's batches were loaded; None if they are not known."""
        if self.area is None:
            return None
        ran = self.ran(share)
        found = [self.area.state(worker, loaded) for worker, loaded in enumerate(ran)]
        return found if all(state is not None or not loaded for state, loaded in zip(found, ran)) else None


def _about(loader: Any) -> list[Any]:
    batches = loader.batch_sampler
    order = type(loader.sampler if batches is None or type(batches) is torch.utils.data.BatchSampler else batches)
    length = len(loader.dataset) if indexed(loader) and hasattr(loader.dataset, "__len__") else None
    return [type(loader.dataset).__name__, length, loader.batch_size, "" if length is None else order.__name__]


def _generators(loader: Any) -> list[Any]:
    """Those that its order is drawn from, each once."""
    inner = getattr(loader.batch_sampler, "sampler", None)
    found = [getattr(each, "generator", None) for each in (loader, loader.sampler, loader.batch_sampler, inner)]
    return list({id(each): each for each in found if isinstance(each, torch.Generator)}.values())


def _put_back(loader: Any, began: dict[str, Any], generators: list[Any]) -> None:
    put_chance_back(began)
    for generator, state in zip(_generators(loader), generators):
        generator.set_state(state)


def indexed(loader: Any) -> bool:
    return bool(loader._dataset_kind == dataloader._DatasetKind.Map)


def _stateful(loader: Any) -> bool:
    return hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict")


def forks(loader: Any) -> bool:
    """Whether its workers have our memory; those that are spawned do not."""
    context = loader.multiprocessing_context or torch.multiprocessing
    known = loader.num_workers and indexed(loader) and not _stateful(loader)
    return bool(known and context.get_start_method() == "fork")


def _turns(share: int, worker: int, workers: int) -> int:
    """How many of the first `share` batches are this worker's."""
    return (share - worker + workers - 1) // workers


_ALONE = SimpleNamespace(_iterator=object())


def _held(loader: Any) -> bool:
    """Whether anybody but the loader has its iterator."""
    return sys.getrefcount(loader._iterator) > sys.getrefcount(_ALONE._iterator)
