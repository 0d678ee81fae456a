"""The packed file: what comes back is what went in, and what is no packed file is refused."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn

from lepton_jupyter.errors import ConfigError, LeptonError, MissingDependency
from lepton_jupyter.ml import packed
from lepton_jupyter.ml.packed import _predictor

few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def sparse(shape: tuple[int, ...], density: float, values: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """As a network that was pruned and whose weights share values: some inputs and units matter more than others."""
    make = np.random.default_rng(seed)
    palette = make.normal(size=values).astype(np.float16).astype(np.float32)
    flat = (shape[0], int(np.prod(shape[1:])))
    keep = make.random(flat) < density * make.exponential(size=(flat[0], 1)) * make.exponential(size=(1, flat[1]))
    return np.where(keep, palette[make.integers(values, size=flat)], 0).astype(np.float32).reshape(shape)


def same(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def back(**arrays: np.ndarray[Any, Any]) -> bytes:
    """The packed file of these arrays, of which we know that it gives them back."""
    data = packed.pack(arrays)
    found = packed.unpack(data).arrays
    assert list(found) == list(arrays)
    assert all(same(found[name], array) for name, array in arrays.items())
    return data


def sealed(body: bytes) -> bytes:
    """With a checksum that is right."""
    return body + zlib.crc32(body).to_bytes(4, "little")


ODD = np.array([0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 5e-324, 1.0] * 4)


@pytest.mark.parametrize(
    "array",
    [
        sparse((60, 90), 0.05, 7),
        sparse((8, 3, 3, 3), 0.3, 15),
        sparse((20, 30), 1.0, 256),
        np.random.default_rng(0).normal(size=(40, 30)).astype(np.float32),
        np.where(np.random.default_rng(0).random((50, 50)) < 0.1, np.random.default_rng(1).random((50, 50)), 0),
        np.zeros((30, 40), np.float32),
        np.ones((30, 40), np.float16),
        np.full((1, 100_000), 0.5, np.float32),
        np.zeros((0, 5)),
        np.array(3.5),
        np.arange(17),
        np.arange(-300, 300, dtype=np.int16),
        np.array([True, False] * 20),
        ODD,
        ODD.astype(np.float32).reshape(4, 8),
        sparse((60, 90), 0.05, 7).T,
        np.asfortranarray(sparse((60, 90), 0.05, 7)),
    ],
    ids=lambda array: f"{array.dtype}{list(array.shape)}",
)
def test_comes_back_bit_for_bit(array: np.ndarray[Any, Any]) -> None:
    back(it=array)


@few
@given(
    hn.arrays(
        st.sampled_from(["bool", "u1", "i1", "u2", "i2", "i4", "i8", "f2", "f4", "f8"]),
        hn.array_shapes(min_dims=0, max_dims=4, max_side=5, min_side=0),
    ),
    st.text(max_size=8),
)
def test_any_array_comes_back(array: np.ndarray[Any, Any], name: str) -> None:
    back(**{name: array, name + "'": array[..., :3] if array.ndim else array})


@few
@given(st.data())
def test_any_palette_comes_back(data: st.DataObject) -> None:
    shape = data.draw(hn.array_shapes(min_dims=1, max_dims=3, max_side=9, min_side=1))
    count = data.draw(st.integers(0, 9))
    symbols = data.draw(hn.arrays("i4", shape, elements=st.integers(0, count)))
    palette = data.draw(hn.arrays("f4", count + 1))
    back(first=palette[symbols], second=sparse((9, 6), 0.2, 3))


def test_big_endian_numbers_come_back_in_this_machines_order() -> None:
    found = packed.unpack(packed.pack({"it": np.arange(100, dtype=">f4")})).arrays["it"]
    assert same(found, np.arange(100, dtype="f4"))


def test_a_pruned_shared_layer_takes_a_fraction_of_what_deflate_needs() -> None:
    layer = sparse((120, 300), 0.05, 7)
    data = back(layer=layer)
    symbols = np.unique(layer, return_inverse=True)[1].astype(np.uint8)
    assert len(data) < 0.85 * len(zlib.compress(symbols.tobytes(), 9))


def test_what_is_the_same_is_stored_once() -> None:
    layer = sparse((100, 100), 0.2, 7)
    assert len(back(a=layer, b=layer)) < len(back(a=layer)) + 10


def test_a_layer_after_dead_units_costs_less() -> None:
    make = np.random.default_rng(0)
    first, second = sparse((100, 64), 0.2, 3), sparse((80, 100), 0.2, 3, seed=1)
    first[make.random(100) < 0.5] = 0
    second[:, ~first.any(1)] = 0
    alone = len(back(second=second))
    assert len(back(first=first, second=second)) - len(back(first=first)) < alone - 5


def test_words_about_the_arrays_are_kept() -> None:
    assert packed.unpack(packed.pack({}, {"model": "LeNet", "bits": [3, 4]})).meta == {"model": "LeNet", "bits": [3, 4]}


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "model.lepton"
    size = packed.save(path, {"it": np.arange(9)})
    assert size == path.stat().st_size
    with pytest.raises(ConfigError, match="complex128"):
        packed.save(path, {"it": np.zeros(9, complex)})
    assert same(packed.load(path).arrays["it"], np.arange(9))
    assert [file.name for file in tmp_path.iterdir()] == ["model.lepton"]


@pytest.mark.parametrize("dtype", ["complex64", "O", "M8[s]", "U3", "V4"])
def test_kinds_that_the_format_does_not_know_are_refused(dtype: str) -> None:
    with pytest.raises(ConfigError, match="can't hold"):
        packed.pack({"it": np.zeros(20, dtype)})


def test_without_constriction_the_command_that_installs_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "constriction", None)
    with pytest.raises(MissingDependency, match=r"lepton-jupyter\[compress\]"):
        packed.unpack(sealed(packed.MAGIC + b"\1\0\0"))


WHOLE = packed.pack({"a": sparse((20, 30), 0.2, 5), "b": np.arange(40.0), "c": sparse((5, 20), 0.3, 9)}, {"x": 1})


@given(st.integers(0, len(WHOLE) - 1))
def test_a_file_that_ends_too_early_is_refused(size: int) -> None:
    with pytest.raises(LeptonError):
        packed.unpack(WHOLE[:size])


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_a_flipped_byte_is_noticed(at: int, by: int) -> None:
    with pytest.raises(LeptonError):
        packed.unpack(WHOLE[:at] + bytes([WHOLE[at] ^ by]) + WHOLE[at + 1 :])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(5, len(WHOLE) - 5), st.integers(0, 255)), min_size=1, max_size=4))
def test_whatever_a_liar_writes_makes_arrays_or_our_error(changes: list[tuple[int, int]]) -> None:
    """The checksum is no secret: who means harm computes it."""
    body = bytearray(WHOLE[:-4])
    for at, value in changes:
        body[at] = value
    try:
        packed.unpack(sealed(bytes(body)), limit=1 << 20)
    except LeptonError:
        pass


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60))
def test_noise_makes_arrays_or_our_error(noise: bytes) -> None:
    try:
        packed.unpack(sealed(packed.MAGIC + b"\1\0" + noise), limit=1 << 20)
    except LeptonError:
        pass


def test_arrays_larger_than_allowed_are_refused_before_they_are_made() -> None:
    data = packed.pack({"it": np.zeros((1 << 10, 1 << 10), np.float32)})
    with pytest.raises(LeptonError, match="limit=BYTES"):
        packed.unpack(data, limit=1 << 20)
    assert packed.unpack(data, limit=1 << 25).arrays["it"].shape == (1 << 10, 1 << 10)


def test_a_newer_version_says_to_upgrade() -> None:
    with pytest.raises(LeptonError, match="Upgrade"):
        packed.unpack(sealed(packed.MAGIC + b"\2\0\0"))


def test_another_file_is_told_apart() -> None:
    with pytest.raises(LeptonError, match="not a packed file"):
        packed.unpack(b"\x80\x04\x95")


def test_a_file_of_version_1_is_read_for_ever() -> None:
    """Written when version 1 was made. If this fails, files that people have can't be read any more."""
    found = packed.load(Path(__file__).with_name("version1.lepton"))
    with np.load(Path(__file__).with_name("version1.npz")) as wanted:
        assert list(found.arrays) == list(wanted)
        assert all(same(found.arrays[name], wanted[name]) for name in wanted)
    assert found.meta == {"written": "when version 1 was made"}


def test_the_tables_are_those_of_the_format(monkeypatch: pytest.MonkeyPatch) -> None:
    _predictor.tables.cache_clear()
    monkeypatch.setattr(np, "log", lambda x: np.round(x, 2))
    with pytest.raises(LeptonError, match="logarithms"):
        _predictor.tables()
    monkeypatch.undo()
    _predictor.tables()
