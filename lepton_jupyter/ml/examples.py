"""The user's data, in whatever form it lies there, as arrays; and a fifth of it, held out.

Runs in the kernel that holds the model. No framework is imported here: who has a Dataset of one has it already.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import ConfigError
from .compressors._seeding import seeded
from .frameworks._base import Array

#: What data may take in memory, in bytes: a Dataset that repeats for ever would take it all.
LIMIT = 4 << 30
FEWEST = 10
_FORMS = "Give data=(inputs, targets), a torch Dataset or DataLoader, or a tf.data.Dataset of such pairs."


def arrays(data: Any, seed: int = 0) -> tuple[Array, ...]:
    """All inputs, and the targets last, each an array with the examples along its first axis.

    `data` is a tuple or list of arrays or tensors, a torch Dataset or DataLoader, or a tf.data.Dataset, in batches or
    not. Numbers of 64 bits become 32, whole numbers of the targets 64. Raises ConfigError for what is none of these.
    """
    parts = _parts(data, seed)
    if len(parts) < 2:
        raise ConfigError("the data has inputs but no targets, or the other way round", hint=_FORMS)
    counts = [len(part) for part in parts]
    if len(set(counts)) > 1:
        raise ConfigError(
            f"inputs and targets are of different lengths: {', '.join(map(str, counts))}",
            hint="There must be one target for each example.",
        )
    if counts[0] < FEWEST:
        raise ConfigError(
            f"{counts[0]} examples are too few", hint=f"Give {FEWEST} at the very least, better hundreds."
        )
    target = parts[-1]
    if np.issubdtype(target.dtype, np.integer) or target.dtype == bool:
        parts[-1] = target.astype(np.int64)
    return tuple(parts)


def split(parts: Sequence[Array], seed: int) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Four fifths to train with, and the fifth to judge by; which examples go where is drawn with the seed."""
    order = np.random.default_rng(seed).permutation(len(parts[0]))
    held = len(order) // 5
    return tuple(part[order[held:]] for part in parts), tuple(part[order[:held]] for part in parts)


def array(value: Any) -> Array:
    """A tensor of any framework, or what numpy understands, as an array; 64-bit numbers become 32.

    Raises ConfigError for what is no numbers.
    """
    if hasattr(value, "detach"):  # torch
        value = value.detach().cpu()
        value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
    try:
        found: Array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"the data is no array of numbers: {error}", hint="Its examples must have one shape."
        ) from None
    if found.dtype.kind not in "biuf":
        raise ConfigError(f"the data holds {found.dtype}, not numbers", hint="Encode text and categories as numbers.")
    return found.astype(np.float32) if found.dtype == np.float64 else found


def _parts(data: Any, seed: int) -> list[Array]:
    if isinstance(data, tuple | list):
        return [array(part) for part in data]
    if _is(data, "tensorflow", "data", "Dataset"):
        return _joined(data.as_numpy_iterator(), _batched(data.element_spec))
    if _is(data, "torch.utils.data", "DataLoader"):
        with seeded(seed):
            return _joined(data, batched=data.batch_size is not None or data.batch_sampler is not None)
    if _is(data, "torch.utils.data", "TensorDataset"):
        return [array(part) for part in data.tensors]
    if _is(data, "torch.utils.data", "Dataset"):
        with seeded(seed):
            if _is(data, "torch.utils.data", "IterableDataset"):
                return _joined(data, batched=False)
            return _joined((data[index] for index in range(len(data))), batched=False)
    raise ConfigError(f"a {type(data).__name__} is no data that can be used here", hint=_FORMS)


def _is(value: Any, module: str, *names: str) -> bool:
    """Whether it is of this class, of a module that may not have been imported."""
    kind: Any = sys.modules.get(module)
    for name in names:
        kind = getattr(kind, name, None)
    return kind is not None and isinstance(value, kind)


def _batched(spec: Any) -> bool:
    """Whether elements of a tf.data.Dataset are batches: all have a first axis, of one length or of any."""
    shapes = [each.shape for each in _flat(spec)]
    return all(len(shape) for shape in shapes) and len({shape[0] for shape in shapes}) == 1


def _flat(element: Any) -> Iterator[Any]:
    """The arrays of one element, which may hold pairs within pairs."""
    if isinstance(element, dict):
        raise ConfigError(f"the data's elements have names ({', '.join(map(str, element))})", hint=_FORMS)
    if isinstance(element, tuple | list):
        for part in element:
            yield from _flat(part)
    else:
        yield element


def _joined(elements: Iterable[Any], batched: bool) -> list[Array]:
    columns: list[list[Array]] = []
    taken = 0
    for element in elements:
        parts = [array(part) for part in _flat(element)]
        columns = columns or [[] for _ in parts]
        if len(parts) != len(columns):
            raise ConfigError("the data's elements do not all have the same parts", hint=_FORMS)
        for column, part in zip(columns, parts, strict=True):
            column.append(part)
            taken += part.nbytes
        if taken > LIMIT:
            raise ConfigError(
                f"the data takes more than {LIMIT >> 30} GiB of memory",
                hint="Give a part of it; if it repeats for ever, end it: dataset.take(n).",
            )
    try:
        return [np.concatenate(column) if batched else np.stack(column) for column in columns]
    except ValueError as error:
        raise ConfigError(f"the examples are not all of one shape: {error}", hint="Pad or crop them to one.") from None
