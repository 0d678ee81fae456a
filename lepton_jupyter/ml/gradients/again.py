"""A forward that is run again in the middle of a backward, with all that it had the first time. In the kernel."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from ..rerunning import random_state, set_random_state

_HERE = threading.local()


def running() -> bool:
    """Whether a whole model is run again: its outermost call is one, although a backward goes on."""
    return bool(getattr(_HERE, "on", False))


class Moment:
    """Random numbers and autocast as they are now."""

    def __init__(self, device: str) -> None:
        self._random = random_state()
        self._device = device
        self._autocast = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)

    def rewind(self) -> None:
        """Draw the same random numbers again."""
        set_random_state(self._random)

    @contextmanager
    def again(self) -> Iterator[None]:
        """Within it is that moment; afterwards it is now."""
        now, on = random_state(), running()
        enabled, dtype = self._autocast
        with ExitStack() as stack:
            stack.enter_context(torch.enable_grad())
            stack.enter_context(torch.autocast(self._device, dtype=dtype, enabled=enabled))
            _HERE.on = True
            self.rewind()
            try:
                yield
            finally:
                _HERE.on = on
                set_random_state(now)


def device_of(module: Any) -> str:
    """The kind of device a module's weights are on."""
    found: str = next(module.parameters()).device.type
    return found
