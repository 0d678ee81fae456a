"""Hidden units of PyTorch's LSTM, GRU and RNN, really removed, and what reads them narrowed with them.

Runs in the kernel that holds the model. What mixes units before a layer reads them, or answers with them, keeps the
width of their layer: see _marking_torch.py, which finds out who reads what.
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ._marking_torch import READERS, Mixed, Reading, parts, readings

RECURRENT = (nn.LSTM, nn.GRU, nn.RNN)


def recurrents(model: nn.Module) -> dict[str, int]:
    """The name of each recurrent layer that can be narrowed, and its number of hidden units."""
    return {
        name: each.hidden_size
        for name, each in model.named_modules()
        if type(each) in RECURRENT and isinstance(each, nn.RNNBase) and not each.proj_size
    }


def fewer_units(
    model: nn.Module,
    inputs: tuple[Any, ...],
    share: float,
    hidden: Mapping[str, int],
    multiple: int,
    fixed: Collection[str],
) -> nn.Module:
    """The model with this share of the `hidden` units that each recurrent layer had at first; it may be another object.

    Layers in `fixed` and those whose units can't be followed stay as they are.
    """
    for name, count in hidden.items():
        left = min(math.ceil(math.ceil(share * count - 1e-9) / multiple) * multiple, count)
        rnn: Any = model.get_submodule(name)
        if name in fixed or left >= rnn.hidden_size:
            continue
        narrower = copy.deepcopy(model)
        try:
            _narrow(narrower, narrower.get_submodule(name), inputs, left)
            with torch.no_grad():
                narrower(*inputs)
        except Mixed:
            continue
        except (RuntimeError, ValueError, TypeError, IndexError):  # the model's own code knows the width by heart
            continue
        model = narrower
    return model


def _narrow(model: nn.Module, rnn: Any, inputs: tuple[Any, ...], left: int) -> None:
    found = readings(model, rnn, inputs)
    used = Counter(id(each) for module in model.modules() for each in module._parameters.values() if each is not None)
    for layer in (rnn, *(reading.layer for reading in found)):
        if any(used[id(each)] > 1 for each in layer._parameters.values() if each is not None):
            raise Mixed("weights that are shared with another layer")
    kept = _kept(rnn, found, left)
    stays = torch.zeros(len(parts(rnn)) * rnn.hidden_size, dtype=torch.bool)
    for number, units in enumerate(kept):
        stays[number * rnn.hidden_size + units] = True
    for reading in found:
        take(reading.layer, torch.nonzero((reading.units < 0) | stays[reading.units]).ravel())
    _shrink(rnn, kept)


def _kept(rnn: Any, found: list[Reading], left: int) -> list[Tensor]:
    """For each layer and direction, the units whose weights together are large."""
    size, endings = rnn.hidden_size, parts(rnn)
    ways = 2 if rnn.bidirectional else 1
    total = torch.zeros(len(endings) * size)
    for number, part in enumerate(endings):
        here = total[number * size : (number + 1) * size]
        for name in ("weight_ih", "weight_hh"):
            here += _squares(getattr(rnn, name + part), 0).unflatten(0, (-1, size)).sum(0)
        here += _squares(getattr(rnn, "weight_hh" + part), 1)
        if number >= ways:  # it reads the layer below, both ways
            below = number // ways * ways - ways
            total[below * size : (below + ways) * size] += _squares(getattr(rnn, "weight_ih" + part), 1)
    for reading in found:
        weight = getattr(reading.layer, "weight", None)
        if type(reading.layer) in READERS and weight is not None:
            ours = reading.units >= 0
            total.index_add_(0, reading.units[ours], _squares(weight, 1)[ours])
    return [each.topk(left).indices.sort().values for each in total.split(size)]


def _squares(weight: Tensor, axis: int) -> Tensor:
    return weight.detach().float().square().movedim(axis, 0).flatten(1).sum(1).cpu()


def _shrink(rnn: Any, kept: list[Tensor]) -> None:
    size, ways = rnn.hidden_size, 2 if rnn.bidirectional else 1
    rnn.hidden_size = len(kept[0])
    for number, part in enumerate(parts(rnn)):
        units = kept[number]
        gates = getattr(rnn, "weight_hh" + part).shape[0] // size
        rows = torch.cat([units + gate * size for gate in range(gates)])
        below = number // ways * ways - ways
        columns = torch.cat([kept[below + way] + way * size for way in range(ways)]) if number >= ways else None
        _cut(rnn, "weight_ih" + part, rows, columns)
        _cut(rnn, "weight_hh" + part, rows, units)
        if rnn.bias:
            _cut(rnn, "bias_ih" + part, rows)
            _cut(rnn, "bias_hh" + part, rows)
    rnn.flatten_parameters()


def take(layer: Any, features: Tensor) -> None:
    """Narrow what a layer reads to these features."""
    count = len(features)
    if isinstance(layer, nn.RNNBase):
        layer.input_size = count
        for part in parts(layer)[: 2 if layer.bidirectional else 1]:
            _cut(layer, "weight_ih" + part, None, features)
        layer.flatten_parameters()
    elif isinstance(layer, nn.Linear | nn.Conv1d):
        setattr(layer, "in_features" if isinstance(layer, nn.Linear) else "in_channels", count)
        _cut(layer, "weight", None, features)
    else:
        if isinstance(layer, nn.LayerNorm):
            layer.normalized_shape = (count,)
        else:
            layer.num_features = count
        for name in ("weight", "bias", "running_mean", "running_var"):
            if getattr(layer, name, None) is not None:
                _cut(layer, name, features)


def _cut(layer: nn.Module, name: str, rows: Tensor | None, columns: Tensor | None = None) -> None:
    old: Tensor = getattr(layer, name)
    new = old.detach()
    for axis, chosen in ((0, rows), (1, columns)):
        if chosen is not None:
            new = new.index_select(axis, chosen.to(new.device))
    new = new.clone()
    setattr(layer, name, nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new)
