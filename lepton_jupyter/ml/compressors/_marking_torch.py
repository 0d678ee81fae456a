"""Which features of which layers are a hidden unit's: found by marking units of a PyTorch model.

Runs in the kernel that holds the model. Units become NaN, and we look where NaN arrives. Half of them are marked at a
time, by each binary digit of their numbers and its opposite; so a feature that depends on one unit alone gives that
unit's number, and one that depends on several is noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

#: What reads features, and the axis they lie along.
READERS: dict[type[nn.Module], int] = {nn.Linear: -1, nn.Conv1d: 1, nn.LSTM: -1, nn.GRU: -1, nn.RNN: -1}


class Mixed(Exception):
    """The units of a layer can't be followed, so it keeps its width. Never leaves these files."""


@dataclass(frozen=True)
class Reading:
    """A layer that reads units, and the number of the unit that each of its features is (-1: none of them)."""

    layer: nn.Module
    units: Tensor


def parts(rnn: Any) -> list[str]:
    """The endings of the weights' names, for each layer and direction in order. Units are numbered in this order."""
    return [f"_l{layer}{way}" for layer in range(rnn.num_layers) for way in ("", "_reverse")[: 1 + rnn.bidirectional]]


def readings(model: nn.Module, rnn: Any, inputs: tuple[Any, ...]) -> list[Reading]:
    """What reads the units of this layer. Raises Mixed where they can't be followed."""
    count = len(parts(rnn)) * rnn.hidden_size
    numbers = torch.arange(count)
    everywhere = _arrivals(model, rnn, inputs, torch.ones(count, dtype=torch.bool))
    units = {layer: torch.where(marks, 0, -1) for layer, marks in everywhere.items()}
    for digit in range(max(count - 1, 1).bit_length()):
        marked = (numbers >> digit) % 2 == 1
        ones, zeros = (_arrivals(model, rnn, inputs, each) for each in (marked, ~marked))
        for layer, all_of_it in everywhere.items():
            one, zero = (found.get(layer, torch.zeros_like(all_of_it)) for found in (ones, zeros))
            if not torch.equal(one ^ zero, all_of_it) or (one & zero).any():
                raise Mixed("several units in one feature")
            units[layer] += one.long() << digit
    return [Reading(layer, found) for layer, found in units.items()]


def _arrivals(model: nn.Module, rnn: Any, inputs: tuple[Any, ...], marked: Tensor) -> dict[nn.Module, Tensor]:
    """For each layer that reads features of `marked` units, which of its features those are."""
    found: dict[nn.Module, Tensor] = {}

    def arrive(layer: nn.Module, axis: int, given: Tensor) -> None:
        marks = given.isnan().movedim(axis, 0).flatten(1).any(1).cpu()
        if layer in found and not torch.equal(found[layer], marks):
            raise Mixed("a layer that reads units in several ways")
        found[layer] = marks

    with torch.no_grad(), _hooked(model, rnn, marked.to(next(rnn.parameters()).device), arrive):
        answer = model(*inputs)
    if any(each.isnan().any() for each in _tensors(answer)):
        raise Mixed("units in the answer")
    return {layer: marks for layer, marks in found.items() if marks.any()}


@contextmanager
def _hooked(
    model: nn.Module, rnn: Any, marked: Tensor, arrive: Callable[[nn.Module, int, Tensor], None]
) -> Iterator[None]:
    """Within: units are marked where they leave their layer, reported where they arrive, and unmarked behind that."""

    def read(layer: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        first, *others = given
        data = first.data if isinstance(first, PackedSequence) else first
        _clean(others)
        axis = READERS[type(layer)]
        arrive(layer, axis if axis < 0 else data.dim() - 2, data)  # of a convolution: (…, channels, places)
        data = torch.where(data.isnan(), 0, data)
        return (first._replace(data=data) if isinstance(first, PackedSequence) else data, *others)

    def passed(layer: nn.Module, given: tuple[Any, ...], answer: Tensor) -> Tensor | None:
        arrive(layer, 1 if isinstance(layer, nn.BatchNorm1d) else -1, given[0])
        # A norm over features would spread the marks; what is known of it is that it is as wide as what it is given.
        return given[0] if isinstance(layer, nn.LayerNorm) else None

    def other(layer: nn.Module, given: tuple[Any, ...]) -> None:
        _clean(given)

    handles = [rnn.register_forward_hook(lambda layer, given, answer: _marked(layer, answer, marked))]
    for module in model.modules():
        kind = type(module)
        plain = "weight" in module._parameters or isinstance(module, nn.RNNBase)
        if kind in READERS and plain and getattr(module, "groups", 1) == 1:
            handles.append(module.register_forward_pre_hook(read))
        elif kind is nn.BatchNorm1d or (isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1):
            handles.append(module.register_forward_hook(passed))
        elif any(True for _ in module.parameters(recurse=False)) or hasattr(module, "parametrizations"):
            handles.append(module.register_forward_pre_hook(other))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _marked(rnn: Any, answer: Any, marked: Tensor) -> Any:
    """The layer's answer with NaN for all marked units."""
    output, hidden = answer
    ways = 2 if rnn.bidirectional else 1
    top = marked[-ways * rnn.hidden_size :]
    if isinstance(output, PackedSequence):
        output = output._replace(data=torch.where(top, torch.nan, output.data))
    else:
        output = torch.where(top, torch.nan, output)
    each = marked.unflatten(0, (-1, rnn.hidden_size))

    def states(of: Tensor) -> Tensor:
        """(layers · ways, batch, units), or without the batch."""
        return torch.where(each[:, None] if of.dim() == 3 else each, torch.nan, of)

    return output, tuple(map(states, hidden)) if isinstance(hidden, tuple) else states(hidden)


def _clean(given: Any) -> None:
    if any(each.isnan().any() for each in _tensors(given)):
        raise Mixed("a layer that is not known to read units")


def _tensors(given: Any) -> Iterator[Tensor]:
    """All tensors of real numbers in what a module was given or answers."""
    if isinstance(given, PackedSequence):
        yield given.data
    elif isinstance(given, Tensor):
        if given.is_floating_point():
            yield given
    elif isinstance(given, Mapping):
        for each in given.values():
            yield from _tensors(each)
    elif isinstance(given, list | tuple):
        for each in given:
            yield from _tensors(each)
