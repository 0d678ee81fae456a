"""Has Keras models compute in half precision, at their outermost call only. On TensorFlow, in the kernel.

Keras has dtype policies, but a model takes its own when it is made: one from an earlier cell would stay float32, and
one from this cell would be half for ever, and say so in its file. So the policy of a model's layers is changed for the
time of the outermost call. Output layers keep float32, as Keras advises, and so does what comes out.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

POLICIES = {"bf16": "mixed_bfloat16", "fp16": "mixed_float16", "fp32": None}


class Halves:
    """Outermost model calls in half precision. `precision` may change between calls, but not what was traced."""

    def __init__(self, precision: str) -> None:
        self.precision = precision
        self._depth = 0

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Within: every call of a model is seen."""
        import tensorflow as tf

        model: Any = keras.Model
        call = model.__call__

        @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
        @functools.wraps(call)
        def halved(model: Any, *args: Any, **options: Any) -> Any:
            policy = POLICIES[self.precision]
            flat = keras.tree.flatten((args, options))
            if policy is None or self._depth or any(isinstance(each, keras.KerasTensor) for each in flat):
                return call(model, *args, **options)
            self._depth += 1
            half, plain = keras.DTypePolicy(policy), keras.DTypePolicy("float32")
            changed = _change(model, half)
            try:
                return keras.tree.map_structure(_whole, call(model, *args, **options))
            finally:
                self._depth -= 1
                for layer, own in changed:
                    layer._dtype_policy = own
                for layer in model._flatten_layers():
                    if layer.dtype_policy is half:  # made within the call, in the policy of a layer around it
                        layer._dtype_policy = plain

        model.__call__ = halved
        try:
            yield
        finally:
            del model.__call__  # it is Layer's again


def _change(model: Any, policy: Any) -> list[tuple[Any, Any]]:
    """Give float32 layers another policy; each with the one it had. The models' output layers are left out."""
    layers = list(model._flatten_layers())
    spared = {id(part) for each in layers if isinstance(each, keras.Model) for part in _last(each)}
    changed = []
    for layer in layers:
        own = layer.dtype_policy
        if id(layer) not in spared and isinstance(own, keras.DTypePolicy) and own.name == "float32":
            layer._dtype_policy = policy
            changed.append((layer, own))
    return changed


def _last(model: Any) -> list[Any]:
    if isinstance(model, keras.Sequential):
        return list(model.layers[-1:])
    outputs = keras.tree.flatten(getattr(model, "_outputs", None) or [])
    return [each._keras_history.operation for each in outputs if hasattr(each, "_keras_history")]


def _whole(value: Any) -> Any:
    if keras.ops.is_tensor(value) and keras.backend.standardize_dtype(value.dtype) in ("bfloat16", "float16"):
        return keras.ops.cast(value, "float32")
    return value
