"""Which widths of a Keras model's layers hang together: the rules, one for each kind of layer.

Runs in the kernel that holds the model. Each place on a tensor's last axis carries a unit, an integer. A layer that
makes features makes new units; a sum makes one of two; a layer that passes features on passes their units. Each array
of a layer has units along some of its axes: what is left of it when units go is then only a matter of indexing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from ..frameworks._base import Array

L = keras.layers
#: What passes each feature on, alone or with its neighbours in space.
PASSING: tuple[type, ...] = (
    L.Activation, L.ReLU, L.LeakyReLU, L.ELU, L.Dropout, L.SpatialDropout1D, L.SpatialDropout2D, L.SpatialDropout3D,
    L.GaussianNoise, L.GaussianDropout, L.ActivityRegularization, L.Identity, L.Masking,
    L.MaxPooling1D, L.MaxPooling2D, L.MaxPooling3D, L.AveragePooling1D, L.AveragePooling2D, L.AveragePooling3D,
    L.GlobalAveragePooling1D, L.GlobalAveragePooling2D, L.GlobalAveragePooling3D,
    L.GlobalMaxPooling1D, L.GlobalMaxPooling2D, L.GlobalMaxPooling3D,
    L.ZeroPadding1D, L.ZeroPadding2D, L.ZeroPadding3D, L.UpSampling1D, L.UpSampling2D, L.UpSampling3D,
    L.Cropping1D, L.Cropping2D, L.Cropping3D, L.RepeatVector,
)  # fmt: skip
#: Likewise, as operations: keras.ops.relu(x).
PASSING_OPERATIONS = {
    "Relu", "Relu6", "Sigmoid", "Silu", "Swish", "Gelu", "Elu", "Selu", "Softplus", "Tanh", "LeakyRelu", "HardSigmoid",
    "HardSwish", "Abs", "Square", "Sqrt", "Exp", "Negative", "Identity", "Cast",
}  # fmt: skip
#: Sums and the like of several tensors.
MERGING = (L.Add, L.Subtract, L.Multiply, L.Average, L.Maximum, L.Minimum)
MERGING_OPERATIONS = {"Add", "Subtract", "Multiply", "TrueDivide", "Divide", "Maximum", "Minimum"}
#: Layers with new features: the option that says how many.
WIDTHS: dict[type, str] = {
    L.Dense: "units", L.Conv1D: "filters", L.Conv2D: "filters", L.Conv3D: "filters", L.Conv1DTranspose: "filters",
    L.Conv2DTranspose: "filters", L.Conv3DTranspose: "filters", L.SeparableConv1D: "filters",
    L.SeparableConv2D: "filters", L.Embedding: "output_dim", L.LSTM: "units", L.GRU: "units", L.SimpleRNN: "units",
}  # fmt: skip
GATES: dict[type, int] = {L.LSTM: 4, L.GRU: 3, L.SimpleRNN: 1}


@dataclass
class Used:
    """A layer in the graph: its answer's units, and those along the axes of its arrays, by the array's place among the
    layer's weights. `options` are those of its configuration (a.b: of a's b) that follow the number of units left."""

    out: Array
    arrays: dict[int, dict[int, Array]] = field(default_factory=dict)
    options: dict[str, Array] = field(default_factory=dict)


class Units:
    """Numbers units, and remembers which are one and which must stay."""

    def __init__(self) -> None:
        self._parents: list[int] = []
        self._fixed: set[int] = set()
        #: For each unit, who made it.
        self.makers: list[str] = []

    def new(self, count: int, maker: str) -> Array:
        start = len(self._parents)
        self._parents += range(start, start + count)
        self.makers += [maker] * count
        return np.arange(start, start + count)

    def root(self, unit: int) -> int:
        while self._parents[unit] != unit:
            self._parents[unit] = unit = self._parents[self._parents[unit]]
        return unit

    def roots(self, units: Array) -> Array:
        return np.array([self.root(int(unit)) for unit in units.ravel()], dtype=int).reshape(units.shape)

    def join(self, these: Array, those: Array) -> Array:
        for one, other in zip(these, those, strict=True):
            self._parents[self.root(int(one))] = self.root(int(other))
        return those

    def fix(self, units: Array) -> Array:
        self._fixed |= {int(unit) for unit in units}
        return units

    def fixed(self) -> set[int]:
        return {self.root(unit) for unit in self._fixed}


def use(layer: Any, inputs: Sequence[tuple[Array, Any]], answer: Any, units: Units, args: int) -> Used:
    """One call of a layer or an operation. `inputs` are the units and shapes of the tensors given, `answer` the tensor
    that comes of it, `args` how many arrays were given that are no tensors of the graph."""
    shape = tuple(answer.shape) if hasattr(answer, "shape") else None
    if shape is None or not inputs or not shape or shape[-1] is None:
        return _unknown(inputs, answer, units, layer)
    operation = type(layer).__name__
    first, first_shape = inputs[0]
    passing = isinstance(layer, PASSING) and getattr(layer, "data_format", None) != "channels_first"
    if (passing or operation in PASSING_OPERATIONS) and shape[-1] == len(first):
        return Used(first)
    if (isinstance(layer, MERGING) or operation in MERGING_OPERATIONS) and not args:
        return _merged(inputs, shape, units, layer)
    if isinstance(layer, L.Concatenate) and layer.axis in (-1, len(shape) - 1):
        return Used(np.concatenate([each for each, _ in inputs]))
    if isinstance(layer, L.Flatten | L.Reshape) and len(shape) == 2 and None not in first_shape[1:] and len(first):
        return Used(np.tile(first, shape[-1] // len(first)), options=_target(layer, first, shape))
    if isinstance(layer, L.BatchNormalization | L.LayerNormalization):
        axis = layer.axis if isinstance(layer.axis, int) else layer.axis[0] if len(layer.axis) == 1 else None
        if axis in (-1, len(shape) - 1):
            return Used(first, {place: {0: first} for place in range(len(layer.weights))})
    if isinstance(layer, L.PReLU) and len(layer.weights[0].shape):
        return Used(first, {0: {len(layer.weights[0].shape) - 1: first}})
    rule = RULES.get(type(layer))
    plain = getattr(layer, "groups", 1) == 1 and getattr(layer, "data_format", None) != "channels_first"
    if rule is None or not plain or getattr(layer, "lora_enabled", False):
        return _unknown(inputs, answer, units, layer)
    return rule(layer, [each for each, _ in inputs], shape, units)


def _unknown(inputs: Sequence[tuple[Array, Any]], answer: Any, units: Units, layer: Any) -> Used:
    for each, _ in inputs:
        units.fix(each)
    shape = getattr(answer, "shape", None)
    width = shape[-1] if shape and shape[-1] is not None else 0
    return Used(units.fix(units.new(width, layer.name)))


def _merged(inputs: Sequence[tuple[Array, Any]], shape: Any, units: Units, layer: Any) -> Used:
    wide = [each for each, _ in inputs if len(each) == shape[-1]]
    narrow = [each for each, _ in inputs if len(each) != shape[-1]]
    for each in narrow:  # of width 1, repeated
        units.fix(each)
    if not wide:
        return Used(units.fix(units.new(shape[-1], layer.name)))
    for each in wide[1:]:
        units.join(each, wide[0])
    return Used(wide[0])


def _target(layer: Any, first: Array, shape: Any) -> dict[str, Array]:
    return {"target_shape": np.tile(first, shape[-1] // len(first))} if isinstance(layer, L.Reshape) else {}


def _dense(layer: Any, inputs: list[Array], shape: Any, units: Units) -> Used:
    """Also convolutions: the last two axes of their kernels are what goes in and what comes out."""
    out = units.new(shape[-1], layer.name)
    axes = len(layer.weights[0].shape)
    arrays = {0: {axes - 2: inputs[0], axes - 1: out}}
    if layer.use_bias:
        arrays[1] = {0: out}
    return Used(out, arrays, {WIDTHS[type(layer)]: out})


def _transposed(layer: Any, inputs: list[Array], shape: Any, units: Units) -> Used:
    out = units.new(shape[-1], layer.name)
    axes = len(layer.weights[0].shape)
    arrays = {0: {axes - 1: inputs[0], axes - 2: out}}
    if layer.use_bias:
        arrays[1] = {0: out}
    return Used(out, arrays, {"filters": out})


def _depthwise(layer: Any, inputs: list[Array], shape: Any, units: Units) -> Used:
    out = np.repeat(inputs[0], layer.depth_multiplier)
    arrays = {0: {len(layer.weights[0].shape) - 2: inputs[0]}}
    if layer.use_bias:
        arrays[1] = {0: out}
    return Used(out, arrays)


def _separable(layer: Any, inputs: list[Array], shape: Any, units: Units) -> Used:
    out = units.new(shape[-1], layer.name)
    axes = len(layer.weights[0].shape)
    arrays = {
        0: {axes - 2: inputs[0]},
        1: {axes - 2: np.repeat(inputs[0], layer.depth_multiplier), axes - 1: out},
    }
    if layer.use_bias:
        arrays[2] = {0: out}
    return Used(out, arrays, {"filters": out})


def _embedding(layer: Any, inputs: list[Array], shape: Any, units: Units) -> Used:
    units.fix(inputs[0])
    out = units.new(shape[-1], layer.name)
    return Used(out, {0: {1: out}}, {"output_dim": out})


def _recurrent(layer: Any, inputs: list[Array], shape: Any, units: Units) -> Used:
    """Kernels have the gates side by side."""
    for each in inputs[1:]:  # first states from elsewhere
        units.fix(each)
    out = units.new(layer.units, layer.name)
    if len(inputs) > 1:
        units.fix(out)
    gates = np.tile(out, GATES[type(layer)])
    arrays = {0: {0: inputs[0], 1: gates}, 1: {0: out, 1: gates}}
    if layer.use_bias:
        arrays[2] = {len(layer.weights[2].shape) - 1: gates}
    return Used(out, arrays, {"units": out})


def _bidirectional(layer: Any, inputs: list[Array], shape: Any, units: Units) -> Used:
    """Both directions are made from one configuration, so that a unit goes from both."""
    inner = layer.forward_layer
    if type(inner) not in GATES or len(inputs) > 1:
        for each in inputs:
            units.fix(each)
        return Used(units.fix(units.new(shape[-1], layer.name)))
    there = _recurrent(inner, inputs, shape, units)
    back = {place + len(there.arrays): axes for place, axes in there.arrays.items()}
    out = np.concatenate([there.out, there.out]) if layer.merge_mode == "concat" else there.out
    options = {"layer.config.units": there.out, "backward_layer.config.units": there.out}
    return Used(out, there.arrays | back, options)


def _attention(layer: Any, inputs: list[Array], shape: Any, units: Units) -> Used:
    """Whole heads go, and what the answer is made of. query, key and value each have (kernel, bias)."""
    heads = units.new(layer.num_heads, f"{layer.name}'s heads")
    query, value = inputs[0], inputs[1] if len(inputs) > 1 else inputs[0]
    key = inputs[2] if len(inputs) > 2 else value
    out = units.new(shape[-1], layer.name)
    if layer._output_shape is None:  # as wide as the query, always
        units.join(out, query)
    else:
        units.fix(out)
    per = 2 if layer._use_bias else 1
    if len(layer.weights) != 4 * per:  # of a kind that this doesn't know, as with a gate
        for each in (*inputs, out, heads):
            units.fix(each)
        return Used(out)
    arrays: dict[int, dict[int, Array]] = {}
    for place, given in enumerate((query, key, value)):
        arrays[per * place] = {0: given, 1: heads}
        if layer._use_bias:
            arrays[per * place + 1] = {0: heads}
    arrays[3 * per] = {0: heads, 2: out}
    if layer._use_bias:
        arrays[3 * per + 1] = {0: out}
    return Used(out, arrays, {"num_heads": heads})


RULES: dict[type, Callable[[Any, list[Array], Any, Units], Used]] = {
    **dict.fromkeys((L.Dense, L.Conv1D, L.Conv2D, L.Conv3D), _dense),
    **dict.fromkeys((L.Conv1DTranspose, L.Conv2DTranspose, L.Conv3DTranspose), _transposed),
    **dict.fromkeys((L.DepthwiseConv1D, L.DepthwiseConv2D), _depthwise),
    **dict.fromkeys((L.SeparableConv1D, L.SeparableConv2D), _separable),
    **dict.fromkeys((L.LSTM, L.GRU, L.SimpleRNN), _recurrent),
    L.Bidirectional: _bidirectional,
    L.Embedding: _embedding,
    L.MultiHeadAttention: _attention,
}
