"""Whole pipelines of PyTorch models against fp32 eager, and against what others make of the same weights by hand."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lepton_jupyter.ml import frameworks
from lepton_jupyter.ml._quiet import quiet
from lepton_jupyter.ml.compressors import Task
from lepton_jupyter.ml.compressors.quantizing import Quantizing
from lepton_jupyter.ml.compressors.structured import Structured
from lepton_jupyter.ml.frameworks.onnx import OnnxModel

from ._table import Row, in_turn
from .compress_data import Data
from .compress_nets import Convolutions, Trainer, Wide, trained
from .compress_openvino import NAME as OPENVINO
from .compress_openvino import OpenVino
from .compress_rows import GOALS, again, error, row, timed


def speeds(given: Data, quick: bool = False, peers: bool = True) -> list[Row]:
    """One thread each, all in turn, two calls a turn."""
    threads = torch.get_num_threads()
    given = given.few(20_000)
    rows: list[Row] = []
    for name, kind, keep in (("3 convolutions", Convolutions, 0.375), ("perceptron, 2 × 2048", Wide, 0.25)):
        torch.set_num_threads(threads)  # for training alone
        base = trained(kind, given, 1 if quick else 2, seed=0)
        rounds = 1 if quick else 3
        task = Task(
            train=Trainer(given, rounds, 1.5e-3, seed=1, teacher=base),
            data=(given.pictures.numpy(), given.digits.numpy()),
        )
        narrow = Structured(keep=keep, rounds=rounds, multiple=8).compress(base, task)
        torch.set_num_threads(1)
        models: dict[str, Any] = {"ours": Quantizing(threads=1).compress(narrow, task), "eager": base}
        whole = Quantizing(bits=32, threads=1).compress(base, task)
        samples = task.samples(512)[0]
        models["ORT int8"] = OnnxModel(static(whole.data, samples), 1)
        models |= torchao(base)
        pictures, digits = given.test_pictures.numpy(), given.test_digits.numpy()
        errors = {each: error(model, pictures, digits) for each, model in models.items()}
        runners = {each: frameworks.of(model).runner(model, "torchao" in each) for each, model in models.items()}
        runners["compiled"] = frameworks.of(base).runner(base, compiled=True)
        runners["ORT fp32"] = frameworks.of(whole).runner(whole)
        with OpenVino(whole.data, samples, pictures, digits, wanted=peers) as other:
            for batch, goal in GOALS.items():
                calls = {each: timed(prepare([pictures[:batch]])) for each, prepare in runners.items()}
                if not other.why:
                    errors[OPENVINO] = other.error
                    calls[OPENVINO] = lambda batch=batch: other.seconds(batch)
                calls = {each: again(measure) for each, measure in calls.items()}
                found = in_turn(calls, rounds=3 if quick else 31, warm_up=5)
                title = f"{name}, batch {batch}: narrowed + 8 bits in ONNX Runtime against fp32 eager, 1 thread"
                rows.append(row(title, goal, found, errors, quick, f"; {OPENVINO}: {other.why}" if other.why else ""))
    return rows


def static(data: bytes, samples: np.ndarray) -> bytes:
    """ONNX Runtime's static quantization, as its documentation has it for processors without VNNI."""
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):
        def __init__(self, name: str) -> None:
            self._rows: Iterator[dict[str, np.ndarray]] = ({name: part[None]} for part in samples)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._rows, None)

    with tempfile.TemporaryDirectory() as folder, quiet():
        before, ready, after = (Path(folder, f"{name}.onnx") for name in ("before", "ready", "after"))
        before.write_bytes(data)
        quant_pre_process(before, ready)
        activations = quantization.QuantType.QUInt8
        quantization.quantize_static(ready, after, Reader(_input(data)), activation_type=activations, reduce_range=True)
        return after.read_bytes()


def _input(data: bytes) -> str:
    import onnx

    return str(onnx.load_from_string(data).graph.input[0].name)


def torchao(base: nn.Module) -> dict[str, nn.Module]:
    """Its `quantize_`, to be compiled, as its documentation has it."""
    with quiet():
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig, quantize_

        ways = {
            "torchao int8 weights": Int8WeightOnlyConfig(),
            "torchao int8 dynamic": Int8DynamicActivationInt8WeightConfig(),
        }
        models = {name: frameworks.of(base).copy(base).eval() for name in ways}
        for name, config in ways.items():
            quantize_(models[name], config)
    return models
