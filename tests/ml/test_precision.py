"""`--precision` and `--compile` on unchanged PyTorch cells: a plain loop, an LSTM that reads, a Transformer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules import module as hooks
from torch.optim import optimizer as steps

from lepton_jupyter.errors import ConfigError
from lepton_jupyter.ml import gradients, precision
from lepton_jupyter.ml.precision import contest, limits, probe, processors
from lepton_jupyter.ml.precision.outermost import whole


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for one another on a busy machine take a hundred times as long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def same_on_every_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any processor is asked, and short cells are long enough."""
    monkeypatch.setattr(processors, "halves", lambda: {"bf16", "fp16"})
    monkeypatch.setattr(limits, "SHARE", 0.2)


class Reader(nn.Module):
    """Classifies texts with an LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.lstm, self.out = nn.Embedding(50, 16), nn.LSTM(16, 24, batch_first=True), nn.Linear(24, 2)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        states, _ = self.lstm(self.words(words))
        return self.out(states[:, -1])  # type: ignore[no-any-return]


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.words, self.layers, self.out = nn.Embedding(50, 16), nn.TransformerEncoder(layer, 1), nn.Linear(16, 2)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.out(self.layers(self.words(words)).mean(1))  # type: ignore[no-any-return]


def plain() -> nn.Module:
    return nn.Sequential(nn.Embedding(50, 16), nn.Flatten(), nn.Linear(160, 32), nn.ReLU(), nn.Linear(32, 2))


MODELS = {"plain": plain, "lstm": Reader, "transformer": Transformer}


def cell(make: Any = plain, count: int = 40) -> tuple[list[float], nn.Module]:
    """A loop as everybody writes it."""
    torch.manual_seed(0)
    model, criterion = make(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    words = torch.randint(50, (64, 10))
    labels = (words[:, 0] > 25).long()
    losses = []
    for _step in range(count):
        optimizer.zero_grad()
        output = model(words)
        loss = criterion(output, labels)
        loss.backward()
        optimizer.step()
        assert output.dtype is torch.float32
        losses.append(loss.item())
    return losses, model


@contextmanager
def flagged(mode: str = "fp32", compiler: str = "off", looked_after: str = "off") -> Iterator[list[str]]:
    said: list[str] = []
    with ExitStack() as stack:
        stack.enter_context(precision.around(mode, compiler, said.append))
        stack.enter_context(gradients.around(looked_after, said.append))
        yield said


def left_behind() -> list[Any]:
    return [
        hooks._global_forward_hooks, hooks._global_forward_pre_hooks, steps._global_optimizer_pre_hooks,
        steps._global_optimizer_post_hooks,
    ]  # fmt: skip


@pytest.mark.parametrize("mode", ["bf16", "fp16"])
@pytest.mark.parametrize("name", MODELS)
def test_cells_train_in_half_precision(name: str, mode: str) -> None:
    before = [dict(each) for each in left_behind()], torch.autograd.backward, nn.Module.__call__
    wanted, _ = cell(MODELS[name])
    with flagged(mode):
        losses, model = cell(MODELS[name])
    assert losses[-1] < losses[0] / 2  # one autocast around the cell would let it stand still
    assert losses[0] != wanted[0]
    assert losses[:5] == pytest.approx(wanted[:5], rel=0.03, abs=0.03)
    assert {each.dtype for each in model.parameters()} == {torch.float32}
    assert cell(MODELS[name])[0] == wanted  # nothing is left of it
    assert before == ([dict(each) for each in left_behind()], torch.autograd.backward, nn.Module.__call__)


@pytest.mark.parametrize("name", MODELS)
def test_cells_train_with_gradients_looked_after(name: str) -> None:
    with flagged("bf16", looked_after="auto") as said:
        losses, _ = cell(MODELS[name])
    assert losses[-1] < losses[0] / 2
    assert "clipped" in said[-1]


def test_nothing_changes_for_those_that_did_not_ask() -> None:
    wanted, _ = cell()
    with flagged() as said:
        assert cell()[0] == wanted
    assert said == []


def test_a_probe_changes_nothing_but_speed() -> None:
    wanted, one = cell(Transformer, limits.steps_needed(2) + 10)
    with flagged("auto") as said:
        losses, other = cell(Transformer, limits.steps_needed(2) + 10)
    if said[0].startswith("precision: fp32 stays"):  # as on any CPU without such instructions
        assert losses == wanted
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert losses[:2] == wanted[:2]
    assert "ms for a step's forward and backward" in said[0]
    assert "bf16" in said[0]
    assert "fp16" in said[0]
    assert "the probe took " in said[0]


def test_a_probe_that_finds_something_faster_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "GAIN", 1e9)  # whatever agrees is fast enough
    wanted, _ = cell(count=150)
    with flagged("auto", "auto") as said:
        losses, model = cell(count=150)
    assert losses[:2] == wanted[:2]
    assert losses[3] != wanted[3]
    assert losses[-1] < losses[0] / 2
    assert said[0].startswith("precision: bf16: ")
    assert "the loss differs by 0." in said[0]
    assert "fp16" not in said[0]  # no faster than bf16, and its loss has to be scaled
    assert "torch.compile would take about 15 s, too much for the " in said[0]
    assert {each.dtype for each in model.parameters()} == {torch.float32}


def test_nothing_is_run_for_a_processor_without_such_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processors, "halves", frozenset)
    wanted, _ = cell()
    with flagged("auto") as said:
        assert cell()[0] == wanted
        assert not hooks._global_forward_hooks  # they would cost each call
    assert said == ["precision: fp32 stays: this processor has no instructions for bf16 and fp16"]


def test_where_loops_have_no_end_a_probe_waits_and_a_compiler_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def compiled(call: Any, **_: Any) -> Any:
        return lambda *args: calls.append("compiled") or call(*args)

    monkeypatch.setattr(torch, "compile", compiled)
    monkeypatch.setattr(contest, "timed", lambda *_: 0.001)
    monkeypatch.setattr(probe, "COMPILER", 0.05)
    monkeypatch.setattr(probe, "COMPILE_ONE", 0.0)
    monkeypatch.setattr(limits, "GAIN", 1e9)
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    said_at: list[int] = []
    with flagged("auto", "auto") as said:
        while len(said) < 2:
            optimizer.zero_grad()
            model(torch.ones(4, 2)).mean().backward()
            optimizer.step()
            said_at.append(len(said))
            assert len(said_at) < 1000
        assert said_at.index(1) == limits.steps_needed(2)
        assert len(said_at) == 251  # a fifth of what was done pays for the compiler
        calls.clear()
        with torch.no_grad():
            model(torch.ones(4, 2))
        model(torch.ones(3, 2))
        assert calls == []  # a compiler would begin anew
        model(torch.ones(4, 2))
        assert calls == ["compiled"]
    assert "torch.compile would take about 0 s and is tried after 250 steps" in said[0]
    assert said[1].startswith("precision: bf16 + torch.compile: ")
    assert "_compiled_call_impl" not in model.__dict__


def test_a_compiled_model_trains_in_half_precision() -> None:
    with flagged("bf16"):
        losses, _ = cell(lambda: torch.compile(plain(), backend="eager"))
    with flagged("bf16"):
        assert losses == pytest.approx(cell()[0], rel=1e-3)


class Counting(nn.Linear):
    """Answers another way each time."""

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        self.times = getattr(self, "times", torch.zeros(1))
        self.times += 1
        return super().forward(value) * self.times


def loop(model: nn.Module, count: int) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    for _step in range(count):
        optimizer.zero_grad()
        model(torch.ones(4, 2)).mean().backward()
        optimizer.step()


def hooked() -> nn.Module:
    model = nn.Linear(2, 2)
    model.register_forward_hook(lambda *_: None)
    return model


@pytest.mark.parametrize(
    "make, count, why",
    [
        (lambda: Counting(2, 2), 300, "Counting does not answer the same when it is called again"),
        (hooked, 300, "Linear has hooks that a second run would call again"),
        (lambda: nn.Linear(2, 2), 50, "the 49 steps that are left are too few"),
        (lambda: nn.Linear(2, 2), 1, "the cell ended after 1 steps"),
    ],
    ids=["state", "hooks", "short", "one"],
)
def test_a_cell_that_cannot_be_probed_keeps_fp32_and_hears_why(make: Any, count: int, why: str) -> None:
    with flagged("auto") as said:
        loop(make(), count)
    assert said[0].startswith("precision: fp32 stays: ")
    assert why in said[0]


def test_an_exception_in_forward_leaves_no_autocast() -> None:
    class Broken(nn.Linear):
        def forward(self, value: torch.Tensor) -> torch.Tensor:
            raise ValueError("broken")

    with flagged("bf16"):
        with pytest.raises(ValueError, match="broken"):
            nn.Sequential(nn.Linear(2, 2), Broken(2, 2))(torch.ones(1, 2))
        assert not torch.is_autocast_enabled("cpu")
        assert nn.Linear(2, 2)(torch.ones(1, 2)).dtype is torch.float32
    with pytest.raises(KeyboardInterrupt), flagged("bf16"):
        nn.Sequential(nn.Linear(2, 2), Interrupted())(torch.ones(1, 2))
    assert not torch.is_autocast_enabled("cpu")


class Interrupted(nn.Module):
    def forward(self, value: torch.Tensor) -> torch.Tensor:
        raise KeyboardInterrupt


def test_fp16_gradients_are_true_and_small_ones_survive() -> None:
    def gradient() -> torch.Tensor:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 1))
        for _ in range(2):  # the second is added to the first
            (model(torch.ones(4, 8)).mean() * 1e-8 + model[0].weight.square().sum() * 1e-8).backward()
        return model[0].weight.grad  # type: ignore[return-value]

    wanted = gradient()
    with flagged("fp16"):
        found = gradient()
    assert torch.allclose(found, wanted, rtol=1e-2, atol=1e-11)


def test_outputs_keep_their_containers() -> None:
    half = torch.ones(2, dtype=torch.bfloat16)
    found = whole({"a": (half, [half]), "b": 3, "c": torch.ones(1, dtype=torch.int64)})
    assert found["a"][0].dtype is found["a"][1][0].dtype is torch.float32
    assert (type(found["a"]), found["b"], found["c"].dtype) == (tuple, 3, torch.int64)


def test_other_modes_are_refused() -> None:
    with pytest.raises(ConfigError, match="no precision 'int8'"), flagged("int8"):
        pass
    with pytest.raises(ConfigError, match="no way to compile"), flagged("fp32", "always"):
        pass
