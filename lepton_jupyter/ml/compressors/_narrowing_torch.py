"""PyTorch's part of structured pruning: attention heads, hidden units of recurrent layers, channels and neurons.

Runs in the kernel that holds the model. Which channels hang together is found by Torch-Pruning, which traces the model;
a group of them goes when all its weights together are small. What all layers of a Transformer add to keeps its width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ...errors import ConfigError, MissingDependency
from .. import frameworks
from .._quiet import quiet
from ..frameworks._base import Array
from ._attention_torch import Attention, attentions, fewer_heads
from ._narrowing_base import stuck
from ._recurrent_torch import RECURRENT, fewer_units, recurrents, take


def narrow(
    model: Any, inputs: tuple[Array, ...], *, keep: float, steps: int, multiple: int, fixed: tuple[str, ...]
) -> Iterator[Any]:
    """See `Narrow`. Heads and hidden units first: Torch-Pruning leaves those alone, and does the rest."""
    framework = frameworks.of(model)
    training = model.training
    model = framework.copy(model).eval()  # tracing must not move the means of batch normalisation
    names = [name for name, _ in model.named_modules() if name]
    unknown = [name for name in fixed if name not in names]
    if unknown:
        raise ConfigError(
            f"the model has no module {', '.join(map(repr, unknown))}",
            hint=f"It has {', '.join(map(repr, names))}.",
        )
    heads, hidden, widths = attentions(model), recurrents(model), _widths(model)
    examples = framework.tensors(model, inputs)
    for step in range(steps):
        share = 1 - (1 - keep) * (step + 1) / steps
        fewer_heads(model, share, heads, fixed)
        model = fewer_units(model, examples, share, hidden, multiple, fixed)
        try:
            with quiet():
                _pruner(
                    model, examples, {name: share * width for name, width in widths.items()}, multiple, fixed
                ).step()
        except Exception as error:  # Torch-Pruning runs the model, and raises what it meets there
            raise stuck(error) from error
        yield model
    model.train(training)


def _widths(model: Any) -> dict[str, int]:
    """The name of each layer that Torch-Pruning may narrow, and its number of channels or neurons."""
    return {name: width for name, module in model.named_modules() if (width := _width(module))}


def _width(module: Any) -> int:
    return int(getattr(module, "out_features", getattr(module, "out_channels", 0)))


def _pruner(
    model: Any, inputs: tuple[Any, ...], widths: dict[str, float], multiple: int, fixed: tuple[str, ...]
) -> Any:
    pruning = _torch_pruning()
    base: Any = pruning.BasePruningFunc

    class Recurrent(base):  # type: ignore[misc]
        """Torch-Pruning's own knows one layer of an LSTM; what is before any recurrent layer may be narrowed."""

        def prune_in_channels(self, layer: Any, idxs: Any) -> Any:
            gone = set(idxs)
            take(layer, torch.tensor([each for each in range(layer.input_size) if each not in gone]))
            return layer

        def prune_out_channels(self, layer: Any, idxs: Any) -> Any:
            raise AssertionError("recurrent layers are ignored: their units have gone before")

        def get_out_channels(self, layer: Any) -> int:
            return int(layer.proj_size or layer.hidden_size) * (2 if layer.bidirectional else 1)

        def get_in_channels(self, layer: Any) -> int:
            return int(layer.input_size)

    modules = dict(model.named_modules())
    kept = [module for module in modules.values() if isinstance(module, nn.RNNBase)]
    for module in modules.values():
        if isinstance(module, Attention):
            kept += module.children()
    ratios = {}
    for name, width in widths.items():
        if (module := modules.get(name)) is not None:  # inside an attention that lost heads, names are new
            ratios[module] = max(1 - math.ceil(width - 1e-9) / _width(module) - 1e-9, 0)  # what is left is rounded down
    last = _last(model, inputs)
    with _simple(kept):
        return pruning.BasePruner(
            model,
            inputs,
            importance=pruning.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=0,
            pruning_ratio_dict=ratios,
            ignored_layers=[last, *kept, *(modules[name] for name in fixed)],
            num_heads={each: each.num_heads for each in modules.values() if isinstance(each, nn.MultiheadAttention)},
            customized_pruners={kind: Recurrent() for kind in RECURRENT},
            round_to=multiple,
        )


@contextmanager
def _simple(modules: list[Any]) -> Iterator[None]:
    """Within: recurrent layers answer in their shapes, but by one operation. Traced as they are they take minutes."""
    layers = [each for each in modules if isinstance(each, nn.RNNBase)]
    for layer in layers:
        layer.forward = partial(_in_shape, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


class _Shape(torch.autograd.Function):  # type: ignore[misc]
    """Something in this shape that came from those; only for being traced."""

    @staticmethod
    def forward(context: Any, shape: tuple[int, ...], given: Tensor, weight: Tensor) -> Tensor:
        return given.new_ones(shape)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Any:
        return None, None, None


def _in_shape(rnn: Any, given: Any, state: Any = None) -> Any:
    """In place of a recurrent layer's forward()."""
    packed = isinstance(given, PackedSequence)
    data, ways, width = given.data if packed else given, 2 if rnn.bidirectional else 1, rnn.proj_size or rnn.hidden_size
    output = _Shape.apply((*data.shape[:-1], ways * width), data, rnn.weight_ih_l0)
    batch = [int(given.batch_sizes[0])] if packed else [data.shape[0 if rnn.batch_first else 1]] * (data.dim() == 3)
    last = _Shape.apply((rnn.num_layers * ways, *batch, width), output, rnn.weight_ih_l0)
    return given._replace(data=output) if packed else output, (last, last) if isinstance(rnn, nn.LSTM) else last


def _last(model: Any, inputs: tuple[Any, ...]) -> Any:
    """The layer with weights that is used last."""
    used: list[Any] = []
    hooks = [
        module.register_forward_hook(lambda module, *_: used.append(module))
        for module in model.modules()
        if not list(module.children()) and list(module.parameters(recurse=False))
    ]
    try:
        with torch.no_grad():
            model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    if not used:
        raise ConfigError("the model has no layers with weights of their own", hint="Is it made of modules?")
    return used[-1]


def _torch_pruning() -> Any:
    try:
        import torch_pruning
    except ModuleNotFoundError:
        raise MissingDependency(
            "structured pruning needs the package 'torch-pruning', which is not installed here",
            hint='Install it: pip install "lepton-jupyter[compress]"',
        ) from None
    return torch_pruning
