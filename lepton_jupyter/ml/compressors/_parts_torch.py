"""Parts of PyTorch models: what a layer gives, and the model without some of its blocks.

Runs in the kernel that holds the model. See `Parts`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .. import frameworks
from ..frameworks._base import Array
from ._parts_base import no_blocks, no_layer, repeated, taken


class Until(nn.Module):  # type: ignore[misc]
    """A model that answers with what one of its layers gave last."""

    def __init__(self, model: nn.Module, layer: nn.Module, adapter: tuple[int, int, int] | None) -> None:
        super().__init__()
        self.model, self.axis = model, adapter[0] if adapter else -1
        first = next(model.parameters())
        self.adapter = nn.Linear(*adapter[1:], device=first.device, dtype=first.dtype) if adapter else nn.Identity()
        self._layer = [layer]  # in a list, so that it is no second child

    def forward(self, *inputs: Tensor) -> Tensor:
        found: list[Any] = []
        handle = self._layer[0].register_forward_hook(lambda *call: found.append(call[2]))
        try:
            self.model(*inputs)
        finally:
            handle.remove()
        given = found[-1]
        given = given[0] if isinstance(given, tuple) else given
        adapted: Tensor = self.adapter(given.movedim(self.axis, -1)).movedim(-1, self.axis)
        return adapted


def until(model: nn.Module, layer: str, adapter: tuple[int, int, int] | None = None) -> Until:
    """See `Parts`. Of a layer that gives several tensors (an LSTM, an attention) it is the first."""
    modules = {name: each for name, each in model.named_modules() if name}
    if layer not in modules:
        raise no_layer(layer, list(modules))
    return Until(model, modules[layer], adapter)


def following(teacher: nn.Module) -> Callable[..., Tensor]:
    """See `Parts`."""

    def loss(model: nn.Module, *batch: Tensor) -> Tensor:
        modes = [(module, module.training) for module in teacher.modules()]
        teacher.eval()
        with torch.no_grad():
            wanted = teacher(*batch[:-1])
        for module, mode in modes:
            module.training = mode
        return nn.functional.mse_loss(model(*batch[:-1]), wanted)

    return loss


def shallower(model: nn.Module, share: float, inputs: tuple[Array, ...]) -> nn.Module:
    """See `Parts`. Blocks are the children of an nn.Sequential or nn.ModuleList (which nn.TransformerEncoder has)."""
    framework = frameworks.of(model)
    wanted = framework.predict(model, inputs).shape
    found = model
    done: list[str] = []
    for name, module in model.named_modules():
        if not isinstance(module, nn.Sequential | nn.ModuleList) or any(name.startswith(each) for each in done):
            continue
        run = repeated([_sign(child) for child in module])
        if run is None:
            continue
        trial = copy.deepcopy(found)
        try:
            _thin(trial, name, run, share)
            if framework.predict(trial, inputs).shape == wanted:
                found = trial
                done.append(f"{name}.")  # within blocks that were chosen among, none are
        except Exception:  # noqa: BLE001, S112 - the model's own code asks for a block that is gone: these stay
            continue
    if found is model:
        raise no_blocks()
    return found


def _thin(model: nn.Module, name: str, run: tuple[int, int, int], share: float) -> None:
    start, blocks, length = run
    holder = model.get_submodule(name)
    kept = set(taken(blocks, share))
    items = list(holder._modules.items())
    stay = [
        item
        for at, item in enumerate(items)
        if not start <= at < start + blocks * length or (at - start) // length in kept
    ]
    numbered = all(key.isdecimal() for key, _ in items)
    holder._modules = {str(at) if numbered else key: child for at, (key, child) in enumerate(stay)}
    owner = model.get_submodule(name.rpartition(".")[0])
    if isinstance(owner, nn.TransformerEncoder | nn.TransformerDecoder):
        owner.num_layers = len(holder)


def _sign(module: nn.Module) -> Any:
    """The kind of a module, of all within it, and the shapes of its arrays; None if it has none."""
    arrays = [(name, tuple(each.shape)) for name, each in module.state_dict().items() if isinstance(each, Tensor)]
    return (str(module), arrays) if arrays else None
