"""How many multiplications with an addition a Keras model does for one example.

Runs in the kernel that holds the model. Products and convolutions are counted in the graph that TensorFlow makes of the
model. What runs in a loop stands there once: recurrent layers are counted by their kernels and the steps they take.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras

from ._base import Array
from ._keras_backend import tf
from ._keras_steps import given


def macs(model: Any, inputs: Sequence[Array]) -> int | None:
    """None if a shape is known only when it runs."""
    specs = tuple(tf.TensorSpec((1, *part.shape[1:]), tf.as_dtype(part.dtype)) for part in inputs)
    traced = tf.function(lambda *parts: model(given(model, parts), training=False)).get_concrete_function(*specs)
    counts = [_of(operation) for operation in _operations(traced.graph, traced.outputs)]
    counts += [_recurrent(layer) for layer in model._flatten_layers() if isinstance(layer, keras.layers.RNN)]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _operations(graph: Any, answers: Sequence[Any]) -> list[Any]:
    """Those that the answers need, also in functions that are called, but not in loops."""
    found: list[Any] = []
    seen: set[str] = set()
    asked = [each.op for each in answers]
    while asked:
        operation = asked.pop()
        if operation.name in seen:
            continue
        seen.add(operation.name)
        asked += [each.op for each in operation.inputs]
        if operation.type in ("PartitionedCall", "StatefulPartitionedCall"):
            inner = graph._get_function(operation.get_attr("f").name).graph
            found += _operations(inner, inner.outputs)
        else:
            found.append(operation)
    return found


def _of(operation: Any) -> int | None:
    """Items of the answer, times how many products go into each."""
    kind = operation.type
    if kind == "MatMul":
        first, inner = operation.inputs[0].shape, 0 if operation.get_attr("transpose_a") else 1
        return _product(operation.outputs[0].shape, first[inner])
    if kind.startswith("BatchMatMul"):
        first, inner = operation.inputs[0].shape, -2 if operation.get_attr("adj_x") else -1
        return _product(operation.outputs[0].shape, first[inner])
    if kind in ("Conv2D", "Conv3D", "DepthwiseConv2dNative"):
        kernel = operation.inputs[1].shape
        window = kernel[:-2] if kind.startswith("Depthwise") else kernel[:-1]
        return _product(operation.outputs[0].shape, *window)
    if kind in ("Conv2DBackpropInput", "Conv3DBackpropInputV2"):  # a transposed convolution
        kernel, given_ = operation.inputs[1].shape, operation.inputs[2].shape
        return _product(given_, *kernel[:-1])
    if kind == "Einsum":
        return _einsum(operation)
    return 0


def _einsum(operation: Any) -> int | None:
    left, _ = operation.get_attr("equation").decode().split("->")
    sizes: dict[str, Any] = {}
    for letters, tensor in zip(left.split(","), operation.inputs, strict=True):
        sizes |= dict(zip(letters, tensor.shape, strict=True))
    return _product(sizes.values()) if len(operation.inputs) == 2 else 0


def _product(shape: Any, *more: Any) -> int | None:
    sizes = [*shape, *more]
    return None if any(size is None for size in sizes) else math.prod(int(size) for size in sizes)


def _recurrent(layer: Any) -> int | None:
    """Steps times the kernels. An unrolled layer has no loop: its products are in the graph."""
    if layer.unroll:
        return 0
    steps = layer.input.shape[1] if layer._inbound_nodes else None
    kernels = sum(math.prod(each.shape) for each in layer.trainable_weights if len(each.shape) > 1)
    return None if steps is None else steps * kernels
