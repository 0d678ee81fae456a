"""What trials may change, as it was before: names, models and their optimizers, lists and dicts, random numbers.

Runs in the kernel. A trial runs in the notebook's own names, since functions of earlier cells look there; after it they
are put back. Arrays and other large values are not copied: a trial that writes into one leaves that behind.
"""

from __future__ import annotations

import copy
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ...errors import ConfigError

Restore = Callable[[], Any]


class Before:
    """A namespace as it is now; `restore` makes it so again, any number of times."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self._namespace, self._names = namespace, dict(namespace)
        self._objects = [restore for name, value in namespace.items() if not name.startswith("_")
                         for restore in _restorers(value)]  # fmt: skip

    def has(self, value: Any) -> bool:
        """Whether it was there before, and is not only now."""
        return any(value is each for each in self._names.values())

    def restore(self) -> None:
        for name in [name for name in self._namespace if name not in self._names]:
            del self._namespace[name]
        self._namespace.update(self._names)
        for restore in self._objects:
            restore()


def _restorers(value: Any) -> Iterator[Restore]:
    torch, keras, tensorflow = (sys.modules.get(name) for name in ("torch", "keras", "tensorflow"))
    if type(value) in (list, dict, set):
        yield _container(value)
    elif torch is not None and isinstance(value, torch.nn.Module):
        yield _module(value)
    elif torch is not None and isinstance(value, torch.optim.Optimizer | torch.optim.lr_scheduler.LRScheduler):
        yield _stateful(value)
    elif torch is not None and isinstance(value, torch.Tensor) and value.is_leaf and value.requires_grad:
        yield _weight(value)
    elif keras is not None and isinstance(value, keras.layers.Layer | keras.optimizers.Optimizer):
        yield _keras(value)
    elif tensorflow is not None and isinstance(value, tensorflow.Variable):
        yield _variable(value)


def _container(value: Any) -> Restore:
    items = copy.copy(value)

    def restore() -> None:
        value.clear()
        (value.extend if isinstance(value, list) else value.update)(items)

    return restore


def _module(module: Any) -> Restore:
    state, trains = copy.deepcopy(module.state_dict()), module.training

    def restore() -> None:
        module.load_state_dict(state)
        module.zero_grad()
        module.train(trains)

    return restore


def _stateful(value: Any) -> Restore:
    state = copy.deepcopy(value.state_dict())
    return lambda: value.load_state_dict(copy.deepcopy(state))


def _weight(tensor: Any) -> Restore:
    data = tensor.detach().clone()

    def restore() -> None:
        tensor.data.copy_(data)
        tensor.grad = None

    return restore


def _variable(variable: Any) -> Restore:
    value = variable.numpy()
    return lambda: variable.assign(value)


def _keras(owner: Any) -> Restore:
    """Of a model, with its optimizer, a layer, or an optimizer."""
    optimizer = getattr(owner, "optimizer", None)
    owners = [each for each in (owner, optimizer) if each is not None]
    kept = {id(variable): variable.numpy() for each in owners for variable in each.variables}

    def restore() -> None:
        for each in owners:
            for variable in each.variables:
                value = kept.get(id(variable))
                variable.assign(_slot(each, variable) if value is None else value)

    return restore


def _slot(owner: Any, variable: Any) -> Any:
    """What a variable began with that came since: an optimizer makes its own at its first step. Raises ConfigError."""
    import numpy

    if not hasattr(owner, "apply_gradients"):
        raise ConfigError(
            f"{type(owner).__name__} {owner.name!r} got its weights in a trial: no other can begin with the same ones",
            hint="Give it its shape where it is made, by a keras.Input or build(…), or make it in this cell.",
        )
    began = getattr(owner, "initial_accumulator_value", 0.0) if "accumulator" in variable.path else 0.0
    return numpy.full(variable.shape, began)


def seed(number: int) -> None:
    """Begin every sequence of random numbers anew: Python's, numpy's and those of the frameworks that are loaded."""
    random.seed(number)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(number % 2**32)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(number)
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].random.set_seed(number)
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(number)


@contextmanager
def randomness() -> Iterator[None]:
    """After it, random numbers go on as if nothing had drawn any; TensorFlow's, which nobody can read, begin anew."""
    python, kept = random.getstate(), []
    if "numpy" in sys.modules:
        numpy = sys.modules["numpy"].random
        kept.append((numpy.set_state, numpy.get_state()))
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        kept.append((torch.set_rng_state, torch.get_rng_state()))
        if torch.cuda.is_initialized():
            kept.append((torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))
    try:
        yield
    finally:
        random.setstate(python)
        for put, state in kept:
            put(state)


class Place:
    """Folders of trials: what one writes is its own, what lies in the working folder is there, too, by links."""

    #: Entries of a working folder beyond which it is somebody's home, not a job's.
    MOST = 2000

    def __init__(self, folder: str) -> None:
        self._folder, self._home = folder, os.getcwd()
        with os.scandir(self._home) as entries:
            names = [entry.name for entry, _ in zip(entries, range(self.MOST + 1), strict=False)]
        self._links = [name for name in names if not name.startswith(".")] if len(names) <= self.MOST else []

    @contextmanager
    def of(self, name: str) -> Iterator[str]:
        """Within, a trial runs in its own folder, which is empty but for links. Raises OSError."""
        folder = os.path.join(self._folder, name)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        for entry in self._links:
            link = os.path.join(folder, entry)
            if not os.path.lexists(link):
                os.symlink(os.path.join(self._home, entry), link)
        os.chdir(folder)
        try:
            yield folder
        finally:
            os.chdir(self._home)


def wrote(folder: str) -> Iterator[tuple[str, str]]:
    """The files that a trial wrote into its folder: path, and name within."""
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not os.path.islink(os.path.join(where, name)))
        for name in sorted(files):
            path = os.path.join(where, name)
            if not os.path.islink(path):
                yield path, os.path.relpath(path, folder)
