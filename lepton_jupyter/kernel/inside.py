"""The object `lepton` that cells find on the host, with and without an import. In the remote kernel."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError

if TYPE_CHECKING:
    from ..ml.metrics import Meter
    from .checkpoints import Checkpoints


class Lepton:
    """What a cell can tell its notebook. `leave` keeps one file as an artifact of the job."""

    def __init__(self, leave: Callable[[str, str], None]) -> None:
        self._leave = leave
        self.params: dict[str, Any] = {}  # a trial's values: %%lepton_tune
        self._meter: Meter | None = None
        self._checkpoints: Checkpoints | None = None

    def begin(self, meter: Meter, checkpoints: Checkpoints | None) -> None:
        """A cell begins: `log` tells `meter`, and its checkpoints are these."""
        self._meter, self._checkpoints = meter, checkpoints

    def epochs(self, count: int) -> Iterator[int]:
        """`range(count)`, with progress; with ``--resume`` and after `restore`, less the epochs that are done.

        ::

            lepton.restore(model=model, optimizer=optimizer)
            for epoch in lepton.epochs(20):
                ...
                lepton.checkpoint(model=model, optimizer=optimizer)
        """
        meter = self._meter
        assert meter is not None  # is there before any cell of the notebook's runs
        for epoch in self._kept().epochs(count):
            meter.in_epoch(epoch, count)
            yield epoch
        meter.in_epoch(count, count)

    def batches(self, over: Iterable[Any]) -> Iterator[Any]:
        """What `over` gives, counted, so that a checkpoint within an epoch knows its place in it.

        For what is no PyTorch loader: ``for start in lepton.batches(range(0, len(x), 32))``, a generator, a `tf.data`
        data set. When the epoch is resumed, what was given before is gone over; of a data set its iterator is restored.
        """
        return self._kept().batches(over)

    def checkpoint(self, **objects: Any) -> None:
        """Keep these as they are now, and where random numbers are: ``lepton.checkpoint(model=model, best=0.93)``.

        Within a loop over a PyTorch loader, or over `lepton.batches`, its place is kept, too.

        PyTorch's modules, optimizers, schedulers and scalers, Keras' models and optimizers, random number generators;
        and plain values, which `restore` returns. Without a pickle; written in the background, the last three are kept.
        Raises Untransferable for what has no safe format, HostStorage if the one before could not be written.
        """
        self._kept().checkpoint(objects)

    def restore(self, **objects: Any) -> dict[str, Any] | None:
        """With ``--resume``: put these back as the newest checkpoint of this cell has them.

        Returns the plain values of that checkpoint; None if there is none, or without ``--resume``. Raises ConfigError
        for objects that it does not have, or that were built in another way.
        """
        return self._kept().restore(objects)

    def _kept(self) -> Checkpoints:
        if self._checkpoints is None:
            raise ConfigError(
                "checkpoints belong to a cell that is sent with %%lepton_train and calls lepton itself",
                hint="Call lepton.epochs, checkpoint and restore in the cell itself, not only in a module it imports.",
            )
        return self._checkpoints

    def log(self, *, step: float | None = None, **values: Any) -> None:
        """Tell metrics: ``lepton.log(val_accuracy=0.93, step=400)``. They are drawn and kept with the job.

        Numbers, or tensors of one number; a GPU is waited for. Raises TypeError or ValueError, with the name of what
        is no number.
        """
        assert self._meter is not None  # as above
        self._meter.log(values, step)

    def artifact(self, path: str | os.PathLike[str], name: str = "") -> None:
        """Keep a file, or every file of a folder, with the job: ``%lepton_fetch JOB`` brings it to the notebook.

        What is kept is the file as it is now; it may be changed or removed at once. `name` is what it is called there,
        its own name by default. Raises FileNotFoundError, and HostStorage when this host has no room for a copy.
        """
        path = os.path.abspath(os.fspath(path))
        called = name or os.path.basename(path)
        if not os.path.isdir(path):
            self._leave(path, called)
            return
        for folder, _, files in os.walk(path):
            for file in sorted(files):
                whole = os.path.join(folder, file)
                self._leave(whole, os.path.join(called, os.path.relpath(whole, path)))

    def __repr__(self) -> str:
        return (
            "lepton: log(loss=…) tells a metric, artifact(path) keeps a file with the job; "
            "epochs(n), checkpoint(…) and restore(…) let a training be resumed"
        )


class Importable(MetaPathFinder, Loader):
    """The last finder: ``import lepton`` gives the object where no package and no file has that name."""

    def __init__(self, lepton: Lepton) -> None:
        self._lepton = lepton

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        return ModuleSpec("lepton", self) if name == "lepton" else None

    def create_module(self, spec: ModuleSpec) -> Any:
        return self._lepton

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to be done."""

    def install(self) -> None:
        sys.meta_path.append(self)
