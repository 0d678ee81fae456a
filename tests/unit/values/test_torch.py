"""Tensors, modules and data sets of PyTorch: every dtype and layout, shared memory, weights as safetensors."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F  # noqa: N812 - as everyone writes it
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lepton_jupyter.data import values
from lepton_jupyter.data.values import Malformed, UnknownClass, Untransferable
from lepton_jupyter.data.values import safetensors as ours
from lepton_jupyter.errors import LeptonError
from tests.unit.values._road import Road


def _raw(tensor: Any) -> Any:
    flat = tensor.detach().to_dense().resolve_conj().clone(memory_format=torch.contiguous_format).reshape(-1)
    return flat.clone().as_strided((flat.numel(),), (1,)).view(torch.uint8).numpy()


def same(one: Any, other: Any) -> None:
    """Two tensors are the same in everything but where they lie."""
    assert type(one) is type(other)
    assert (one.dtype, one.shape, one.layout) == (other.dtype, other.shape, other.layout)
    assert one.requires_grad == other.requires_grad
    if one.layout == torch.strided:
        assert one.stride() == other.stride()
    if one.device.type != "meta":
        assert bytes(_raw(one)) == bytes(_raw(other))


def _each_dtype() -> list[torch.Tensor]:
    names = ("bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64", "float16", "bfloat16",
             "float32", "float64", "complex64", "complex128", "float8_e4m3fn", "float8_e5m2")  # fmt: skip
    return [torch.arange(6).reshape(2, 3).to(getattr(torch, name)) for name in names]


@pytest.mark.parametrize("host", [True, False])
@pytest.mark.parametrize(
    "tensor",
    [
        *_each_dtype(),
        torch.randn(3, 4).t(), torch.arange(10)[::2], torch.tensor(3.5), torch.zeros(0, 4), torch.zeros(2, 0, 3),
        torch.randn(100, 100, requires_grad=True), nn.Parameter(torch.ones(2), requires_grad=False),
        nn.Buffer(torch.ones(2)),
        torch.randn(2, dtype=torch.complex64).conj(), torch.empty(2, 3, device="meta"),
        torch.ones(1).expand(1000, 1000),
        torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last), torch.tensor([float("nan"), -0.0]),
        torch.eye(3).to_sparse(),
    ],
    ids=lambda value: str(value) if isinstance(value, bool) else f"{value.dtype}-{tuple(value.shape)}",
)  # fmt: skip
def test_what_arrives_is_what_was_sent(road: Road, tensor: Any, host: bool) -> None:
    same(road.send(tensor, host), tensor)
    assert values.describe(tensor)
    assert values.preview(tensor)


@pytest.mark.filterwarnings("ignore:Sparse")
def test_compressed_tensors(road: Road) -> None:
    same(road.send(torch.eye(4).to_sparse_csr()), torch.eye(4).to_sparse_csr())
    same(road.send(torch.eye(4).to_sparse_bsc((2, 2))), torch.eye(4).to_sparse_bsc((2, 2)))


def test_views_share_their_memory_again(road: Road) -> None:
    base = torch.randn(100, 100)
    rows, columns, whole = road.send([base[:2], base[1:3, ::2], {"base": base}])
    whole["base"][1, 0] = 7
    assert rows[1, 0] == columns[0, 0] == 7
    assert base[1, 0] != 7


def test_only_the_memory_in_use_travels(road: Road) -> None:
    base = torch.randn(1000, 1000)
    assert road.encode(base[500:502]).size < 9000
    assert road.encode([base[500:502], base.t()]).size < 4_001_000
    same(road.send(base[500:502, 3::7]), base[500:502, 3::7])


@given(st.data())
def test_any_view_arrives(road: Road, data: st.DataObject) -> None:
    base = torch.arange(500).to(
        data.draw(st.sampled_from([torch.uint8, torch.bfloat16, torch.float64, torch.complex128]))
    )
    sizes = data.draw(st.lists(st.integers(1, 4), max_size=3))
    strides = data.draw(st.lists(st.integers(0, 40), min_size=len(sizes), max_size=len(sizes)))
    view = torch.as_strided(base, sizes, strides, data.draw(st.integers(0, 100)))
    same(road.send(view), view)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.BatchNorm1d(20), nn.Dropout(0.1))
        self.recurrent = nn.LSTM(20, 8, batch_first=True)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.tied = self.body[0]
        self.act, self.tanh = F.gelu, torch.tanh
        self.settings = {"depth": 2}
        self.register_buffer("mask", torch.ones(3), persistent=False)

    def forward(self, x: torch.Tensor) -> Any:
        return self.tanh(self.act(self.encoder(self.recurrent(self.body(x)[None])[0])))


@pytest.mark.parametrize("host", [True, False])
def test_a_module(road: Road, host: bool) -> None:
    net = Net().eval()
    found = road.send(net, host)
    x = torch.randn(4, 10)
    assert torch.equal(net(x), found(x))
    assert found.tied is found.body[0]
    assert (found.training, found.settings) == (False, {"depth": 2})
    assert [n for n, _ in found.named_parameters()] == [n for n, _ in net.named_parameters()]
    found.train()
    found(x).sum().backward()
    assert found.body[0].weight.grad is not None
    assert values.describe(net) == "Net of 1,820 parameters"
    assert road.encode(net).digests == road.encode(net).digests


def test_a_state_dict_and_that_of_an_optimizer(road: Road) -> None:
    net = Net()
    found = road.send(net.state_dict())
    assert found._metadata == net.state_dict()._metadata
    Net().load_state_dict(found)
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.randn(4, 10)).sum().backward()
    optimizer.step()
    torch.optim.Adam(net.parameters()).load_state_dict(road.send(optimizer.state_dict()))


def test_data_sets_and_loaders(road: Road) -> None:
    data = torch.utils.data.TensorDataset(torch.arange(10))
    assert [len(x) for (x,) in road.send(torch.utils.data.DataLoader(data, batch_size=3, shuffle=True))] == [3, 3, 3, 1]
    assert road.send(torch.utils.data.Subset(data, [3]))[0] == (torch.tensor(3),)


def test_small_things(road: Road) -> None:
    sent = [torch.float32, torch.Size([1, 2]), torch.device("cpu"), torch.channels_last, torch.strided]
    assert road.send(sent) == sent
    assert type(road.send(torch.Size([1]))) is torch.Size
    found = road.send(torch.max(torch.eye(2), 0))
    assert type(found) is torch.return_types.max
    generator = torch.Generator().manual_seed(3)
    same(torch.rand(2, generator=road.send(generator)), torch.rand(2, generator=generator))


def test_an_exported_program_needs_no_class_but_a_hosts_is_not_opened(road: Road) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(nn.Linear(2, 3), (torch.ones(1, 2),))
        sent = road.encode(program)
        found = road.receive(sent.doc, host=True)
        assert torch.equal(found.module()(torch.ones(1, 2)), program.module()(torch.ones(1, 2)))
    with pytest.raises(Untransferable, match="not opened"):
        road.receive(sent.doc)


def test_what_has_no_form_is_refused_with_choices(road: Road) -> None:
    net = nn.Linear(2, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        refused = {
            "optimizer.state_dict": torch.optim.SGD(net.parameters(), 0.1),
            "_orig_mod": torch.compile(net),
            "model.module": nn.DataParallel(net),
            "dequantize": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
            "to_padded_tensor": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
            "state_dict": torch.fx.symbolic_trace(net),
        }
    for words, value in refused.items():
        with pytest.raises(Untransferable) as caught:
            road.encode(value)
        assert words in caught.value.hint


# the safetensors format


def test_the_reference_library_reads_what_we_write(road: Road) -> None:
    for tensor in (torch.randn(2000), torch.ones(3000, dtype=torch.bfloat16), torch.ones(9000, dtype=torch.bool)):
        (digest,) = road.encode(tensor).digests
        with safetensors.safe_open(road.store.path(digest), "pt") as file:
            assert list(file.keys()) == ["memory"]
            assert torch.equal(file.get_tensor("memory"), tensor)


def test_we_read_what_the_reference_library_writes() -> None:
    tensors = {
        "a": torch.randn(3, 4),
        "ü": torch.ones(5, dtype=torch.float16),
        "empty": torch.zeros(0, 2),
        "n": torch.tensor(1),
    }
    file = safetensors.torch.save(tensors, metadata={"by": "test"})
    found = ours.read(file)
    assert set(found) == set(tensors)
    for name, tensor in found.items():
        assert tensor.shape == tuple(tensors[name].shape)
        assert file[tensor.start : tensor.stop] == tensors[name].numpy().tobytes()


names = st.text(st.characters(exclude_categories=["Cs"])).filter(lambda name: name != "__metadata__")


@given(st.dictionaries(names, st.binary(max_size=40)))
def test_any_file_we_write_is_read_by_both(data: dict[str, bytes]) -> None:
    file = bytes(ours.write({name: ("U8", (len(part),), part) for name, part in data.items()}))
    assert {name: file[t.start : t.stop] for name, t in ours.read(file).items()} == data
    assert {name: bytes(t.numpy()) for name, t in safetensors.torch.load(file).items()} == data


def _file(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    "file",
    [
        b"", b"1234567", (1 << 63).to_bytes(8, "little"), (10 << 30).to_bytes(8, "little") + b"{}", _file(b"[]"),
        _file(b"{"),
        _file(b"\xff"), _file(b"[" * 100_000), _file({"a": 3}), _file({"a": {}}), _file({}, b"x"),
        *(
            _file({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4], **change}}, b"1234")
            for change in (
                {"dtype": "O"}, {"dtype": ["U8"]}, {"shape": [5]}, {"shape": [-4]}, {"shape": [2.0, 2]},
                {"shape": [True] * 4},
                {"shape": [1 << 62, 1 << 62]}, {"shape": 4}, {"data_offsets": [0, 5]}, {"data_offsets": [-1, 3]},
                {"data_offsets": [1, 4], "shape": [3]}, {"data_offsets": [4, 0]}, {"data_offsets": [0]},
                {"dtype": "F32"},
            )
        ),
        _file({n: {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]} for n in "ab"}, b"1234"),
    ],
    ids=range(26),
)  # fmt: skip
def test_a_file_that_lies_is_refused(file: bytes) -> None:
    with pytest.raises(Malformed):
        ours.read(file)


# what a host may not do to a user


def _tensor(**change: Any) -> list[Any]:
    node = {"kind": "Tensor", "dtype": "float32", "grad": False, "extra": None, "layout": "strided", "size": [2],
            "data": [[0], [1], 0]}  # fmt: skip
    return ["torch.Tensor", *{**node, **change}.values()]


@pytest.mark.parametrize(
    "change",
    [
        {"data": [[0], [1], 1]}, {"data": [[0], [2], 0]}, {"data": [[0], [-1], 1]}, {"data": [[0], [1], -1]},
        {"size": [3]},
        {"data": [[0], [1 << 61], 0]}, {"size": [-1]}, {"size": [1 << 61, 4], "data": [[0], [0, 1], 0]},
        {"size": [2, 2]},
        {"data": [[0], [1.0], 0]}, {"data": [None, [1], 0]}, {"dtype": "float64"}, {"dtype": "load"},
        {"dtype": "quint8"},
        {"kind": "Module"}, {"kind": "load"}, {"layout": "sparse"}, {"layout": "torch.strided"}, {"extra": [0]},
        {"dtype": "int32", "grad": True}, {"layout": "coo", "data": [[0], [0], True]},
    ],
    ids=str,
)  # fmt: skip
def test_a_tensor_that_lies_is_refused(road: Road, change: dict[str, Any]) -> None:
    storage = road.encode(torch.ones(2)).doc["nodes"][0]
    same(road.receive(road.document(storage, _tensor())), torch.ones(2))
    with pytest.raises(LeptonError):
        found = road.receive(road.document(storage, _tensor(**change)))
        assert change == {"extra": [0]}
        assert not vars(found)
        raise Malformed("harmless")


def test_sparse_tensors_are_checked(road: Road) -> None:
    doc = road.encode(torch.eye(3).to_sparse()).doc
    doc["nodes"][-1][6] = [2, 2]
    with pytest.raises(Malformed):
        road.receive(doc)


def test_a_host_may_not_put_functions_into_a_module(road: Road) -> None:
    net = Net()
    net.act = print  # type: ignore[assignment]
    with pytest.raises(UnknownClass, match="builtins.print is not taken from a host"):
        road.send(net)
    assert road.send(net, host=True).act is print


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (("torch.fx.graph_module", "GraphModule"), "not taken from a host"),
        (("torch.jit._script", "ScriptModule"), "not taken from a host"),
        (("collections", "OrderedDict"), "no class of Module"),
        (("nowhere", "Net"), r"model.state_dict\(\)"),
    ],
)
def test_a_host_may_not_make_modules_that_hold_code(road: Road, name: tuple[str, str], words: str) -> None:
    with pytest.raises(UnknownClass, match=words):
        road.receive(road.document(["torch.nn.Module", *name, [], []]))


def test_the_parts_of_a_module_are_modules_and_tensors(road: Road) -> None:
    doc = road.encode(nn.Linear(1, 1)).doc
    state = doc["nodes"][-1]
    state[4][state[3].index("_modules")] = 5
    with pytest.raises(Malformed, match="_modules are something else"):
        road.receive(doc)
