"""Heads and hidden units that are gone: the model answers as if they had been silent, and is really smaller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from lepton_jupyter.ml.compressors import Task
from lepton_jupyter.ml.compressors._attention_torch import Attention, attentions, fewer_heads
from lepton_jupyter.ml.compressors._recurrent_torch import fewer_units, recurrents
from lepton_jupyter.ml.compressors.structured import Structured

from .digits import right, task

Inputs = tuple[Tensor, ...]


def silence_heads(attention: nn.MultiheadAttention, heads: list[int]) -> None:
    """Make these heads say nothing, and all but their weights for it large."""
    size = attention.head_dim
    with torch.no_grad():
        for head in heads:
            rows = slice(head * size, head * size + size)
            attention.out_proj.weight[:, rows] = 0
            for part in range(3):
                if attention.in_proj_weight is not None:
                    attention.in_proj_weight[part * attention.embed_dim :][rows] = 0
                else:
                    (attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight)[part][rows] = 0


def narrowed_heads(attention: nn.MultiheadAttention, share: float = 0.5) -> Attention:
    silence_heads(attention, [1, 2])
    model = nn.ModuleDict({"it": attention})
    fewer_heads(model, share, attentions(model), ())
    small = model["it"]
    assert isinstance(small, Attention)
    assert (small.num_heads, small.query.out_features, small.out_proj.in_features) == (2, 8, 8)
    return small


MASKS: dict[str, Callable[[], dict[str, Any]]] = {
    "none": dict,
    "bool": lambda: {"attn_mask": torch.ones(5, 6).triu(2).bool()},
    "float": lambda: {"attn_mask": torch.randn(5, 6)},
    "heads": lambda: {"attn_mask": torch.randn(3 * 4, 5, 6)},
    "padding": lambda: {"key_padding_mask": torch.arange(6)[None] >= torch.tensor([[6], [4], [2]])},
    "both": lambda: {"attn_mask": torch.randn(5, 6), "key_padding_mask": torch.randn(3, 6)},
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("first", [True, False], ids=["batch first", "batch second"])
def test_attention_answers_as_if_its_heads_were_silent(mask: str, first: bool) -> None:
    torch.manual_seed(0)
    whole = nn.MultiheadAttention(16, 4, kdim=12, vdim=10, batch_first=first).eval()
    given = torch.randn(3, 5, 16), torch.randn(3, 6, 12), torch.randn(3, 6, 10)
    small = narrowed_heads(whole)
    options = MASKS[mask]()
    turned = given if first else tuple(each.transpose(0, 1) for each in given)
    for extra in ({}, {"need_weights": False}):
        torch.testing.assert_close(
            small(*turned, **options, **extra)[0], whole(*turned, **options, **extra)[0], atol=1e-5, rtol=1e-5
        )
    weights = whole(*turned, **options, average_attn_weights=False)[1]
    torch.testing.assert_close(small(*turned, **options, average_attn_weights=False)[1], weights[:, [0, 3]])


def test_one_example_without_a_batch_is_answered() -> None:
    torch.manual_seed(0)
    whole = nn.MultiheadAttention(16, 4, bias=False).eval()
    x = torch.randn(5, 16)
    small = narrowed_heads(whole)
    for mine, wanted in zip(small(x, x, x), whole(x, x, x), strict=True):
        assert mine.shape == wanted.shape
    torch.testing.assert_close(small(x, x, x)[0], whole(x, x, x)[0])


def test_heads_go_step_by_step() -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"it": nn.MultiheadAttention(32, 8, batch_first=True), "kept": nn.MultiheadAttention(32, 8)})
    heads = attentions(model)
    found = []
    for share in (0.75, 0.5, 0.1):
        fewer_heads(model, share, heads, ("kept",))
        found.append((model["it"].num_heads, model["it"].out_proj.in_features))
    assert found == [(6, 24), (4, 16), (1, 4)]
    assert isinstance(model["kept"], nn.MultiheadAttention)
    assert len(model["it"].kept) == 1
    x = torch.randn(2, 5, 32)
    assert model["it"](x, x, x)[0].shape == x.shape


@pytest.mark.filterwarnings("ignore:.*nested.tensor:UserWarning")
def test_encoders_and_decoders_of_torch_run_with_fewer_heads() -> None:
    torch.manual_seed(0)
    whole = nn.Transformer(16, 4, 2, 2, 32, batch_first=True).eval()
    for attention in whole.modules():
        if isinstance(attention, nn.MultiheadAttention):
            silence_heads(attention, [0, 3])
    source, target = torch.randn(3, 6, 16), torch.randn(3, 5, 16)
    padding = torch.arange(6)[None] >= torch.tensor([[6], [4], [2]])
    options = {"src_key_padding_mask": padding, "memory_key_padding_mask": padding, "tgt_is_causal": True}
    options |= {"tgt_mask": nn.Transformer.generate_square_subsequent_mask(5)}
    with torch.no_grad():  # so that PyTorch may take its fast path
        wanted = whole(source, target, **options)
        fewer_heads(whole, 0.5, attentions(whole), ())
        assert not attentions(whole)
        torch.testing.assert_close(whole(source, target, **options), wanted, atol=1e-5, rtol=1e-5)


class Reads(nn.Module):
    """A recurrent layer and what reads it."""

    def __init__(self, rnn: nn.RNNBase, how: str) -> None:
        super().__init__()
        width = rnn.hidden_size * (2 if rnn.bidirectional else 1)
        self.before, self.rnn, self.how = nn.Linear(4, 6), rnn, how
        self.norm = nn.BatchNorm1d(width) if how == "norm" else nn.Identity()
        self.score = nn.Linear(width, 1)
        self.convolution = nn.Conv1d(width, 3, 3)
        self.second = nn.GRU(width, 5, batch_first=True)
        self.answer = nn.Linear({"joined": 4 + width, "convolution": 3, "second": 5}.get(how, width), 3)

    def forward(self, x: Tensor) -> Tensor:
        given = torch.relu(self.before(x))
        if self.how == "packed":
            given = pack_padded_sequence(given, torch.tensor([7, 5, 2])[: len(x)], batch_first=True)
        found, state = self.rnn(given)
        state = state[0] if isinstance(state, tuple) else state
        if self.how == "last":
            found = found[:, -1]
        elif self.how == "state" or self.how == "packed":
            ways = 2 if self.rnn.bidirectional else 1
            found = state[-ways:].transpose(0, 1).flatten(1)
        elif self.how == "joined":
            found = torch.cat([x.mean(1), torch.tanh(found).mean(1)], -1)
        elif self.how == "norm":
            found = self.norm(found.transpose(1, 2)).amax(-1)
        elif self.how == "attended":
            found = (self.score(found).softmax(1) * found).sum(1)
        elif self.how == "convolution":
            found = self.convolution(found.transpose(1, 2)).mean(-1)
        elif self.how == "second":
            found = self.second(found)[0][:, -1]
        return self.answer(found)


def silence(model: Reads) -> dict[str, Tensor]:
    """Let half of the units of each layer and direction say nothing; which ones stay, by the ending of its weights."""
    rnn, size = model.rnn, model.rnn.hidden_size
    ways = ["", "_reverse"] if rnn.bidirectional else [""]
    stays = {}
    with torch.no_grad():
        for layer in range(rnn.num_layers):
            for at, way in enumerate(ways):
                silent = torch.randperm(size)[: size // 2]
                stays[f"l{layer}{way}"] = torch.ones(size).index_fill(0, silent, 0).nonzero().ravel()
                for name in ("weight_ih", "weight_hh"):
                    getattr(rnn, f"{name}_l{layer}{way}").unflatten(0, (-1, size))[:, silent] *= 0.01
                getattr(rnn, f"weight_hh_l{layer}{way}")[:, silent] = 0
                here = silent + at * size
                if layer + 1 < rnn.num_layers:
                    for above in ways:
                        getattr(rnn, f"weight_ih_l{layer + 1}{above}")[:, here] = 0
                else:
                    model.score.weight[:, here] = 0
                    model.convolution.weight[:, here] = 0
                    model.second.weight_ih_l0[:, here] = 0
                    if model.how not in ("convolution", "second"):
                        model.answer.weight[:, here + (4 if model.how == "joined" else 0)] = 0
    return stays


def units(model: nn.Module, inputs: Inputs, share: float = 0.5, fixed: tuple[str, ...] = ()) -> nn.Module:
    return fewer_units(model, inputs, share, recurrents(model), 1, fixed)


KINDS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
WAYS = ["last", "state", "packed", "joined", "norm", "attended", "convolution", "second"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("both", [False, True], ids=["one way", "both ways"])
@pytest.mark.parametrize("how", WAYS)
def test_the_model_answers_as_if_its_units_were_silent(kind: str, layers: int, both: bool, how: str) -> None:
    torch.manual_seed(0)
    rnn = KINDS[kind](6, 8, num_layers=layers, bidirectional=both, batch_first=True)
    model = Reads(rnn, how).eval()
    if how == "norm":
        model.norm.running_mean.normal_()
    stays = silence(model)
    x = torch.randn(3, 7, 4)
    small = units(model, (x,), fixed=("second",))
    assert small.rnn.hidden_size == 4
    assert small.rnn.weight_hh_l0.shape == (rnn.weight_hh_l0.shape[0] // 2, 4)
    for ending, kept in stays.items():
        assert torch.equal(getattr(small.rnn, f"bias_hh_{ending}")[:4], getattr(rnn, f"bias_hh_{ending}")[kept])
    with torch.no_grad():
        torch.testing.assert_close(small(x), model(x), atol=1e-5, rtol=1e-5)
    assert sum(each.numel() for each in small.parameters()) < sum(each.numel() for each in model.parameters())
    small.train()(x).sum().backward()
    assert small.rnn.weight_ih_l0.grad is not None


class Normed(Reads):
    """A norm over features between units and what reads them."""

    def forward(self, x: Tensor) -> Tensor:
        return self.answer(self.layer(self.rnn(self.before(x))[0][:, -1]))


def test_a_norm_over_units_is_narrowed_too() -> None:
    torch.manual_seed(0)
    model = Normed(nn.LSTM(6, 8, batch_first=True), "last").eval()
    model.layer = nn.LayerNorm(8)
    x = torch.randn(3, 7, 4)
    small = units(model, (x,))
    assert (small.rnn.hidden_size, small.layer.normalized_shape, small.answer.in_features) == (4, (4,), 4)
    assert small(x).shape == (3, 3)


class Added(Reads):
    """Adds to units what is as wide as they are."""

    def forward(self, x: Tensor) -> Tensor:
        given = self.before(x)
        return self.answer(given + self.rnn(given)[0])


class Given(Reads):
    """Begins with a state whose width it knows by heart."""

    def forward(self, x: Tensor) -> Tensor:
        return self.answer(self.rnn(self.before(x), (torch.zeros(1, 3, 6), torch.zeros(1, 3, 6)))[0])


class Multiplied(Reads):
    """Units look at one another."""

    def forward(self, x: Tensor) -> Tensor:
        found = self.rnn(self.before(x))[0]
        return self.answer((found @ found.transpose(1, 2)).softmax(-1) @ found)


class Answered(Reads):
    """Its units are the answer."""

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(self.before(x))[0]


@pytest.mark.parametrize("kind", [Added, Given, Multiplied, Answered], ids=lambda kind: kind.__name__)
def test_units_that_cant_be_followed_stay(kind: type[Reads]) -> None:
    torch.manual_seed(0)
    model = kind(nn.LSTM(6, 6, batch_first=True), "last").eval()
    x = torch.randn(3, 7, 4)
    wanted = model(x)
    small = units(model, (x,), fixed=("second",))
    assert small.rnn.hidden_size == 6
    assert torch.equal(small(x), wanted)


def test_an_encoder_keeps_the_width_that_its_decoder_shares() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = nn.GRU(4, 6, batch_first=True), nn.GRU(4, 6, batch_first=True)
            self.answer = nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.answer(self.decoder(x, self.encoder(x)[1])[0])

    x = torch.randn(3, 7, 4)
    small = units(Both().eval(), (x,))
    assert (small.encoder.hidden_size, small.decoder.hidden_size) == (6, 6)


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_layers_around_recurrent_ones_are_narrowed_with_them(kind: str, how: str) -> None:
    """Torch-Pruning's part and ours, in several steps."""
    torch.manual_seed(0)
    both = how in ("state", "joined", "second")
    model = Reads(KINDS[kind](6, 8, 2 if both else 1, bidirectional=both, batch_first=True), how)
    small = Structured(keep=0.5, rounds=0, steps=2).compress(model, Task(data=(np.ones((3, 7, 4), "f4"), np.zeros(3))))
    assert (small.before.out_features, small.rnn.input_size) == (3, 3)
    assert small.rnn.hidden_size == 4
    assert small(torch.ones(3, 7, 4)).shape == (3, 3)
    assert small.training


def test_a_trained_lstm_is_narrowed(lstm: nn.Module) -> None:
    small = Structured(keep=0.5, rounds=5).compress(lstm, task())
    assert small.rows.weight_hh_l0.shape == (4 * 24, 24)
    assert small.c.weight.shape == (10, 24)
    assert right(small).mean() > right(lstm).mean() - 0.06


def test_a_trained_transformer_loses_heads_and_inner_width(transformer: nn.Module) -> None:
    small = Structured(keep=0.5, rounds=5).compress(transformer, task())
    assert small.layer.self_attn.num_heads == 2
    assert small.layer.self_attn.value.weight.shape == (16, 32)
    assert small.layer.linear1.out_features == 32
    assert right(small).mean() > right(transformer).mean() - 0.06
    kept = Structured(keep=0.5, rounds=0, fixed=("layer.self_attn",)).compress(transformer, task())
    assert isinstance(kept.layer.self_attn, nn.MultiheadAttention)
