"""What compressing gives back, on its way: models with other widths than their class makes, ONNX models, the report."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from lepton_jupyter.data import values
from lepton_jupyter.data.values import Malformed
from lepton_jupyter.errors import ValueRefused
from lepton_jupyter.ml.compressors.structured import Structured
from lepton_jupyter.ml.frameworks.onnx import OnnxModel
from lepton_jupyter.ml.measuring import Latency, Layer, Metric, Sizes
from lepton_jupyter.ml.report import CompressionReport, Figures
from tests.ml.digits import CNN, MLP, PICTURES, Transformer, task
from tests.unit.values._road import Road


def onnx_file(external: bool = False, nested: bool = False) -> bytes:
    """A model that doubles; with its factor in another file, if asked for, perhaps deep within."""
    factor = numpy_helper.from_array(np.full(3, 2, np.float32), "factor")
    if external:
        factor.ClearField("raw_data")
        factor.data_location = TensorProto.EXTERNAL
        factor.external_data.add(key="location", value="/etc/hostname")
    value = helper.make_tensor_value_info
    constant = [helper.make_node("Constant", [], ["factor"], value=factor)] if nested else []
    graph = helper.make_graph(
        [*constant, helper.make_node("Mul", ["x", "factor"], ["y"])], "g",
        [value("x", TensorProto.FLOAT, ["n", 3])], [value("y", TensorProto.FLOAT, ["n", 3])],
        [] if nested else [factor],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def report(model: Any) -> CompressionReport:
    sizes = Sizes(parameters=10, nonzero=4, memory=40, disk=50, zipped=30, packed=9)
    latency = Latency(batch=1, median=0.5, low=0.4, high=0.6, rounds=3, warm_up=1, threads=1)
    rows = [
        Figures(name=name, sizes=sizes, metric=Metric(value=0.9, low=0.8, high=0.95, samples=100), latencies=(latency,),
                layers=(Layer(name="a", shape=(2, 5), nonzero=4, values=3),))
        for name in ("before", "after")
    ]  # fmt: skip
    return CompressionReport(model=model, rows=rows, steps=["Pruning"], seconds=1.5, notes=["A note."])


@pytest.mark.parametrize("host", [True, False])
@pytest.mark.parametrize("kind", [MLP, CNN, Transformer])
def test_a_module_whose_layers_were_narrowed_answers_the_same_there(
    kind: type[nn.Module], host: bool, road: Road
) -> None:
    torch.manual_seed(0)
    small = Structured(keep=0.5, rounds=0).compress(kind().eval(), task())
    back = road.send(small, host)
    shapes = {name: tuple(value.shape) for name, value in kind().state_dict().items()}
    assert {name: tuple(value.shape) for name, value in back.state_dict().items()} != shapes
    pictures = torch.from_numpy(PICTURES[:32])
    with torch.inference_mode():
        assert torch.equal(back(pictures), small(pictures))
    loss = nn.functional.cross_entropy(back.train()(pictures), torch.zeros(32, dtype=torch.long))
    loss.backward()  # it can be trained on
    assert all(parameter.grad.shape == parameter.shape for parameter in back.parameters() if parameter.grad is not None)


@pytest.mark.parametrize("host", [True, False])
def test_an_onnx_model_is_the_same_bytes_and_answers(host: bool, road: Road) -> None:
    model = OnnxModel(onnx_file())
    encoded = road.encode(model)
    assert encoded.words == "ONNX model"
    back = road.receive(encoded.doc, host)
    assert back.data == model.data
    assert back(np.ones((2, 3), np.float32)).tolist() == [[2, 2, 2]] * 2


@pytest.mark.parametrize("nested", [True, False])
def test_an_onnx_model_that_reads_files_of_this_machine_is_not_opened(nested: bool, road: Road) -> None:
    leaf = values.encode(onnx_file(external=True, nested=nested), road.store, name="data").doc["nodes"][-1][-1]
    with pytest.raises(Malformed, match="other files"):
        road.receive(road.document(["lepton_jupyter.onnx", leaf]))


def test_a_report_comes_back_with_its_figures_and_its_model(road: Road) -> None:
    sent = report(OnnxModel(onnx_file()))
    back = road.send(sent)
    assert isinstance(back, CompressionReport)
    assert str(back) == str(sent)
    assert dataclasses.replace(back, model=None) == dataclasses.replace(sent, model=None)
    assert back.model.data == sent.model.data


def test_a_report_opens_in_a_kernel_that_has_compressed_nothing(road: Road) -> None:
    document = road.encode(report(None)).doc
    code = (
        "import json, sys\nfrom lepton_jupyter.blobs import BlobStore\nfrom lepton_jupyter.data import values\n"
        "trust = values.Trust.notebook({})\n"
        f"print(values.decode(json.load(sys.stdin), BlobStore({str(road.store.folder)!r}), trust=trust))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], input=json.dumps(document), capture_output=True, text=True,
                          timeout=60, check=True)  # fmt: skip
    assert done.stdout == f"{report(None)}\n"


@pytest.mark.parametrize(
    ("module", "name"),
    [("os", "system"), ("lepton_jupyter.ml.report", "_html"), ("lepton_jupyter.ml.report", "Sequence"),
     ("lepton_jupyter.ml.nothing", "Nothing"), ("lepton_jupyter.cli", "main")],
)  # fmt: skip
def test_a_host_can_name_only_figures_of_ours(module: str, name: str, road: Road) -> None:
    with pytest.raises(ValueRefused):
        road.receive(road.document(["lepton_jupyter.ml", module, name, [], []]))


@pytest.mark.parametrize("tag", ["lepton_jupyter.onnx", "lepton_jupyter.litert"])
def test_bytes_that_are_no_model_are_malformed(tag: str, road: Road) -> None:
    leaf = values.encode(b"x" * 100, road.store, name="data").doc["nodes"][-1][-1]
    with pytest.raises(Malformed):
        road.receive(road.document([tag, leaf]))
