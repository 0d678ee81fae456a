"""`--gradients auto`: what goes wrong with the gradients of an unchanged cell is dealt with, and said. In the kernel.

Steps with gradients that are not finite are left out; large gradients are clipped (AutoClip), unless the cell clips;
when memory runs out the step is made again in smaller parts. Each kind is told when it first happens, and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from ...errors import ConfigError
from ..arriving import entered
from .telling import Told

MODES = ("auto", "off")

__all__ = ["MODES", "around"]


@contextmanager
def around(mode: str, tell: Callable[[str], None]) -> Iterator[None]:
    """Within: gradients are looked after. `tell` is given lines for the user. Raises ConfigError for another `mode`."""
    if mode not in MODES:
        raise ConfigError(f"--gradients {mode} is not known", hint=f"Choose one of {', '.join(MODES)}.")
    if mode == "off":
        yield
        return
    told = Told(tell)
    try:
        with ExitStack() as stack:
            entered(stack, "torch", f"{__name__}.of_torch", (told,), tell)
            entered(stack, "keras", f"{__name__}.of_keras", (told,), tell)
            yield
    finally:
        told.end()
