"""Fewer bits, for models of each kind that learned real digits: smaller files that answer the same, and no slower."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from lepton_jupyter.errors import ConfigError
from lepton_jupyter.ml import frameworks
from lepton_jupyter.ml.compressors import Task
from lepton_jupyter.ml.compressors._stored import grid, multiplied, stored
from lepton_jupyter.ml.compressors.dynamic import Dynamic
from lepton_jupyter.ml.compressors.half import Half
from lepton_jupyter.ml.compressors.quantizing import Quantizing
from lepton_jupyter.ml.compressors.weight_only import WeightOnly, on_gpu
from lepton_jupyter.ml.frameworks.onnx import OnnxModel
from lepton_jupyter.ml.measuring import latencies

from .digits import DIGITS, PICTURES, TEST, TRAIN, right, task

TESTED = PICTURES[TEST]

#: Exporting takes longest: each kind of model is exported once.
_plain: dict[int, OnnxModel] = {}


def plain(model: nn.Module) -> OnnxModel:
    """In ONNX Runtime, in 32 bits."""
    if id(model) not in _plain:  # the models are kept for all tests
        _plain[id(model)] = Quantizing(bits=32, threads=1).compress(model, task())
    return _plain[id(model)]


def dense(model: nn.Module) -> int:
    return sum(4 * parameter.numel() for parameter in model.parameters())


def answer(model: Any) -> np.ndarray[Any, Any]:
    return frameworks.of(model).predict(model, (TESTED,))


def kinds(model: OnnxModel) -> set[str]:
    return {node.op_type for node in onnx.load_from_string(model.data).graph.node}


def test_every_kind_of_model_in_eight_bits(model: nn.Module) -> None:
    """The arithmetic that is measured to be the fastest; kernels are in 8 bits whichever it is."""
    small = Quantizing(samples=256).compress(model, task())
    assert right(small).mean() > right(model).mean() - 0.02
    assert len(small.data) < 0.55 * dense(model)
    graph = onnx.load_from_string(small.data).graph
    assert not [each.name for each in graph.initializer if each.data_type == 1 and np.prod(each.dims) >= 1000]
    assert small(PICTURES[:1]).shape == (1, 10)
    assert small(PICTURES[:37]).shape == (37, 10)
    one, many = (frameworks.of(small).macs(small, (PICTURES[:batch],)) for batch in (1, 9))
    assert one == many == frameworks.of(model).macs(model, (PICTURES,))


def test_a_quantized_model_is_not_slower_than_its_runtime_in_32_bits(cnn: nn.Module) -> None:
    """Narrow convolutions are, in 8-bit arithmetic without VNNI: what is taken must not be."""
    fast = Quantizing().compress(plain(cnn), task())
    for batch in (1, 128):
        calls = {name: each.bound(PICTURES[:batch]) for name, each in {"fast": fast, "plain": plain(cnn)}.items()}
        found = latencies(calls, batch=batch, rounds=51)
        assert found["fast"].low < 1.3 * found["plain"].low  # room for a busy machine


def test_one_model_compressed_twice_is_one_file(mlp: nn.Module) -> None:
    first, second = (Quantizing().compress(plain(mlp), task()) for _ in range(2))
    assert first.data == second.data


def test_eight_bit_arithmetic_can_be_asked_for(cnn: nn.Module) -> None:
    small = Quantizing(arithmetic="int8").compress(plain(cnn), task())
    assert {"QuantizeLinear", "Conv"} <= kinds(small)
    assert right(small).mean() > right(cnn).mean() - 0.02


@pytest.mark.parametrize(("bits", "share"), [(16, 0.7), (8, 0.52), (4, 0.4)])
def test_weights_of_every_kind_of_model(bits: int, share: float, model: nn.Module) -> None:
    small = WeightOnly(bits=bits).compress(plain(model), task())
    assert right(small).mean() > right(model).mean() - (0.03 if bits == 4 else 0.01)
    assert len(small.data) < share * dense(model)


def test_stored_kernels_cost_nothing_once_loaded(model: nn.Module, tmp_path: Any) -> None:
    """The runtime works them out when it loads the file: what it runs is what it runs in 32 bits."""
    import onnxruntime

    before = plain(model).data
    found = []
    for data in (before, stored(before, 8), stored(before, 4, 64), stored(before, 16)):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.optimized_model_filepath = str(tmp_path / "seen.onnx")
        onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        found.append(sorted(node.op_type for node in onnx.load(tmp_path / "seen.onnx").graph.node))
    assert found[0] == found[1] == found[2] == found[3]


@pytest.mark.parametrize("bits", [8, 4])
def test_products_from_whole_numbers_are_those_of_the_stored_kernels(bits: int, mlp: nn.Module) -> None:
    """Two ways to the same kernels; one also rounds what it multiplies them with to 8 bits."""
    before = plain(mlp).data
    data = multiplied(before, bits, 64)
    assert data is not None
    a, b = OnnxModel(data), OnnxModel(stored(before, bits, 64))
    assert "MatMulNBits" in kinds(a)
    assert np.abs(a(TESTED) - b(TESTED)).max() < 0.02 * np.abs(b(TESTED)).max()


def test_a_grid_is_the_nearest() -> None:
    rows = np.array([[0.1, -0.4, 0.7, 0.0, 0.2], [0, 0, 0, 0, 0]], np.float32)
    found = grid(rows, 4, 4)
    assert found.whole.shape == (2, 2, 4)
    assert found.values == pytest.approx(rows, abs=1e-6)
    assert not found.values[1].any()
    again = grid(found.values, 4, 4)
    assert np.array_equal(again.values, found.values)


def test_dynamic_ranges_for_every_kind_of_model(model: nn.Module) -> None:
    """Convolutions stay in 32 bits: dynamic ones are slower than that. Their kernels are stored in 8."""
    small = Dynamic(arithmetic="int8").compress(plain(model), task())
    assert right(small).mean() > right(model).mean() - 0.02
    assert len(small.data) < 0.6 * dense(model)
    assert "ConvInteger" not in kinds(small)
    assert kinds(small) & {"MatMulInteger", "DynamicQuantizeLSTM"}


class Convolving(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 16, 3), nn.Conv2d(16, 10, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(torch.relu(self.a(x[:, None]))).amax((2, 3))


def test_dynamic_ranges_for_convolutions_alone_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"(?s)convolutions only.*Quantizing"):
        Dynamic().compress(Convolving(), task())


@pytest.mark.parametrize("kind", ["bf16", "fp16"])
def test_half_precision_for_every_kind_of_model(kind: Any, model: nn.Module) -> None:
    small = Half(kind=kind).compress(model, task())
    assert right(small).mean() > right(model).mean() - 0.01
    state = frameworks.of(small).state(small)
    assert sum(each.nbytes for each in state.values()) < 0.51 * sum(
        each.nbytes for each in frameworks.of(model).state(model).values()
    )
    given = torch.tensor(PICTURES[:3])
    assert small(given).dtype == given.dtype == torch.float32
    assert copy.deepcopy(small)(given).dtype == torch.float32
    assert Half(kind=kind).compress(small, task())(given).dtype == torch.float32


def test_what_is_too_large_for_half_precision_is_refused(mlp: nn.Module) -> None:
    large = copy.deepcopy(mlp)
    with torch.no_grad():
        large.a.bias[0] = 1e6
    with pytest.raises(ConfigError, match="bf16"):
        Half(kind="fp16").compress(large, task())


class Strange(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(x), 64) @ self.a.weight.T + self.a(x.flatten(1))


def test_numbers_of_the_models_own_that_are_no_halves_are_named() -> None:
    with pytest.raises(ConfigError, match=r"dtype=x\.dtype"):
        Half().compress(Strange(), task())


def test_an_onnx_model_can_be_made_smaller_too(mlp: nn.Module) -> None:
    for compressor in (WeightOnly(bits=4), Quantizing(), Dynamic()):
        small = compressor.compress(plain(mlp), task())
        assert len(small.data) < 0.5 * len(plain(mlp).data)
        assert right(small).mean() > right(mlp).mean() - 0.03


def test_the_file_says_nothing_of_the_users_files(transformer: nn.Module) -> None:
    assert b"digits.py" not in plain(transformer).data
    assert b"forward" not in plain(transformer).data


def test_torchaos_weights_are_seen_as_what_they_are(mlp: nn.Module) -> None:
    """What a GPU gets. Its 8 bits answer on a CPU too, if slowly: the state is theirs, and comes back."""
    small = on_gpu(mlp, 8, 64)
    framework = frameworks.of(small)
    assert right(small).mean() > right(mlp).mean() - 0.02
    state = framework.state(small)
    assert sum(each.nbytes for each in state.values()) < 0.35 * dense(mlp)
    again = on_gpu(type(mlp)(), 8, 64)
    framework.restore(again, state)
    assert np.array_equal(answer(again), answer(small))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda model: on_gpu(model, 16, 64), "Half"),
        (lambda model: on_gpu(Convolving(), 8, 64), "no Linear"),
        (lambda model: WeightOnly(bits=3), "Sharing"),
        (lambda model: WeightOnly(bits=4, block=48), "power of two"),
        (lambda model: Quantizing(bits=4), "WeightOnly"),
        (lambda model: Quantizing(arithmetic="int4"), "fastest"),
        (lambda model: Quantizing(samples=0), "at least 1"),
        (lambda model: Dynamic(arithmetic="fp8"), "fastest"),
        (lambda model: Half(kind="fp8"), "bf16"),
        (lambda model: WeightOnly().compress(model, Task()), "data="),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_refused(call: Callable[[Any], Any], words: str, mlp: nn.Module) -> None:
    with pytest.raises(ConfigError, match=words):
        call(mlp)


def test_macs_are_those_one_counts_by_hand(
    mlp: nn.Module, cnn: nn.Module, lstm: nn.Module, transformer: nn.Module
) -> None:
    attention = 8 * 32 * 96 + 2 * 4 * 8 * 8 * 8 + 8 * 32 * 32
    by_hand = {
        mlp: 64 * 100 + 100 * 60 + 60 * 10,
        cnn: 64 * 24 * 9 + 16 * 24 * 24 * 9 + 96 * 10,
        lstm: 8 * 4 * 48 * (8 + 48) + 48 * 10,
        transformer: 8 * 8 * 32 + attention + 2 * 8 * 32 * 64 + 32 * 10,
    }
    for model, count in by_hand.items():
        assert frameworks.of(model).macs(model, (PICTURES[TRAIN], DIGITS[TRAIN])[:1]) == count
