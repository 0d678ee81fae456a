"""In which precision an unchanged cell computes: as it was asked to, or as a measurement on its own step finds best.

Runs in the kernel that runs the cell. A framework that the cell does not import is not imported
for it. Within `around` the outermost call of a model computes in half precision and answers in float32; weights,
losses and optimizers stay float32. Nothing is left behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from ...errors import ConfigError
from ..arriving import entered

MODES, COMPILERS = ("auto", "bf16", "fp16", "fp32"), ("auto", "off")

__all__ = ["COMPILERS", "MODES", "around"]


@contextmanager
def around(mode: str, compiler: str, tell: Callable[[str], None]) -> Iterator[None]:
    """Within: models compute in `mode` and, with `compiler` "auto", compiled where that is measured to be faster.

    `tell` is given lines for the user. Raises ConfigError for a mode or compiler that there is not.
    """
    if mode not in MODES:
        raise ConfigError(f"there is no precision {mode!r}", hint=f"Choose one of {', '.join(MODES)}.")
    if compiler not in COMPILERS:
        raise ConfigError(
            f"there is no way to compile called {compiler!r}", hint=f"Choose one of {', '.join(COMPILERS)}."
        )
    with ExitStack() as stack:
        entered(stack, "torch", f"{__name__}.of_torch", (mode, compiler, tell), tell)
        entered(stack, "keras", f"{__name__}.of_keras", (mode, compiler, tell), tell)
        yield
