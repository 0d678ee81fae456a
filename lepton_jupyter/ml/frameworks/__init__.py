"""The frameworks a model may be written in, one small class each; what compresses a model knows none of them.

Runs in the kernel that holds the model. A framework is recognised by the type of the model, without being imported:
who has a PyTorch model has torch already.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from ...errors import ConfigError
from ._base import Framework, Weight

__all__ = ["Framework", "Weight", "of"]

#: Framework -> the module and class that its models are made of.
MODELS = {
    "keras": ("keras", "Model"),  # first: on PyTorch, a Keras model is a Module, too
    "torch": ("torch.nn", "Module"),
    "onnx": (f"{__name__}.onnx", "OnnxModel"),
    "litert": (f"{__name__}.litert", "LiteRtModel"),
}


def of(model: Any) -> Framework:
    """The framework of this model. Raises ConfigError if there is none that we know."""
    for name, (module, kind) in MODELS.items():
        if module in sys.modules and isinstance(model, getattr(sys.modules[module], kind)):
            framework: Framework = importlib.import_module(f".{name}", __name__).FRAMEWORK
            return framework
    raise ConfigError(
        f"a {type(model).__name__} is no model that can be compressed",
        hint="Give a torch.nn.Module or a keras.Model (Keras 3).",
    )
