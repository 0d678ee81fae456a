"""Models that are trained once for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from .digits import trained


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small models are faster with one, and figures are steadier."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def no_hooks_left() -> Iterator[None]:
    """Hooks on all modules that a test leaves would be in the way of others."""
    yield
    assert not torch.nn.modules.module._has_any_global_hook()


@pytest.fixture(params=["mlp", "cnn", "lstm", "transformer"])
def model(request: pytest.FixtureRequest) -> nn.Module:
    """Each kind of model, trained."""
    return trained(request.param)


@pytest.fixture
def mlp() -> nn.Module:
    return trained("mlp")


@pytest.fixture
def cnn() -> nn.Module:
    return trained("cnn")


@pytest.fixture
def lstm() -> nn.Module:
    return trained("lstm")


@pytest.fixture
def transformer() -> nn.Module:
    return trained("transformer")
