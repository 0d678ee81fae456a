"""How many multiply-accumulates an ONNX model makes.

Runs in the kernel that holds the model. Shapes that depend on the input are asked of the model itself: what the nodes
that multiply take and give is made an output, and one example is run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ._base import Array

#: Gates of the recurrent layers.
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4, "DynamicQuantizeLSTM": 4}


def macs(data: bytes, inputs: Sequence[Array], runtime: Any) -> int:
    """Of convolutions, products of matrices and recurrent layers, for one example."""
    import onnx

    proto = onnx.load_from_string(data)
    graph = proto.graph
    nodes = [node for node in graph.node if _counts(node.op_type)]
    shapes = {each.name: tuple(each.dims) for each in graph.initializer}
    wanted = {name for node in nodes for name in (*node.input[:3], *node.output[:1]) if name and name not in shapes}
    given = [each.name for each in graph.input]
    del graph.output[:]
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(wanted - set(given)))
    if graph.output:
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = runtime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        feed = {name: part[:1] for name, part in zip(given, inputs, strict=True)}
        shapes |= {name: part.shape for name, part in feed.items()}
        names = [each.name for each in session.get_outputs()]
        shapes |= {name: value.shape for name, value in zip(names, session.run(names, feed), strict=True)}
    return sum(_macs(node, shapes) for node in nodes)


def _counts(kind: str) -> bool:
    return "Conv" in kind or "MatMul" in kind or kind == "Gemm" or kind in GATES


def _macs(node: Any, shapes: dict[str, tuple[int, ...]]) -> int:
    kind = node.op_type
    options: dict[str, int] = {each.name: each.i for each in node.attribute}
    if kind in GATES:
        (steps, batch, width), hidden = shapes[node.input[0]], options["hidden_size"]
        directions = shapes[node.input[1]][0]
        return steps * batch * directions * GATES[kind] * hidden * (width + hidden)
    given, made = shapes[node.input[0]], shapes[node.output[0]]
    # QLinearConv and QLinearMatMul have a scale and a zero beside each of their operands.
    other = shapes[node.input[3 if kind.startswith("QLinear") else 1]]
    if "Conv" in kind:
        return math.prod(given if "Transpose" in kind else made) * math.prod(other[1:])
    inner = given[0] if kind == "Gemm" and options.get("transA") else given[-1]
    return math.prod(made) * inner
