"""What a cell calls: `epochs`, `batches`, `checkpoint`, `restore`. In the remote kernel.

A checkpoint is taken at once, in memory, and written in the background.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any

from ...errors import ConfigError
from ...ml.arriving import entered
from .batches import batches
from .bucket import Bucket
from .folder import Folder
from .position import Position, words
from .snapshot import Copies, Snapshot
from .states import chance, learns, put_back, put_chance_back, state
from .store import Store

#: In front of a name that the cell gave; what has none is ours.
_OBJECT = "of "


class Checkpoints:
    """Of one run of a cell. Without `resume`, it begins anew and what an earlier run left stays as it is."""

    def __init__(
        self,
        folder: Folder,
        resume: bool,
        namespace: dict[str, Any],
        tell: Callable[[str], None],
        bucket: Bucket | None = None,
    ) -> None:
        self._store, self.resume, self._tell = Store(folder, bucket, namespace, tell), resume, tell
        self._folder, self._bucket, self._namespace = folder, bucket, namespace
        self._fits: list[Store] = []  # of Keras, in turn
        self._number = 0
        self._epoch: int | None = None  # the one that goes on
        self._behind = 0  # epochs that the restored checkpoint had behind it
        self._copies = Copies()
        self._position: Position | None = None  # is followed from the first call that needs it
        self._following = ExitStack()
        self._unplaced: int | None = None  # steps made when a checkpoint in this epoch knew of no pass
        self._told = False
        self._began = False  # by `restore`, or it was said that there was none

    @property
    def _place(self) -> Position:
        if self._position is None:
            self._position = Position()
            entered(self._following, "torch", f"{__package__}.of_torch", (self._position, self._tell), self._tell)
        return self._position

    def batches(self, over: Iterable[Any]) -> Iterator[Any]:
        """See `batches.batches`."""
        return batches(over, self._place)

    def epochs(self, count: int) -> Iterator[int]:
        """`range(count)`, less the epochs that were done when the restored checkpoint was taken."""
        if type(count) is not int or count < 0:
            raise ConfigError(f"lepton.epochs({count!r}): a number of epochs is a whole number, 0 or more")
        for epoch in range(self._behind, count):
            self._epoch, self._unplaced = epoch, None
            self._place.begin_epoch()
            yield epoch
            self._place.end_epoch()
            if self._unplaced is not None and self._unplaced < self._place.steps:
                self._tell_unplaced("the loop does not go over a loader")
        self._epoch = None

    def checkpoint(self, objects: dict[str, Any]) -> None:
        """Keep these objects as they are now. Raises Untransferable, and HostStorage if the one before failed."""
        if not objects:
            raise ConfigError(
                "nothing to keep", hint="For example: lepton.checkpoint(model=model, optimizer=optimizer)"
            )
        self.wait()
        if self.resume and not self._began:
            self._began = True
            self._tell("--resume: begins anew, since the cell does not call lepton.restore(…) before its checkpoint")
        self._number += 1
        place, why = self._place.kept()
        if why:
            self._tell_unplaced(why)
        behind = self._behind
        if self._epoch is not None:
            behind = self._epoch + (place["place"] is None)
            self._unplaced = self._place.steps if place["place"] is None else None
        kept = {f"{_OBJECT}{name}": state(value) for name, value in objects.items()}
        run = {"chance": chance(), "epochs": behind, "number": self._number, "position": place}
        self._store.write(self._number, Snapshot({**kept, "run": run}, self._copies))

    def restore(self, objects: dict[str, Any]) -> dict[str, Any] | None:
        """Put the objects back; the plain values of the newest checkpoint, or None if nothing is to be resumed."""
        position, self._began = self._place, True
        parts = self._store.newest() if self.resume else {}
        if not parts:
            if self.resume:
                self._tell("--resume: this cell has left no checkpoint, so it begins anew")
            return None
        found = parts.pop("run")
        kept = {name[len(_OBJECT) :]: value for name, value in parts.items()}
        if unknown := sorted(set(objects) - set(kept)):
            raise ConfigError(
                f"the checkpoint has no {', '.join(map(repr, unknown))}", hint=f"It has: {', '.join(sorted(kept))}."
            )
        left = sorted(name for name, (kind, _) in kept.items() if kind != "value" and name not in objects)
        if left:
            raise ConfigError(
                f"the checkpoint also has {', '.join(map(repr, left))}, which would not go on as it was",
                hint="Give lepton.restore(…) all that lepton.checkpoint(…) was given.",
            )
        for name, value in objects.items():
            put_back(name, value, kept[name])
        put_chance_back(found["chance"])
        self._behind, self._number = found["epochs"], found["number"]
        place = found["position"]["place"]
        if place is not None:
            for each in place["outer"] + place["inner"]:
                if "count" in each:
                    self._tell(f"--resume: goes on after {each['count']} batches of {words(each['about'])}")

        others = {name: kept[name] for name, value in objects.items() if not learns(value)}  # weights need not stay

        def undo() -> None:
            """What the epoch's code has drawn or set before its loop was in the checkpoint already."""
            for name, state_then in others.items():
                put_back(name, objects[name], state_then)
            put_chance_back(found["chance"])

        position.resume(found["position"], undo)
        return {name: value for name, (kind, value) in kept.items() if kind == "value"}

    def of_fit(self, callbacks: list[Any]) -> Any:
        """What keeps the epochs of Keras' next `fit`, which has these callbacks, and lets it go on."""
        from .of_keras import KeepEpochs

        number = len(self._fits) + 1
        bucket = None if self._bucket is None else self._bucket.of_fit(number)
        self._fits.append(Store(self._folder.of_fit(number), bucket, self._namespace, self._tell))
        return KeepEpochs(self._fits[-1], callbacks, self._tell)

    def wait(self) -> None:
        """See `Store.wait`."""
        self._store.wait()

    def _tell_unplaced(self, why: str) -> None:
        if not self._told:
            self._told = True
            self._tell(
                f"checkpoints within an epoch do not know their place in it: {why}. --resume goes on with the next "
                "epoch. Put lepton.batches(…) around what the loop goes over."
            )

    def settle(self) -> None:
        """The cell has ended: as `wait`, but what failed is told."""
        self._following.close()
        for store in (self._store, *self._fits):
            store.settle()
