"""Each format that exporting knows: how a model becomes its file, and how that file answers.

Runs in the kernel that holds the model. What is loaded is loaded from the file alone, with its runtime's own reader;
safetensors holds arrays without the code, so they are put into a copy of the model that has lost its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, MissingDependency
from . import frameworks
from ._quiet import quiet
from .compressors import Task
from .frameworks._base import Array
from .frameworks.onnx import OnnxModel


@dataclass(frozen=True)
class Loaded:
    """A model that came out of a file: its answer, and what answers the same inputs again and again, to be timed."""

    answer: Callable[[Sequence[Array]], Array]
    runner: Callable[[Sequence[Array]], Callable[[], Any]]


def _of(model: Any) -> Loaded:
    framework = frameworks.of(model)
    return Loaded(lambda inputs: framework.predict(model, inputs), framework.runner(model))


def torch_onnx(model: Any, path: Path, inputs: Sequence[Array]) -> Loaded:
    from .frameworks._torch_onnx import to_onnx

    ready, examples = _ready(model, inputs)
    path.write_bytes(to_onnx(ready, examples))
    return _onnx(path, frameworks.of(model).threads())


def onnx_onnx(model: OnnxModel, path: Path, inputs: Sequence[Array]) -> Loaded:
    model.save(path)
    return _onnx(path, model.threads)


def _onnx(path: Path, threads: int) -> Loaded:
    try:
        return _of(OnnxModel(path.read_bytes(), threads))
    except Exception as error:  # ONNX Runtime has errors of its own for each thing it has not
        raise ConfigError(
            f"ONNX Runtime can't run what was exported: {error}", hint="Another format may be able to: pt2 for example."
        ) from error


def torch_pt2(model: Any, path: Path, inputs: Sequence[Array]) -> Loaded:
    """An ExportedProgram. It stores the examples that it is traced with, so they are two, and have memory of their own;
    so have the parameters, for one that is a part of something larger would bring all of that along."""
    import torch

    from .frameworks._torch_onnx import at_line

    ready, examples = _ready(model, inputs)
    with torch.no_grad():
        for each in (*ready.parameters(), *ready.buffers()):
            each.data = each.data.clone()
    batch = torch.export.Dim("batch", min=1)
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(ready, examples, dynamic_shapes=tuple({0: batch} for _ in examples))
            for node in program.graph.nodes:
                node.meta.pop("stack_trace", None)  # lines of the user's files
            torch.export.save(program, path)
            loaded = torch.export.load(path).module()
    except Exception as error:  # torch.export runs the model's own code
        raise ConfigError(
            f"the model can't be exported to PT2: {at_line(error)}",
            hint="An if or a loop over values is the usual reason: write it with torch.where.",
        ) from error
    torch_framework = frameworks.of(model)

    def answer(given: Sequence[Array]) -> Array:
        with torch.inference_mode():
            found: Array = loaded(*torch_framework.tensors(ready, given)).float().cpu().numpy()
        return found

    def runner(given: Sequence[Array]) -> Callable[[], Any]:
        tensors = torch_framework.tensors(ready, given)

        def run() -> Any:
            with torch.inference_mode():
                made = loaded(*tensors)
            if made.is_cuda:
                torch.cuda.synchronize()
            return made

        return run

    return Loaded(answer, runner)


def torch_safetensors(model: Any, path: Path, inputs: Sequence[Array]) -> Loaded:
    safetensors = _safetensors("torch")
    framework = frameworks.of(model)
    again = framework.copy(model)
    try:
        safetensors.save_model(again, str(path))
    except (AttributeError, NotImplementedError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"safetensors can't hold this model: {error}", hint="It knows plain tensors only; pack it, or use pt2."
        ) from error
    _empty(again)
    safetensors.load_model(again, str(path))
    return _of(again)


def keras_safetensors(model: Any, path: Path, inputs: Sequence[Array]) -> Loaded:
    safetensors = _safetensors("numpy")
    framework = frameworks.of(model)
    safetensors.save_file(
        {name: np.ascontiguousarray(each) for name, each in framework.state(model).items()}, str(path)
    )
    again = framework.copy(model)
    framework.restore(again, {name: np.zeros_like(each) for name, each in framework.state(again).items()})
    # Keras may number a copy's layers on; the order is the same.
    framework.restore(again, dict(zip(framework.state(again), _ordered(safetensors, path, model), strict=True)))
    return _of(again)


def _ordered(safetensors: Any, path: Path, model: Any) -> list[Array]:
    arrays = safetensors.load_file(str(path))
    return [arrays[name] for name in frameworks.of(model).state(model)]


def keras_keras(model: Any, path: Path, inputs: Sequence[Array]) -> Loaded:
    """Without the optimizer, whose slots are twice the model's size."""
    import keras

    bare = frameworks.of(model).copy(model)
    bare.optimizer, bare.compiled = None, False
    with quiet():
        bare.save(path)
        try:
            return _of(keras.saving.load_model(path, compile=False))
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"Keras can't load what it saved: {str(error).strip().splitlines()[0]}",
                hint="Classes of your own need @keras.saving.register_keras_serializable() and get_config().",
            ) from error


def keras_litert(model: Any, path: Path, inputs: Sequence[Array]) -> Loaded:
    from .compressors.litert import LiteRT
    from .frameworks.litert import LiteRtModel

    framework = frameworks.of(model)
    task = Task(data=(*inputs, np.zeros(len(inputs[0]))))
    LiteRT(bits=32).compress(model, task).save(path)
    return _of(LiteRtModel(path.read_bytes(), framework.threads()))


def litert_litert(model: Any, path: Path, inputs: Sequence[Array]) -> Loaded:
    from .frameworks.litert import LiteRtModel

    model.save(path)
    return _of(LiteRtModel(path.read_bytes(), model.threads))


def _ready(model: Any, inputs: Sequence[Array]) -> tuple[Any, tuple[Any, ...]]:
    """A copy in the mode in which it answers, and two examples with memory of their own."""
    if getattr(model, "stays_in_process", False):
        raise ConfigError(
            "a model that was compiled for this process has no file of its own",
            hint="Export the model before it was compiled, or quantize with Quantizing and export that.",
        )
    framework = frameworks.of(model)
    ready = framework.copy(model).eval()
    examples = framework.tensors(ready, [np.resize(part, (2, *part.shape[1:])) for part in inputs])
    return ready, tuple(each.clone() for each in examples)


def _empty(model: Any) -> None:
    import torch

    with torch.no_grad():
        for each in (*model.parameters(), *model.buffers()):
            each.zero_()


def _safetensors(kind: str) -> Any:
    import importlib

    try:
        return importlib.import_module(f"safetensors.{kind}")
    except ModuleNotFoundError:
        raise MissingDependency(
            "this needs the package 'safetensors', which is not installed here",
            hint='Install it: pip install "lepton-jupyter[compress]"',
        ) from None
