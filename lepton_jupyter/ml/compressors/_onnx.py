"""What compressors that end in ONNX Runtime have in common: the file to begin with, the fastest of several, a check.

Runs in the kernel that holds the model.
"""

from __future__ import annotations

import hashlib
import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ConfigError
from .. import frameworks
from .._quiet import quiet
from ..frameworks._base import Array
from ..frameworks.onnx import OnnxModel, onnxruntime
from ..measuring import latencies

#: Batches that decide which way is the fastest.
BATCHES = (1, 128)
#: Milliseconds that one way may be tried at each batch.
TRIAL = 300.0
#: The way that multiplies in 32 bits; and how much slower than it another may seem, for all measuring is rough.
SAFE, MARGIN = "stored", 1.05
#: Which way was the fastest, for each structure of a model: one model, compressed twice, comes out the same.
_fastest: dict[bytes, str] = {}


def exported(model: Any, inputs: Sequence[Array]) -> bytes:
    """The model in 32 bits as an ONNX file, its constants worked out. Raises ConfigError for what can't be exported."""
    framework = frameworks.of(model)
    if isinstance(model, OnnxModel):
        return settled(model.data)
    if framework.name != "torch":
        raise ConfigError(
            f"a model of {framework.name} does not become an ONNX file here",
            hint="For Keras models the compressors quantizing and litert make LiteRT files.",
        )
    onnxruntime()
    from ..frameworks._torch_onnx import to_onnx

    ready = framework.copy(model).eval()
    # Two examples even where there is one: an export with a batch of 1 could hold for that alone.
    examples = tuple(np.resize(part, (2, *part.shape[1:])) for part in inputs)
    return settled(to_onnx(ready, framework.tensors(ready, examples)))


def settled(data: bytes) -> bytes:
    """The same model with what depends on constants alone worked out, and dead ends gone."""
    import onnx

    from ..frameworks._torch_onnx import plain

    runtime = onnxruntime()
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder, quiet():
        options.optimized_model_filepath = str(Path(folder, "settled.onnx"))
        runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        proto = onnx.load(options.optimized_model_filepath)
    used = {node.domain for node in proto.graph.node}
    domains = [each for each in proto.opset_import if each.domain in used | {""}]
    del proto.opset_import[:]
    proto.opset_import.extend(domains)
    result: bytes = plain(proto).SerializeToString()
    return result


def fastest(ways: Mapping[str, Callable[[], bytes | None]], inputs: Sequence[Array], threads: int) -> bytes:
    """The file that answers soonest here, over BATCHES; a way that gives None is none.

    One that is called SAFE, which computes in 32 bits, is only left for what is slower at none of them. Measured once
    for each structure: the nodes and shapes of the first way.
    """
    first, *others = ways
    made = {first: _there(ways[first]())}
    if not others:
        return made[first]
    key = _structure(made[first], threads)
    if key in _fastest:
        return _there(ways[_fastest[key]]())
    made |= {name: data for name in others if (data := ways[name]()) is not None}
    times: dict[str, list[float]] = {name: [] for name in made}
    for batch in BATCHES:
        parts = [np.resize(part, (batch, *part.shape[1:])) for part in inputs]
        calls = {name: OnnxModel(data, threads).bound(*parts) for name, data in made.items()}
        began = time.perf_counter()
        for call in calls.values():
            call()
        once = 1000 * (time.perf_counter() - began) / len(calls)
        rounds = max(5, min(200, int(TRIAL / once)))
        for name, latency in latencies(calls, batch=batch, rounds=rounds, threads=threads).items():
            times[name].append(latency.low)
    safe = times.get(SAFE, [math.inf] * len(BATCHES))
    fit = [name for name in made if all(a <= MARGIN * b for a, b in zip(times[name], safe, strict=True))]
    _fastest[key] = min(fit, key=lambda name: math.prod(times[name]))
    return made[_fastest[key]]


def _there(data: bytes | None) -> bytes:
    assert data is not None, "the way that was fastest is one that there is"
    return data


def _structure(data: bytes, threads: int) -> bytes:
    import onnx

    graph = onnx.load_from_string(data).graph
    words = [
        threads,
        [(node.op_type, tuple(node.input), tuple(node.output)) for node in graph.node],
        [(each.name, tuple(each.dims), each.data_type) for each in graph.initializer],
    ]
    return hashlib.sha256(repr(words).encode()).digest()


def checked(data: bytes, model: Any, inputs: Sequence[Array], threads: int) -> OnnxModel:
    """Ready to answer. Raises ConfigError if it answers in another shape than the model, or not with finite numbers."""
    found = OnnxModel(data, threads)
    parts = [part[:2] for part in inputs]
    answer, wanted = found(*parts), frameworks.of(model).predict(model, parts)
    if answer.shape != wanted.shape or not np.isfinite(answer).all():
        raise ConfigError(
            f"the quantized model answers not with finite numbers in the shape {wanted.shape}, but {answer.shape}",
            hint="Calibrate with examples as the model will see them.",
        )
    return found


def threads_of(model: Any) -> int:
    """How many its framework uses now, or the ONNX model was told."""
    return model.threads if isinstance(model, OnnxModel) else frameworks.of(model).threads()
