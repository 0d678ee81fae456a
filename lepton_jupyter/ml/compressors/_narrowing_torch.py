"""PyTorch's part of structured pruning: which layers hang together is found by Torch-Pruning, which traces the model.

Runs in the kernel that holds the model. A group of channels goes when all its weights together are small.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from ...errors import ConfigError, MissingDependency
from .. import frameworks
from .._quiet import quiet
from ..frameworks._base import Array
from ._narrowing_base import stuck


def narrow(
    model: Any, inputs: tuple[Array, ...], *, keep: float, steps: int, multiple: int, fixed: tuple[str, ...]
) -> Iterator[Any]:
    """See `Narrow`. Recurrent layers keep their width."""
    framework = frameworks.of(model)
    training = model.training
    model = framework.copy(model).eval()  # tracing must not move the means of batch normalisation
    examples = framework.tensors(model, inputs)
    pruner = _pruner(model, examples, keep, steps, multiple, fixed)
    for _ in range(steps):
        try:
            with quiet():
                pruner.step()
        except Exception as error:  # Torch-Pruning raises what it meets in the model
            raise stuck(error) from error
        yield model
    model.train(training)


def _pruner(model: Any, inputs: tuple[Any, ...], keep: float, steps: int, multiple: int, fixed: tuple[str, ...]) -> Any:
    pruning = _torch_pruning()
    modules = dict(model.named_modules())
    unknown = [name for name in fixed if name not in modules]
    if unknown:
        raise ConfigError(
            f"the model has no module {', '.join(map(repr, unknown))}",
            hint=f"It has {', '.join(repr(name) for name in modules if name)}.",
        )
    kept = [module for module in modules.values() if isinstance(module, nn.RNNBase)]
    try:
        with quiet():
            return pruning.BasePruner(
                model,
                inputs,
                importance=pruning.importance.GroupMagnitudeImportance(p=2),
                pruning_ratio=1 - keep,
                iterative_steps=steps,
                ignored_layers=[_last(model, inputs), *kept, *(modules[name] for name in fixed)],
                num_heads={each: each.num_heads for each in modules.values() if hasattr(each, "num_heads")},
                round_to=multiple,
            )
    except Exception as error:  # Torch-Pruning runs the model, and raises what it meets there
        raise stuck(error) from error


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
