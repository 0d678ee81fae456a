"""What a checkpoint keeps of an object, and how it is put back: by what the object offers, not by its class.

In the remote kernel. PyTorch's modules, optimizers, schedulers and scalers have ``state_dict``; Keras' models and
optimizers have ``variables``; everything else is a value as it is.
"""

from __future__ import annotations

import random
import sys
from typing import Any

from ...errors import ConfigError


def state(value: Any) -> list[Any]:
    """What to keep of `value`: the kind of it, and that."""
    if callable(getattr(value, "state_dict", None)) and callable(getattr(value, "load_state_dict", None)):
        return ["state_dict", value.state_dict()]
    variables = _variables(value)
    if variables is not None:
        return ["variables", [each.numpy() if hasattr(each, "numpy") else each.value for each in variables]]
    if isinstance(value, random.Random):
        return ["random", value.getstate()]
    if "numpy" in sys.modules and isinstance(value, sys.modules["numpy"].random.Generator):
        return ["generator", value.bit_generator.state]
    return ["value", value]


def put_back(name: str, value: Any, kept: list[Any]) -> None:
    """Make `value` what it was. Raises ConfigError if it is another kind of thing now, or has other shapes."""
    kind, found = kept
    now = state(value)[0]
    if now != kind:
        raise ConfigError(
            f"the checkpoint has {name!r} as {kind}, and here it is {now}",
            hint="Restore with the names that lepton.checkpoint(…) was given.",
        )
    if kind == "state_dict":
        value.load_state_dict(found)
    elif kind == "variables":
        variables = _variables(value) or []
        shapes = [tuple(each.shape) for each in variables], [tuple(each.shape) for each in found]
        if shapes[0] != shapes[1]:
            raise ConfigError(
                f"{name!r} has other variables than in the checkpoint: {shapes[0]} here, {shapes[1]} there",
                hint="Build it as it was, an optimizer with optimizer.build(model.trainable_variables).",
            )
        for variable, array in zip(variables, found):
            variable.assign(array)
    elif kind == "random":
        value.setstate(found)
    elif kind == "generator":
        value.bit_generator.state = found


def _variables(value: Any) -> list[Any] | None:
    """A Keras model's, with its optimizer's; an optimizer's; None for what has none."""
    if type(value).__module__.partition(".")[0] == "torch" or not hasattr(type(value), "variables"):
        return None
    found = list(value.variables)
    optimizer = getattr(value, "optimizer", None)
    if optimizer is not None:
        if not optimizer.built:
            optimizer.build(value.trainable_variables)
        found += [each for each in optimizer.variables if not any(each is known for known in found)]
    return found


def chance() -> dict[str, Any]:
    """Where all random numbers are now that a cell may use without saying so."""
    found: dict[str, Any] = {"python": random.getstate()}
    if "numpy" in sys.modules:
        found["numpy"] = list(sys.modules["numpy"].random.get_state())
    torch = sys.modules.get("torch")
    if torch is not None:
        found["torch"] = torch.get_rng_state()
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            found["cuda"] = torch.cuda.get_rng_state_all()
    return found


def put_chance_back(kept: dict[str, Any]) -> None:
    """Let random numbers go on from there; those of a library that is not loaded yet are loaded with it."""
    random.setstate(kept["python"])
    if "numpy" in kept:
        import numpy

        numpy.random.set_state(tuple(kept["numpy"]))
    if "torch" in kept:
        import torch

        torch.set_rng_state(kept["torch"])
        if "cuda" in kept and torch.cuda.device_count() == len(kept["cuda"]):
            torch.cuda.set_rng_state_all(kept["cuda"])
