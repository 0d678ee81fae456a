"""The position of PyTorch's loaders: the user's loop stays as it is. In the remote kernel.

While a cell runs that keeps checkpoints, the loaders' own iterators are watched; none is wrapped. A pass that is
resumed draws its order again and goes over what it had given, without loading it.
"""

from __future__ import annotations

import functools
import sys
import sysconfig
import weakref
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import _utils, dataloader, get_worker_info

from ...errors import ConfigError
from ._workers import Area
from .loader_pass import LoaderPass, forks, indexed
from .position import BEHIND, Position

_LIBRARIES = tuple({path for name, path in sysconfig.get_paths().items() if name in ("stdlib", "purelib", "platlib")})
#: Libraries that ask a loader for a batch when they are asked for one, not before.
_IN_STEP = {"tqdm", "rich", "fastprogress", "progressbar", "alive_progress", __name__.partition(".")[0]}


class _Watch:
    """The hooks, and what they know."""

    def __init__(self, position: Position, tell: Callable[[str], None]) -> None:
        self._position, self._tell = position, tell
        self.passes: weakref.WeakKeyDictionary[Any, LoaderPass] = weakref.WeakKeyDictionary()
        self.starting: list[LoaderPass] = []
        self._last: weakref.WeakKeyDictionary[Any, LoaderPass] = weakref.WeakKeyDictionary()  # of each loader
        position.idle = self.idle

    def follows(self) -> bool:
        return not self._position.blind and get_worker_info() is None

    def idle(self) -> list[dict[str, Any]]:
        """What a checkpoint keeps of the loaders that make no pass now."""
        return [one.idle() for one in self._last.values() if not one.going()]

    def iterate(self, loader: Any, make: Callable[[], Any]) -> Any:
        """A loader is gone through."""
        one = LoaderPass(loader, self._position)
        kept = self._position.begin(one)
        last = self._last.get(loader)
        self._last[loader] = one
        if kept is not None and kept["what"] == BEHIND:
            self._position.end(one)
            return iter(())
        starts = (kept or {}).get("workers")
        if kept is not None:
            one.again, one.began, one.generators = kept["again"], kept["began"], kept["generators"]
            one.drew = kept["drew"]
            one.draw_again()
        elif idle := self._position.rested(one.about):
            one.again, one.generators, starts = "workers" in idle, idle["generators"], idle.get("workers")
            one.draw_again()
        earlier = last.turns() if last is not None and loader.persistent_workers else None
        if last is not None and earlier is not None:
            if starts:
                self._tell("--resume: workers that were there before draw other random numbers than those they follow")
            one.again, one.area, one.before = True, last.area, last.ran(last.first + earlier._send_idx)
        elif forks(loader):
            one.area = Area(loader.num_workers, loader.prefetch_factor, starts or [None] * loader.num_workers)
        return self._started(one, make) if kept is None else self._resumed(one, kept, loader, make)

    def _resumed(self, one: LoaderPass, kept: dict[str, Any], loader: Any, make: Callable[[], Any]) -> Any:
        count = kept["count"]
        if "state" in kept:
            loader.load_state_dict(kept["state"])
            one.draws_late = True
            turns = self._started(one, make)
        elif indexed(loader) and (kept.get("workers") or not loader.num_workers):
            one.skip = one.first = count
            turns = self._started(one, make)
            if one.skip:  # without workers nothing was loaded ahead
                self._go_over(turns, one)
            turns._num_yielded = count
        else:
            self._tell(f"--resume: {count} batches are loaded once more to get to where their loader was")
            turns = self._started(one, make)
            for _ in range(count):
                next(turns)
        if "state" not in kept and indexed(loader) and count and one.sums[count - 1] != kept["order"]:
            raise ConfigError(
                "the loader's batches do not come in the order that they had when the checkpoint was made",
                hint="Give its sampler a random number generator of its own, which nothing else draws from.",
            )
        self._position.resumed()
        return turns

    def _started(self, one: LoaderPass, make: Callable[[], Any]) -> Any:
        self.starting.append(one)
        try:
            turns = make()
        finally:
            self.starting.pop()
        one.turns = weakref.ref(turns)
        self.passes[turns] = one
        return turns

    def of(self, turns: Any) -> LoaderPass | None:
        """The pass that an iterator makes."""
        return self.starting[-1] if self.starting else self.passes.get(turns)

    def _go_over(self, turns: Any, one: LoaderPass) -> None:
        """The batches of before: their order is drawn, and workers take turns as if they had loaded them."""
        count, one.skip = one.skip, 0
        one.draws()
        for _ in range(count):
            self.noted(one, next(turns._sampler_iter))
        for _ in range(count % (len(one.before) or 1)):
            next(turns._worker_queue_idx_cycle)

    def drawn(self, turns: Any, draw: Callable[[], Any]) -> Any:
        """An iterator needs to know what to load next."""
        one = self.of(turns)
        if one is None:
            return draw()
        if one.skip:
            self._go_over(turns, one)
        elif not one.sums:
            one.draws()
        index = self.noted(one, draw())
        if one.draws_late:
            one.draws_late = False
            self._position.resumed()
        return index

    @staticmethod
    def noted(one: LoaderPass, index: Any) -> Any:
        """This is loaded next."""
        one.sums.append(zlib.crc32(repr(index).encode(), one.sums[-1] if one.sums else 0))
        return index

    def stepped(self, *_: Any) -> None:
        """An optimizer has made a step."""
        self._position.steps += 1

    def ended(self, turns: Any) -> None:
        """An iterator has given its last batch."""
        one = self.passes.get(turns)
        if one is not None:
            self._position.end(one)

    def asked(self, turns: Any, frame: FrameType | None) -> None:
        """An iterator is asked for its first batch."""
        one, root = self.passes.get(turns), "torch"
        while frame is not None and root in ("torch", "torchdata"):
            root = str(frame.f_globals.get("__name__", "")).partition(".")[0]
            file, frame = frame.f_code.co_filename, frame.f_back
        if one is not None and root not in _IN_STEP and file.startswith(_LIBRARIES):
            one.why = f"{root} asks for the batches, and may be ahead of the loop"


@contextmanager
def around(position: Position, tell: Callable[[str], None]) -> Iterator[None]:
    """Within: `position` knows the passes over loaders."""
    watch = _Watch(position, tell)
    base: Any = dataloader._BaseDataLoaderIter
    fetcher: Any = _utils.fetch._MapDatasetFetcher
    advance, index, reset, fetch = base.__next__, base._next_index, base._reset, fetcher.fetch

    def told_next(self: Any) -> Any:
        if self._num_yielded == 0:
            watch.asked(self, sys._getframe(1))
        try:
            return advance(self)
        except StopIteration:
            watch.ended(self)
            raise

    def told_index(self: Any) -> Any:
        return watch.drawn(self, lambda: index(self))

    def told_reset(self: Any, *args: Any, **options: Any) -> None:
        one = watch.of(self)
        if one is not None and one.again:  # but a new iterator has drawn a seed for its workers
            one.draw_again()
        reset(self, *args, **options)

    def told_fetch(self: Any, indices: Any) -> Any:
        info = get_worker_info()
        one = watch.starting[-1] if watch.starting else None  # a worker has it from when it was forked
        if info is None or one is None or one.area is None:
            return fetch(self, indices)
        one.area.begin(info.id)
        try:
            return fetch(self, indices)
        finally:
            one.area.note(info.id)

    def told(iterate: Callable[[Any], Any]) -> Callable[[Any], Any]:
        @functools.wraps(iterate)
        def told_iterate(self: Any) -> Any:
            return watch.iterate(self, lambda: iterate(self)) if watch.follows() else iterate(self)

        return told_iterate

    loaders: list[Any] = [dataloader.DataLoader]
    stateful = sys.modules.get("torchdata.stateful_dataloader")
    if stateful is not None:
        loaders.append(stateful.StatefulDataLoader)
    iterates = [each.__iter__ for each in loaders]
    handle = register_optimizer_step_post_hook(watch.stepped)
    base.__next__, base._next_index, base._reset, fetcher.fetch = told_next, told_index, told_reset, told_fetch
    for each, iterate in zip(loaders, iterates):
        each.__iter__ = told(iterate)
    try:
        yield
    finally:
        handle.remove()
        base.__next__, base._next_index, base._reset, fetcher.fetch = advance, index, reset, fetch
        for each, iterate in zip(loaders, iterates):
            each.__iter__ = iterate
