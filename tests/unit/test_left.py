"""What a host says of the variables that a job left: it may say anything, and nothing of it runs here."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from lepton_jupyter.blobs import BlobStore
from lepton_jupyter.data import values
from lepton_jupyter.errors import BlobMissing, LeptonError, WireError
from lepton_jupyter.remote.left import Left, RemoteValue
from lepton_jupyter.remote.run import Artifact


class Host:
    """Stands for the dispatcher: what it fetches comes from a folder that the test filled as it liked."""

    def __init__(self, folder: Path) -> None:
        self.there = BlobStore(str(folder / "there"))
        self.blobs = BlobStore(str(folder / "here"))
        self.fetched: list[Mapping[str, int]] = []

    def fetch(self, job_id: str, wanted: Mapping[str, int], progress: Callable[[int, int], None]) -> int:
        self.fetched.append(wanted)
        for digest in wanted:
            if not self.there.has(digest):
                raise BlobMissing(f"blob {digest} is not there")
            self.blobs.put_file(self.there.path(digest))
        return sum(wanted.values())

    def tells(self, doc: Any, **more: Any) -> dict[str, Any]:
        data = json.dumps(doc).encode()
        digest = self.there.put(data)
        return {"doc": digest, "blobs": {digest: len(data)}, "size": len(data), "words": "a thing", **more}

    def left(self, **told: Any) -> Left:
        return Left(self, "job", "gpu1", told)  # type: ignore[arg-type]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def bring(left: Left, namespace: dict[str, Any], **options: Any) -> list[str]:
    return left.bring(namespace, lambda done, total: None, **options)


def test_a_value_comes_and_is_said(host: Host) -> None:
    names: dict[str, Any] = {}
    encoded = values.encode([1, "two"], host.there)
    (said,) = bring(host.left(x=host.tells(encoded.doc, words="list of 2\x1b[31m")), names)
    assert names == {"x": [1, "two"]}
    assert said.startswith("x (list of 2")
    assert "\x1b" not in said


@pytest.mark.parametrize(
    "told",
    [
        None, [], "text", {}, {"doc": "a"}, {"doc": "a", "blobs": 3, "size": 1, "words": ""},
        {"doc": "a", "blobs": {}, "size": 1, "words": ""}, {"doc": "a", "blobs": {"a": -1}, "size": 1, "words": ""},
        {"doc": "a", "blobs": {"a": "x"}, "size": 1, "words": ""}, {"doc": "a", "blobs": {"a": 1}, "words": ""},
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(host: Host, told: Any) -> None:
    with pytest.raises(WireError, match="'x'"):
        host.left(x=told)


def test_a_size_that_is_said_too_small_brings_nothing_unasked(host: Host) -> None:
    names: dict[str, Any] = {}
    told = host.tells(values.encode([1], host.there).doc, size=1)
    told["blobs"]["f" * 64] = 1 << 40
    bring(host.left(x=told), names)
    assert isinstance(names["x"], RemoteValue)
    assert host.fetched == []


def test_a_pickle_is_not_opened_unless_it_was_asked_for(host: Host, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "pwned",))

    encoded = values.encode({"a": 1}, host.there)
    evil = host.there.put(pickle.dumps(Bomb()))
    for doc in (encoded.doc | {"nodes": [["pickle", [evil, 10]]], "root": [0]}, {"pickle": evil}):
        names: dict[str, Any] = {}
        told = host.tells(doc)
        told["blobs"][evil] = host.there.size(evil)
        (said,) = bring(host.left(x=told), names)
        assert said.startswith("x did not come back")
        assert names == {}
    assert not (tmp_path / "pwned").exists()


def test_a_value_that_the_host_keeps_no_more_is_said(host: Host) -> None:
    told, names = host.tells([1]), dict[str, Any]()
    told["blobs"]["e" * 64] = 5
    (said,) = bring(host.left(x=told, y=host.tells(values.encode(2, host.there).doc)), names)[:1]
    assert said.startswith("x did not come back: blob eee")
    assert names == {"y": 2}


def test_what_went_wrong_there_is_said_as_one_line(host: Host) -> None:
    (said,) = bring(host.left(x={"error": "no\nroom", "hint": "free\x07some"}), {})
    assert said == "x did not come back: no room free\\x07some"


def test_only_what_is_named_comes(host: Host) -> None:
    names: dict[str, Any] = {}
    told = {name: host.tells(values.encode(name, host.there).doc) for name in ("a", "b")}
    assert len(bring(host.left(**told), names, names=("b",))) == 1
    assert names == {"b": "b"}


def test_a_handle_says_what_it_stands_for_and_fetches(host: Host) -> None:
    names: dict[str, Any] = {}
    told = host.tells(values.encode(list(range(100)), host.there).doc, preview="[0, 1, 2, …]")
    (said,) = bring(host.left(big=told), names, limit=10)
    assert "stays on gpu1" in said
    assert "[0, 1, 2, …]" in repr(names["big"])
    assert names["big"].fetch() == list(range(100))


def test_a_handle_of_something_else_is_refused(host: Host) -> None:
    names: dict[str, Any] = {}
    bring(host.left(big=host.tells({"anything": 1})), names, limit=1)
    with pytest.raises(LeptonError):
        names["big"].fetch()


@pytest.mark.parametrize(
    "fields", [{}, {"name": "a"}, {"name": "a", "size": "x", "digest": "d"}, {"name": "", "size": 1, "digest": "d"},
               {"name": "a", "size": -1, "digest": "d"}, {"name": "a", "size": None, "digest": "d"}],
)  # fmt: skip
def test_files_that_make_no_sense_are_passed_over(fields: dict[str, Any]) -> None:
    assert Artifact.told(fields) is None
    assert Artifact.told({"name": "a", "size": 1, "digest": "d"}) == Artifact("a", 1, "d")
