"""What a checkpoint keeps of an object, and how it is put back: by what the object offers, not by its class.

In the remote kernel. PyTorch's modules, optimizers, schedulers and scalers have ``state_dict``; Keras' models and
optimizers have ``variables``; everything else is a value as it is.
"""

from __future__ import annotations

import random
import sys
from typing import Any

from ...errors import ConfigError

_KERAS = {"keras", "tf_keras", "tensorflow"}


def state(value: Any) -> list[Any]:
    """What to keep of `value`: the kind of it, and that."""
    kind = _kind(value)
    if kind == "state_dict":
        return [kind, value.state_dict()]
    if kind == "variables":
        variables = _variables(value)
        return [kind, [each.numpy() if hasattr(each, "numpy") else each.value for each in variables]]
    if kind == "random":
        return [kind, value.getstate()]
    if kind == "generator":
        return [kind, value.bit_generator.state]
    if kind == "torch.Generator":
        return [kind, value.get_state()]
    return [kind, value]


def _kind(value: Any) -> str:
    if _is_keras(value):  # before the next: over PyTorch, its models are modules too, which know no optimizer
        return "variables"
    if callable(getattr(value, "state_dict", None)) and callable(getattr(value, "load_state_dict", None)):
        return "state_dict"
    if isinstance(value, random.Random):
        return "random"
    if "numpy" in sys.modules and isinstance(value, sys.modules["numpy"].random.Generator):
        return "generator"
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Generator):
        return "torch.Generator"
    if torch is not None and isinstance(value, torch.utils.data.DataLoader):
        raise ConfigError("a loader is not kept", hint="Leave it out: its place is kept by itself.")
    return "value"


def put_back(name: str, value: Any, kept: list[Any]) -> None:
    """Make `value` what it was. Raises ConfigError if it is another kind of thing now, or has other shapes."""
    kind, found = kept
    now = _kind(value)
    if now != kind:
        raise ConfigError(
            f"the checkpoint has {name!r} as {kind}, and here it is {now}",
            hint="Restore with the names that lepton.checkpoint(…) was given.",
        )
    if kind == "state_dict":
        try:
            value.load_state_dict(found)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{name!r} is not built as the one in the checkpoint: {error}",
                hint="Build it as it was; or run the cell without --resume, which begins anew.",
            ) from error
    elif kind == "variables":
        variables = _variables(value)
        shapes = [tuple(each.shape) for each in variables], [tuple(each.shape) for each in found]
        if shapes[0] != shapes[1]:
            raise ConfigError(
                f"{name!r} has other variables than in the checkpoint: {shapes[0]} here, {shapes[1]} there",
                hint="Build it as it was, an optimizer with optimizer.build(model.trainable_variables); "
                "or run the cell without --resume, which begins anew.",
            )
        for variable, array in zip(variables, found):
            variable.assign(array)
    elif kind == "random":
        value.setstate(found)
    elif kind == "generator":
        value.bit_generator.state = found
    elif kind == "torch.Generator":
        value.set_state(found)


def learns(value: Any) -> bool:
    """Whether it has weights: a model. An optimizer has none of its own, though Keras keeps them together."""
    torch = sys.modules.get("torch")
    return _is_keras(value) or (torch is not None and isinstance(value, torch.nn.Module))


def _is_keras(value: Any) -> bool:
    """Whether it is a model, layer or optimizer of Keras, or a module of TensorFlow's."""
    own = any(cls.__module__.partition(".")[0] in _KERAS for cls in type(value).__mro__)
    return own and hasattr(type(value), "variables")


def _variables(value: Any) -> list[Any]:
    """A Keras model's, with its optimizer's; an optimizer's."""
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
