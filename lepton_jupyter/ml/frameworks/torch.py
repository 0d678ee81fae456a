"""PyTorch's part: where the weights of a Module lie, and how to be called after each step of its training.

Runs in the kernel that holds the model. Imported when a Module is there, so torch is, too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.rnn import PackedSequence
from torch.optim import optimizer as torch_optimizer
from torch.utils.flop_counter import FlopCounterMode

from ...errors import ConfigError
from ._base import Array, Weight


@dataclass(frozen=True)
class _Items:
    flat: torch.Tensor
    places: torch.Tensor

    def read(self) -> Array:
        return _numpy(self.flat[self.places].float())

    def write(self, values: Array) -> None:
        self.flat[self.places] = torch.as_tensor(values).to(self.flat)


class _Weight:
    def __init__(self, name: str, parameter: torch.nn.Parameter) -> None:
        self.name, self.shape = name, tuple(parameter.shape)
        self._parameter = parameter

    @property
    def _data(self) -> torch.Tensor:
        """Asked for each time: `model.to(...)` puts other data under the same parameter."""
        return self._parameter.detach()

    def read(self) -> Array:
        array: Array = _numpy(self._data.float()).copy()
        return array

    def write(self, array: Array) -> None:
        self._data.copy_(torch.as_tensor(array))

    def items(self, places: npt.NDArray[np.int64]) -> _Items:
        data = self._data
        if not data.is_contiguous():
            self._parameter.data = data = data.contiguous()
        return _Items(data.view(-1), torch.as_tensor(places, device=data.device))

    def hold(self, mask: npt.NDArray[np.bool_]) -> Callable[[], None]:
        data = self._data
        drop = torch.as_tensor(~mask, device=data.device).reshape(data.shape)

        def zero() -> None:
            self._data.masked_fill_(drop, 0)  # a product with 0 may be -0.0, which is another number to a file

        return zero


@contextmanager
def _answering(model: torch.nn.Module) -> Iterator[None]:
    """Within: as the model is used, not trained. After: each module as it was, for some may be frozen on purpose."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


class Torch:
    """See `Framework`."""

    name = "torch"

    def weights(self, model: torch.nn.Module) -> list[Weight]:
        return [
            _Weight(name, parameter)
            for name, parameter in model.named_parameters()
            if parameter.requires_grad and parameter.is_floating_point()
        ]

    def state(self, model: torch.nn.Module) -> dict[str, Array]:
        return {name: _numpy(value).copy() for name, value in _plain(model).items()}

    def restore(self, model: torch.nn.Module, arrays: dict[str, Array]) -> None:
        mine = _plain(model)
        wrong = sorted(set(mine) ^ set(arrays)) or [
            name for name, value in mine.items() if tuple(value.shape) != arrays[name].shape
        ]
        if wrong:
            raise ConfigError(
                f"these arrays are of another model: {', '.join(wrong[:5])}{'…' if len(wrong) > 5 else ''}",
                hint="Make the model with the same code as the one that was saved.",
            )
        with torch.no_grad():
            for name, value in mine.items():
                value.copy_(_tensor(arrays[name], value.dtype))

    def copy(self, model: torch.nn.Module) -> torch.nn.Module:
        return copy.deepcopy(model)

    @contextmanager
    def after_each_step(self, model: torch.nn.Module, call: Callable[[], None]) -> Iterator[None]:
        ours = {id(parameter) for parameter in model.parameters()}

        def hook(optimizer: torch.optim.Optimizer, *_: Any) -> None:
            if any(id(parameter) in ours for group in optimizer.param_groups for parameter in group["params"]):
                with torch.no_grad():
                    call()

        handle = torch_optimizer.register_optimizer_step_post_hook(hook)
        try:
            yield
        finally:
            handle.remove()

    def trainer(
        self, model: torch.nn.Module, loss: Callable[..., torch.Tensor]
    ) -> Callable[[float, Sequence[Array]], float]:
        optimizer = torch.optim.Adam([parameter for parameter in model.parameters() if parameter.requires_grad])

        def step(rate: float, batch: Sequence[Array]) -> float:
            for group in optimizer.param_groups:
                group["lr"] = rate
            model.train()
            optimizer.zero_grad()
            value = loss(model, *self.tensors(model, batch))
            value.backward()
            optimizer.step()
            model.eval()
            return float(value.detach())

        return step

    def distilled(
        self, loss: Callable[..., torch.Tensor], teacher: torch.nn.Module, temperature: float, alpha: float
    ) -> Callable[..., torch.Tensor]:
        def both(model: torch.nn.Module, *batch: torch.Tensor) -> torch.Tensor:
            answers: list[torch.Tensor] = []
            handle = model.register_forward_hook(lambda *call: answers.append(call[2]))
            try:
                own = loss(model, *batch)
            finally:
                handle.remove()
            if not answers:
                raise ConfigError("the loss did not call the model", hint="loss(model, *batch) must call model(...).")
            with torch.no_grad(), _answering(teacher):
                wanted = teacher(*batch[:-1])
            soft = torch.nn.functional.kl_div(
                torch.log_softmax(answers[-1] / temperature, -1),
                torch.log_softmax(wanted / temperature, -1),
                log_target=True,
                reduction="none",
            )
            return (1 - alpha) * own + alpha * temperature**2 * soft.sum(-1).mean()

        return both

    def predict(self, model: torch.nn.Module, inputs: Sequence[Array]) -> Array:
        with torch.inference_mode(), _answering(model):
            return _numpy(model(*self.tensors(model, inputs)).float())

    def tensors(self, model: torch.nn.Module, arrays: Sequence[Array]) -> tuple[torch.Tensor, ...]:
        first = next(model.parameters(), None)
        return tuple(torch.as_tensor(array, device=None if first is None else first.device) for array in arrays)

    def runner(
        self, model: torch.nn.Module, compiled: bool = False
    ) -> Callable[[Sequence[Array]], Callable[[], torch.Tensor]]:
        ready = copy.deepcopy(model).eval()
        callable_: Callable[..., torch.Tensor] = torch.compile(ready) if compiled else ready

        def prepare(inputs: Sequence[Array]) -> Callable[[], torch.Tensor]:
            tensors = self.tensors(ready, inputs)
            wait = torch.cuda.synchronize if tensors[0].is_cuda else None

            def run() -> torch.Tensor:
                with torch.inference_mode():
                    answer = callable_(*tensors)
                if wait is not None:
                    wait()
                return answer

            return run

        return prepare

    def macs(self, model: torch.nn.Module, inputs: Sequence[Array]) -> int | None:
        """As torch counts products and convolutions. Into recurrent layers it does not always see: we count those."""
        recurrent, seen = 0, 0

        def begin(*_: Any) -> None:
            nonlocal seen
            seen = counter.get_total_flops()

        def end(module: torch.nn.RNNBase, _: Any, answer: tuple[Any, ...]) -> None:
            nonlocal recurrent
            made = answer[0].data if isinstance(answer[0], PackedSequence) else answer[0]
            kernels = sum(weight.numel() for weight in module.parameters() if weight.ndim == 2)
            recurrent += made.numel() // made.shape[-1] * kernels - (counter.get_total_flops() - seen) // 2

        layers = [module for module in model.modules() if isinstance(module, torch.nn.RNNBase)]
        handles = [each for layer in layers for each in (layer.register_forward_pre_hook(begin),
                                                         layer.register_forward_hook(end))]  # fmt: skip
        fast = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)  # one operation that nobody counts, as attention's own are
        counter = FlopCounterMode(display=False)
        try:
            with torch.no_grad(), _answering(model), sdpa_kernel(SDPBackend.MATH), counter:
                model(*self.tensors(model, [part[:1] for part in inputs]))
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
            for handle in handles:
                handle.remove()
        return int(counter.get_total_flops()) // 2 + recurrent

    def threads(self) -> int:
        return int(torch.get_num_threads())


def _plain(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The state, each tensor that is made of others (torchao's, which hold whole numbers and scales) taken apart."""
    found: dict[str, torch.Tensor] = {}
    left = [(name, value) for name, value in model.state_dict().items() if isinstance(value, torch.Tensor)][::-1]
    while left:
        name, value = left.pop()
        value = value.data if isinstance(value, torch.nn.Parameter) else value
        if hasattr(value, "__tensor_flatten__"):
            left += [(f"{name}.{part}", getattr(value, part)) for part in value.__tensor_flatten__()[0]][::-1]
        else:
            found[name] = value
    return found


def _numpy(tensor: torch.Tensor) -> Array:
    """As numpy has it; bfloat16, which it has not, by its bits."""
    tensor = tensor.detach().cpu()
    found: Array = (tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return found


def _tensor(array: Array, dtype: torch.dtype) -> torch.Tensor:
    tensor = torch.from_numpy(np.array(array))
    if dtype == torch.bfloat16 and tensor.dtype == torch.int16:
        return tensor.view(torch.bfloat16)
    return tensor


FRAMEWORK = Torch()
