"""Keras models as .tflite files: frozen here, converted in a child process (`_converter`), which is kept for a while.

Runs in the kernel that holds the model. Starting TensorFlow takes longer than most conversions, so the child serves
several.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.resources
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

from ...errors import ConfigError
from ..frameworks._base import Array

#: Constants of so many bytes keep their name.
NAMED = 1024


def converted(model: Any, bits: int, inputs: Sequence[Array]) -> bytes:
    """The .tflite file, for batches of any size, of a model that takes such inputs.

    Recurrent layers are unrolled: LiteRT has no loop that Keras' would become. Raises ConfigError, naming what LiteRT
    can't do.
    """
    data, names, answers = _frozen(_unrolled(model), inputs)
    return _CHILD.ask(data, {"inputs": names, "outputs": answers, "bits": bits})


def _unrolled(model: Any) -> Any:
    import keras

    from ..frameworks._keras_copies import filled, remade

    recurrent = [each for each in model._flatten_layers() if isinstance(each, keras.layers.RNN) and not each.unroll]
    if not recurrent:
        return model

    def clone(layer: Any) -> Any:
        if isinstance(layer, keras.Model):
            return remade(layer, clone)
        return type(layer).from_config(_with_unroll(layer.get_config()))

    try:
        return filled(remade(model, clone), model)
    except (ConfigError, ValueError) as error:
        raise ConfigError(
            f"LiteRT needs to know how many steps the layer {recurrent[0].name!r} takes: {error}",
            hint="Make the model with a fixed length, keras.Input((steps, width)), by keras.Model(inputs, outputs).",
        ) from error


def _with_unroll(config: Any) -> Any:
    """The configuration of a layer, and of those in it."""
    if isinstance(config, dict):
        return {name: True if name == "unroll" else _with_unroll(value) for name, value in config.items()}
    return [_with_unroll(each) for each in config] if isinstance(config, list) else config


def _frozen(model: Any, inputs: Sequence[Array]) -> tuple[bytes, list[str], list[str]]:
    """The model's graph with its weights as constants, and the names of its inputs and answers."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    from ..frameworks._keras_backend import tf
    from ..frameworks._keras_steps import given

    specs = [
        tf.TensorSpec((None, *part.shape[1:]), tf.as_dtype(part.dtype), name=f"input_{place}")
        for place, part in enumerate(inputs)
    ]
    try:
        traced = tf.function(lambda *parts: model(given(model, parts), training=False)).get_concrete_function(*specs)
    except Exception as error:  # the model's own code
        raise ConfigError(
            f"the model can't be traced: {type(error).__name__}: {error}",
            hint="An if or a loop over values in call() is the usual reason: write it with keras.ops.",
        ) from error
    frozen = convert_variables_to_constants_v2(traced)
    graph = frozen.graph.as_graph_def()
    short = _shortened(graph, [each.op.name for each in frozen.inputs])
    names, answers = (
        [f"{short[each.op.name]}:{each.value_index}" for each in side] for side in (frozen.inputs, frozen.outputs)
    )
    return graph.SerializeToString(), names, answers


def _shortened(graph: Any, kept: Sequence[str]) -> dict[str, str]:
    """Give operations short names, since a file stores the names of all: for small models, more than their weights.

    Weights are named after their layer.
    """
    short = {name: name for name in kept}
    for place, node in enumerate(graph.node):
        if node.op == "Const" and node.attr["value"].tensor.ByteSize() >= NAMED:
            short.setdefault(node.name, f"{place}/{node.name}")
        else:
            short.setdefault(node.name, f"n{place}")
    for node in graph.node:
        node.name = short[node.name]
        for place, given in enumerate(node.input):
            name, colon, output = given.removeprefix("^").partition(":")
            node.input[place] = f"{'^' if given.startswith('^') else ''}{short[name]}{colon}{output}"
    return short


class _Child:
    """The process, started when it is first asked, and again when it has gone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, data: bytes, request: dict[str, Any]) -> bytes:
        """The file. Raises ConfigError for what can't be converted, and when the child dies over it."""
        with self._lock:
            for _ in range(2):  # a child that has served its time may go just now
                process = self._running()
                try:
                    reply, found = _exchange(process, data, request)
                    break
                except (BrokenPipeError, EOFError):
                    self._end()
                except BaseException:  # interrupted in the middle of a reply
                    self._end()
                    raise
            else:
                raise ConfigError(
                    "TensorFlow's converter ended without an answer", hint="Is there enough memory for the model twice?"
                )
        if reply["error"]:
            raise _refused(reply["error"])
        return found

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            source = importlib.resources.files(__package__).joinpath("_converter.py").read_text("utf-8")
            self._process = subprocess.Popen(
                [sys.executable, "-c", source],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C is for the notebook
                env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"},
            )
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(BrokenPipeError):
                stream.close()  # type: ignore[union-attr]
        process.wait()

    def close(self) -> None:
        """End it, if it runs."""
        with self._lock:
            self._end()


def _exchange(process: subprocess.Popen[bytes], data: bytes, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(request | {"size": len(data)}).encode() + b"\n" + data)
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise EOFError
    reply = json.loads(line)
    found = process.stdout.read(reply["size"])
    if len(found) != reply["size"]:
        raise EOFError
    return reply, found


def _refused(words: str) -> ConfigError:
    """By the name of the operation, if the converter gives one."""
    names = sorted({name for name in re.findall(r"'tf\.(\w+)'", words) if name != "Const"})
    what = f"the operation {', '.join(names)}" if names else words.strip().splitlines()[0]
    return ConfigError(
        f"LiteRT can't do what the model does: {what}",
        hint="Write that part of the model with other layers, or leave it out and do it before or after the model.",
    )


_CHILD = _Child()
atexit.register(_CHILD.close)
