"""What a cell's training does, seen from outside its code: loss, steps a second, learning rate, gradient norm, epoch.

Runs in the kernel that runs the cells, Python 3.9 and newer. Nothing is imported on the user's behalf: a framework is
watched from the moment the cell itself imports it. What hooks do in a training step is count and keep a reference; a
thread looks at what they kept once in a while, so that no step waits for a GPU. Nothing here changes what is computed.
"""

from __future__ import annotations

import functools

from ._arrivals import when_imported
from .meter import Listener, Meter, Reading, Trainer

__all__ = ["Listener", "Meter", "Reading", "Trainer", "watch"]


def watch(meter: Meter) -> None:
    """Have the frameworks tell `meter` what they do, from their import on. For the life of the process."""

    def torch_came() -> None:
        from . import of_torch

        of_torch.install(meter)

    def keras_came() -> None:
        from . import of_keras

        of_keras.install(meter)

    def lightning_came(package: str) -> None:
        from . import of_lightning

        of_lightning.install(meter, package)

    def transformers_came() -> None:
        from . import of_transformers

        of_transformers.install(meter)

    when_imported("torch", torch_came)
    when_imported("keras", keras_came)
    for package in ("lightning.pytorch", "pytorch_lightning"):  # two copies of one library
        when_imported(f"{package}.trainer.trainer", functools.partial(lightning_came, package))
    when_imported("transformers.trainer", transformers_came)
