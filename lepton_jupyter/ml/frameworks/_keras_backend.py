"""TensorFlow, on which Keras must run for its models to be compressed here.

Runs in the kernel that holds the model.
"""

from __future__ import annotations

from typing import Any

import keras

from ...errors import ConfigError


def _tensorflow() -> Any:
    if keras.backend.backend() != "tensorflow":
        raise ConfigError(
            f"Keras runs on {keras.backend.backend()} here; its models are compressed on TensorFlow",
            hint='Start Python with KERAS_BACKEND="tensorflow" in its environment.',
        )
    import tensorflow

    return tensorflow


tf = _tensorflow()
