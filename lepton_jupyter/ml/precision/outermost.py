"""Changes how PyTorch modules compute, from outside: at the outermost module call and nowhere else. In the kernel.

Autocast around the whole cell keeps one cast of each weight for the cell's life, and training stands still without a
word. So it is put around each outermost call: global forward hooks count how deep a call is. What comes out is cast
back to float32, so that the user's own lines (a loss, `.numpy()`) see what they always saw.
"""

from __future__ import annotations

import copy
import threading
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.nn.modules import module as modules
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from ..gradients.again import running

HALVES = (torch.bfloat16, torch.float16)
_Plain = AbstractContextManager[Any]


class Outermost:
    """The hooks. `dtype` and `channels_last` may change between calls; `began` and `ended` are told of each call."""

    def __init__(self) -> None:
        self.dtype: Any = None  # torch.bfloat16, torch.float16; None: as the user wrote it
        self.channels_last: Any = ()  # modules that get pictures in that order
        self.began: Callable[[Any], None] | None = None  # (module)
        self.ended: Callable[[Any, Any, Any, Any], None] | None = None  # (module, args, keywords, output)
        self.halved = False  # whether a call that trains ran in float16
        self._here = threading.local()
        self._handles: list[Any] = []
        self._filter: Any = None

    def install(self) -> None:
        """From now on every module call is seen."""
        if self._handles:
            return
        # torch.compile warns of global hooks: they see a compiled module and the one in it. Only the outer counts.
        warnings.filterwarnings("ignore", message="Using `torch.compile.module.` when there are global hooks")
        self._filter = warnings.filters[0]
        self._handles = [
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._report, with_kwargs=True),
            register_module_forward_hook(self._leave, always_call=True),
        ]

    def remove(self) -> None:
        """Leave nothing behind, also when an interrupt ended a call where no hook could see it."""
        for handle in self._handles:
            handle.remove()
            # PyTorch forgets this one, and would then warn of hooks that are gone.
            getattr(modules, "_global_forward_hooks_with_kwargs", {}).pop(handle.id, None)
        self._handles = []
        if self._filter in warnings.filters:
            warnings.filters.remove(self._filter)  # type: ignore[attr-defined]
        calls = self._calls()
        while calls:
            self._close(calls.pop()[1])

    def calling(self, module: Any, call: Callable[..., Any]) -> Callable[..., Any]:
        """`call`, which is `module` compiled, with around it what the hooks put around a call of `module`."""

        def outer(*args: Any, **keywords: Any) -> Any:
            changed = self._enter(module, args)
            args = args if changed is None else changed
            try:
                return self._report(module, args, keywords, call(*args, **keywords))
            finally:
                self._leave(module, args, None)

        return outer

    def _calls(self) -> list[tuple[Any, _Plain | None]]:
        if not hasattr(self._here, "calls"):
            self._here.calls = []
        found: list[tuple[Any, _Plain | None]] = self._here.calls
        return found

    def _enter(self, module: Any, args: Any) -> Any:
        if torch.compiler.is_compiling():
            return None  # the outermost call is around the compiled one
        calls = self._calls()
        if calls and isinstance(module, (torch.nn.RNNBase, torch.nn.RNNCellBase)) and _no_half_rnn(module):
            plain = torch.autocast("cpu", enabled=False)
            plain.__enter__()
            calls.append((module, plain))
            return whole(args)
        # A forward within a backward is activation checkpointing: it brings the autocast of its first run with it.
        if calls or _in_backward() or not _ours(module):
            calls.append((module, None))
            return None
        if self.began is not None:
            self.began(module)
        around = self.around(module)
        if around is not None:
            around.__enter__()
        calls.append((module, around))
        return laid_out(args) if module in self.channels_last else None

    def around(self, module: Any) -> _Plain | None:
        """The autocast for a call of `module`, if there shall be one: not over the user's own."""
        if self.dtype is None:
            return None
        device = next(module.parameters()).device.type
        if torch.is_autocast_enabled(device):
            return None
        self.halved |= self.dtype is torch.float16 and torch.is_grad_enabled()
        found: _Plain = torch.autocast(device, self.dtype)
        return found

    def _report(self, module: Any, args: Any, keywords: Any, output: Any) -> Any:
        if torch.compiler.is_compiling():
            return None
        calls = self._calls()
        if len(calls) != 1 or calls[0][0] is not module or _in_backward():
            return None
        if calls[0][1] is not None:
            output = whole(output)
        if self.ended is not None and _ours(module):
            self.ended(module, args, keywords, output)
        return output

    def _leave(self, module: Any, args: Any, output: Any) -> None:
        if torch.compiler.is_compiling():
            return
        calls = self._calls()
        if calls and calls[-1][0] is module:
            self._close(calls.pop()[1])

    def _close(self, around: _Plain | None) -> None:
        if around is not None:
            around.__exit__(None, None, None)


def _no_half_rnn(module: Any) -> bool:
    """Whether autocast is on and PyTorch has no recurrent layer for it: on a CPU, oneDNN needs instructions for it."""
    if not torch.is_autocast_enabled("cpu") or any(each.device.type != "cpu" for each in module.parameters()):
        return False
    bf16 = torch.get_autocast_dtype("cpu") is torch.bfloat16
    known = torch.ops.mkldnn._is_mkldnn_bf16_supported if bf16 else torch.ops.mkldnn._is_mkldnn_fp16_supported
    return not known()


def _in_backward() -> bool:
    return bool(torch._C._current_graph_task_id() != -1) and not running()


def _ours(module: Any) -> bool:
    """Whether a module computes in float32 with weights of its own. A loss has none: it stays as it is."""
    if isinstance(module, torch.jit.ScriptModule):
        return False
    first = next((each for each in module.parameters() if each.is_floating_point()), None)
    return first is not None and first.dtype is torch.float32


def whole(value: Any) -> Any:
    """The same with every half tensor in it as float32; the containers keep their types."""
    if isinstance(value, torch.Tensor):
        return value.float() if value.dtype in HALVES else value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(whole, value))
    if type(value) in (list, tuple):
        return type(value)(map(whole, value))
    if isinstance(value, dict):
        found = copy.copy(value)
        for name, each in value.items():
            changed = whole(each)
            if changed is not each:
                found[name] = changed  # transformers' outputs keep their attributes in step with their items
        return found
    if hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
        found = copy.copy(value)
        for name in value.__dataclass_fields__:
            object.__setattr__(found, name, whole(getattr(value, name)))
        return found
    return value


def laid_out(args: Any) -> Any:
    """The arguments with pictures in the order that convolutions of channels-last weights take."""
    return tuple(
        each.contiguous(memory_format=torch.channels_last)
        if isinstance(each, torch.Tensor) and each.dim() == 4 and each.is_floating_point()
        else each
        for each in args
    )
