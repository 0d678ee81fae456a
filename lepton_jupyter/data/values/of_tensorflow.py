"""Codecs for TensorFlow: tensors dense, ragged and sparse, variables, data sets made of tensors. Both ends.

A tensor is its NumPy array. A data set is the chain of steps that made it, as long as none of them holds a function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import Malformed
from .codec import Codec, fields, library

if TYPE_CHECKING:
    from .packer import Packer
    from .unpacker import Unpacker

#: Steps of a data set that are data: the method that makes it -> the attributes that hold its arguments.
_STEPS = {
    "batch": {"batch_size": "_batch_size", "drop_remainder": "_drop_remainder"},
    "shuffle": {"buffer_size": "_buffer_size", "reshuffle_each_iteration": "_reshuffle_each_iteration"},
    "repeat": {"count": "_count"},
    "take": {"count": "_count"},
    "skip": {"count": "_count"},
    "prefetch": {"buffer_size": "_buffer_size"},
}
_CLASSES = {f"_{name.capitalize()}Dataset": name for name in _STEPS}
_SOURCES = {"_TensorSliceDataset": "from_tensor_slices", "_TensorDataset": "from_tensors"}


class _Tensor(Codec):
    tag = "tensorflow.Tensor"

    def accepts(self, value: Any) -> bool:
        tf = library("tensorflow")
        return isinstance(value, tf.Tensor) and hasattr(value, "numpy")

    def encode(self, value: Any, out: Packer) -> list[Any]:
        if value.dtype.name in ("resource", "variant"):
            out.refuse(f"it is a handle ({value.dtype.name})", "Send what it stands for.")
        array = library("numpy").asarray(value.numpy(), dtype=value.dtype.as_numpy_dtype)
        return [value.dtype.name, out.child(array)]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        tf = library("tensorflow")
        kind, item = fields(body, str, list)
        array = src.child(item)
        if not isinstance(array, library("numpy").ndarray):
            raise Malformed("a tensor without an array")
        return tf.constant(array, dtype=tf.as_dtype(kind))

    def describe(self, value: Any) -> str:
        return f"{value.dtype.name} tensor {tuple(value.shape)}"

    def nbytes(self, value: Any) -> int:
        return int(library("numpy").prod(value.shape, dtype="i8") * value.dtype.size)

    def preview(self, value: Any) -> str:
        return str(value)[:1000]


class _Variable(_Tensor):
    tag = "tensorflow.Variable"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, library("tensorflow").Variable)

    def encode(self, value: Any, out: Packer) -> list[Any]:
        shape = value.shape.as_list() if value.shape.rank is not None else None
        about = [value.name.partition(":")[0], bool(value.trainable), shape]
        return [*about, out.child(value.read_value())]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        tf = library("tensorflow")
        name, trainable, shape, item = fields(body, str, bool, object, list)
        return tf.Variable(src.child(item), trainable=trainable, name=name, shape=tf.TensorShape(shape))

    def describe(self, value: Any) -> str:
        return f"{value.dtype.name} variable {tuple(value.shape)}"


class _Composite(Codec):
    """RaggedTensor, SparseTensor, IndexedSlices: the tensors they are made of."""

    tag = "tensorflow.composite"

    def accepts(self, value: Any) -> bool:
        return type(value).__name__ in ("RaggedTensor", "SparseTensor", "IndexedSlices")

    def encode(self, value: Any, out: Packer) -> list[Any]:
        kind = type(value).__name__
        if kind == "RaggedTensor":
            parts = [value.flat_values, *value.nested_row_splits]
        elif kind == "SparseTensor":
            parts = [value.indices, value.values, value.dense_shape]
        else:
            parts = [value.values, value.indices, value.dense_shape]
        return [kind, out.children(parts)]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        tf = library("tensorflow")
        kind, items = fields(body, str, list)
        parts = src.children(items)
        if kind == "RaggedTensor":
            return tf.RaggedTensor.from_nested_row_splits(parts[0], parts[1:], validate=True)
        if kind == "SparseTensor":
            return tf.sparse.SparseTensor(*parts)
        if kind == "IndexedSlices":
            return tf.IndexedSlices(*parts)
        raise Malformed("an unknown kind of tensor")

    def describe(self, value: Any) -> str:
        return f"{value.dtype.name} {type(value).__name__} {tuple(value.shape)}"

    def parts(self, value: Any) -> Any:
        ragged = type(value).__name__ == "RaggedTensor"
        return [value.flat_values, *value.nested_row_splits] if ragged else [value.values, value.indices]


class _Dataset(Codec):
    tag = "tensorflow.Dataset"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, library("tensorflow").data.Dataset)

    def encode(self, value: Any, out: Packer) -> list[Any]:
        steps: list[Any] = []
        while type(value).__name__ in _CLASSES:
            name = _CLASSES[type(value).__name__]
            options = {key: getattr(value, attribute) for key, attribute in _STEPS[name].items()}
            steps.append([name, out.child({key: _plain(part) for key, part in options.items()})])
            value = value._input_dataset
        source = _SOURCES.get(type(value).__name__)
        if source is None:
            out.refuse(
                f"its step {type(value).__name__} is not data",
                "Send the tensors it begins with, and build the data set in the cell.",
            )
        tf = library("tensorflow")
        flat = tf.nest.flatten(value.element_spec)
        if len(flat) != len(value._tensors):
            out.refuse("it is made of composite tensors", "Send the tensors, and build the data set in the cell.")
        structure = tf.nest.pack_sequence_as(value.element_spec, value._tensors)
        return [source, out.child(structure), steps[::-1]]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        data = library("tensorflow").data
        source, item, steps = fields(body, str, list, list)
        if source not in _SOURCES.values():
            raise Malformed("a data set of an unknown source")
        made = getattr(data.Dataset, source)(src.child(item))
        for step in steps:
            name, options = fields(step, str, list)
            arguments = src.child(options)
            if name not in _STEPS or type(arguments) is not dict or set(arguments) != set(_STEPS[name]):
                raise Malformed("a data set with an unknown step")
            made = getattr(made, name)(**arguments)
        return made

    def describe(self, value: Any) -> str:
        return f"Dataset of {value.element_spec}"

    def nbytes(self, value: Any) -> int:
        return 1 << 10

    def parts(self, value: Any) -> Any:
        while hasattr(value, "_input_dataset"):
            value = value._input_dataset
        return getattr(value, "_tensors", ())

    def preview(self, value: Any) -> str:
        return self.describe(value)


CODECS: tuple[Codec, ...] = (_Variable(), _Tensor(), _Composite(), _Dataset())


def _plain(option: Any) -> Any:
    """An argument of a step, which TensorFlow keeps as a tensor."""
    return option.numpy().item() if hasattr(option, "numpy") else option
