"""Weights of an ONNX model in few bits: on disk, or also while it multiplies.

Runs in the kernel that holds the model. A weight becomes whole numbers and a scale for each row, or for each block of a
row. `stored` puts the few operations that undo that before the weight's use: they have constants alone, so any runtime
works them out once, when it loads the file, and is then as fast as before. `multiplied` leaves them to the runtime's
own product with such blocks (MatMulNBits), which reads less memory: faster for wide layers at small batches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..frameworks._base import Array

#: Operations -> which of their inputs are kernels.
KERNELS = {
    "Conv": (1,), "ConvTranspose": (1,), "Gemm": (1,), "MatMul": (1,), "Gather": (0,), "LSTM": (1, 2), "GRU": (1, 2),
    "RNN": (1, 2),
}  # fmt: skip
#: Kernels with fewer items cost more in operations than they save.
FEW = 256


@dataclass(frozen=True)
class Grid:
    """`whole[row, block, item]` times `scale[row, block, 1]`; rows are filled up with zeros to whole blocks."""

    whole: Array
    scale: Array
    width: int

    @property
    def values(self) -> Array:
        """What the numbers stand for: `rows x width`."""
        rows: Array = (self.whole * self.scale).reshape(len(self.whole), -1)
        return rows[:, : self.width]


def grid(rows: Array, bits: int, block: int | None = None) -> Grid:
    """The nearest numbers from -(2^(bits-1)-1) to that, for each block of so many items; None: for each row."""
    count, width = rows.shape
    size = width if block is None or block > width else block
    padded = np.zeros((count, -(-width // size) * size), np.float32)
    padded[:, :width] = rows
    blocks = padded.reshape(count, -1, size)
    top = float((1 << (bits - 1)) - 1)
    largest = np.abs(blocks).max(2, keepdims=True)
    best = np.where(largest > 0, largest / top, 1).astype(np.float32)
    error = _error(blocks, best, top)
    if bits < 8:  # a few large weights may be cut off where that serves the many others
        for share in np.linspace(0.95, 0.6, 8, dtype=np.float32):
            scale = np.where(largest > 0, share * largest / top, 1).astype(np.float32)
            found = _error(blocks, scale, top)
            better = found < error
            best, error = np.where(better, scale, best), np.where(better, found, error)
    return Grid(np.clip(np.rint(blocks / best), -top, top).astype(np.int8), best, width)


def _error(blocks: Array, scale: Array, top: float) -> Array:
    found: Array = ((np.clip(np.rint(blocks / scale), -top, top) * scale - blocks) ** 2).sum(2, keepdims=True)
    return found


def stored(data: bytes, bits: int, block: int | None = None) -> bytes:
    """The same model with kernels in 16 (half precision), 8 or 4 bits; what it computes with stays in 32."""
    import onnx
    from onnx import numpy_helper

    proto = onnx.load_from_string(data)
    graph = proto.graph
    kernels = _kernels(graph)
    nodes: list[Any] = []
    kept: list[Any] = []
    for each in graph.initializer:
        if each.name in kernels:
            _store(each.name, numpy_helper.to_array(each), kernels[each.name], bits, block, nodes, kept)
        else:
            kept.append(each)
    _replace(graph, nodes, kept)
    return _bytes(proto)


def _store(
    name: str, array: Array, outer: tuple[int, ...], bits: int, block: int | None, nodes: list[Any], kept: list[Any]
) -> None:
    """Add what is stored of this kernel to `kept`, and to `nodes` what makes it of that."""
    from onnx import TensorProto, helper, numpy_helper

    if bits == 16:
        half = np.clip(array, np.finfo(np.float16).min, np.finfo(np.float16).max).astype(np.float16)
        kept.append(numpy_helper.from_array(half, f"{name}.half"))
        nodes.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
        return
    found = grid(_rows(array, outer), bits, block)
    kept.append(_whole(found.whole, bits, f"{name}.whole"))
    kept.append(numpy_helper.from_array(found.scale, f"{name}.scale"))
    nodes.append(helper.make_node("Cast", [f"{name}.whole"], [f"{name}.number"], to=TensorProto.FLOAT))
    nodes.append(helper.make_node("Mul", [f"{name}.number", f"{name}.scale"], [f"{name}.blocks"]))

    def then(kind: str, *numbers: list[int], **options: Any) -> None:
        given = [nodes[-1].output[0]]
        for values in numbers:
            given.append(f"{name}.axes{len(kept)}")
            kept.append(numpy_helper.from_array(np.array(values, np.int64), given[-1]))
        nodes.append(helper.make_node(kind, given, [f"{name}.shaped{len(nodes)}"], **options))

    if found.whole.shape[1] * found.whole.shape[2] != found.width:
        then("Reshape", [len(found.whole), -1])
        then("Slice", [0], [found.width], [1])
    order = [*outer, *(axis for axis in range(array.ndim) if axis not in outer)]
    then("Reshape", [array.shape[axis] for axis in order])
    if order != sorted(order):
        then("Transpose", perm=[int(axis) for axis in np.argsort(order)])
    nodes[-1].output[0] = name


def multiplied(data: bytes, bits: int, block: int | None = None) -> bytes | None:
    """The same model with products by constant matrices made from 8 or 4 bits; None if it has none."""
    import onnx
    from onnx import helper, numpy_helper

    proto = onnx.load_from_string(data)
    graph = proto.graph
    kernels = _kernels(graph)
    arrays = {each.name: each for each in graph.initializer if each.name in kernels}
    nodes: list[Any] = []
    made: dict[str, list[Any]] = {}
    for node in list(graph.node):
        options = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        plain = node.op_type == "MatMul" or (
            node.op_type == "Gemm"
            and not options.get("transA")
            and options.get("alpha", 1) == 1 == options.get("beta", 1)
        )
        if not plain or node.input[1] not in arrays or len(arrays[node.input[1]].dims) != 2:
            nodes.append(node)
            continue
        name = node.input[1]
        outer = (0,) if options.get("transB") else (1,)
        found = grid(_rows(numpy_helper.to_array(arrays[name]), outer), bits, block)
        packed, scale, size = _packed(found, bits)
        made[name] = [
            numpy_helper.from_array(packed, f"{name}.packed"), numpy_helper.from_array(scale, f"{name}.scale"),
        ]  # fmt: skip
        biased = len(node.input) > 2
        product = f"{node.output[0]}.product" if biased else node.output[0]
        nodes.append(
            helper.make_node(
                "MatMulNBits", [node.input[0], f"{name}.packed", f"{name}.scale"], [product],
                domain="com.microsoft", K=found.width, N=len(found.whole), bits=bits, block_size=size, accuracy_level=4,
            )
        )  # fmt: skip
        if biased:
            nodes.append(helper.make_node("Add", [product, node.input[2]], [node.output[0]]))
    if not made:
        return None
    used = {name for node in nodes for name in node.input}
    kept = [each for each in graph.initializer if each.name in used]
    del graph.node[:]
    _replace(graph, nodes, [*kept, *(each for pair in made.values() for each in pair)])
    if not any(each.domain == "com.microsoft" for each in proto.opset_import):
        proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return _bytes(proto)


def _kernels(graph: Any) -> dict[str, tuple[int, ...]]:
    """Kernels in 32 bits, and which of their axes count what comes out: each of those has its own scale."""
    large = {each.name: each for each in graph.initializer if each.data_type == 1 and _items(each) >= FEW}
    found: dict[str, tuple[int, ...]] = {}
    for node in graph.node:
        for place in KERNELS.get(node.op_type, ()):
            if place >= len(node.input) or node.input[place] not in large:
                continue
            axes = len(large[node.input[place]].dims)
            if node.op_type in ("LSTM", "GRU", "RNN"):
                outer: tuple[int, ...] = (0, 1)
            elif node.op_type == "MatMul":
                outer = (*range(axes - 2), axes - 1)
            elif node.op_type == "Gemm":
                outer = (0,) if any(each.name == "transB" and each.i for each in node.attribute) else (1,)
            else:
                outer = (1,) if node.op_type == "ConvTranspose" else (0,)
            if axes >= 2:
                found[node.input[place]] = outer
    return found


def _items(each: Any) -> int:
    return math.prod(each.dims)


def _rows(array: Array, outer: tuple[int, ...]) -> Array:
    order = [*outer, *(axis for axis in range(array.ndim) if axis not in outer)]
    rows: Array = array.transpose(order).reshape(math.prod(array.shape[axis] for axis in outer), -1)
    return rows


def _whole(whole: Array, bits: int, name: str) -> Any:
    from onnx import TensorProto, numpy_helper

    if bits == 8:
        return numpy_helper.from_array(whole, name)
    flat = np.append(whole.ravel(), np.zeros(whole.size % 2, np.int8)).astype(np.uint8)
    pairs = (flat[0::2] & 15) | (flat[1::2] << 4)
    return TensorProto(name=name, data_type=TensorProto.INT4, dims=whole.shape, raw_data=pairs.tobytes())


def _packed(found: Grid, bits: int) -> tuple[Array, Array, int]:
    """As MatMulNBits wants it: blocks of a power of two, numbers without sign, two of 4 bits in a byte."""
    rows, blocks, size = found.whole.shape
    if size not in (16, 32, 64, 128, 256):
        rest = found.whole.reshape(rows, -1)[:, : found.width]
        wanted = next((each for each in (16, 32, 64) if each >= found.width), 128)
        whole = np.zeros((rows, -(-found.width // wanted) * wanted), np.int8)
        whole[:, : found.width] = rest
        blocks, size = whole.shape[1] // wanted, wanted
        scale = np.repeat(found.scale[:, :1, 0], blocks, axis=1)
    else:
        whole, scale = found.whole.reshape(rows, -1), found.scale[:, :, 0]
    flat = (whole.astype(np.int16) + (1 << (bits - 1))).astype(np.uint8).reshape(rows, blocks, size)
    packed: Array = flat if bits == 8 else flat[:, :, 0::2] | (flat[:, :, 1::2] << 4)
    return np.ascontiguousarray(packed), np.ascontiguousarray(scale, np.float32), size


def _replace(graph: Any, nodes: list[Any], initializers: list[Any]) -> None:
    """Put these nodes first and have these initializers alone."""
    rest = list(graph.node)
    del graph.node[:], graph.initializer[:]
    graph.node.extend([*nodes, *rest])
    graph.initializer.extend(initializers)


def _bytes(proto: Any) -> bytes:
    data: bytes = proto.SerializeToString()
    return data
