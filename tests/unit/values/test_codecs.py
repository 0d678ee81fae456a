"""Codecs are found without importing what is not there; plug-ins join in; no document does harm, whatever is in it."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lepton_jupyter.data import values
from lepton_jupyter.data.values import Malformed, Untransferable, library, registry
from lepton_jupyter.errors import BlobMissing, LeptonError, MissingDependency
from tests.unit.values._road import Road


def python(code: str, *options: str, **environment: str) -> str:
    command = [sys.executable, *options, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment or None, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


SEND = """
import json, sys, tempfile
sys.path.insert(0, {root!r})
from lepton_jupyter.blobs import BlobStore
from lepton_jupyter.data import values
store = BlobStore(tempfile.mkdtemp())
value = [1, 2.5, "x" * 9000, {{"a": (1, None)}}, {{3}}, 1 << 99, b"x", range(3)]
sent = values.encode(value, store)
assert values.decode(sent.doc, store, trust=values.Trust.notebook({{}})) == value
assert values.nbytes(value) > 9000 and values.preview(value) and values.describe(value)
print(*sorted(sys.modules))
"""


def test_plain_values_need_the_standard_library_alone(repository: Path) -> None:
    loaded = python(SEND.format(root=str(repository)), "-I", "-S").split()
    assert "lepton_jupyter.data.values.plain" in loaded
    assert not {"numpy", "torch", "pandas", "lepton_jupyter.data.values.of_numpy"} & set(loaded)


def test_a_missing_library_is_named_with_the_command_that_brings_it() -> None:
    with pytest.raises(MissingDependency, match="pip install no-such-library"):
        library("no-such-library")


def test_a_plug_in_brings_a_codec(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "fruit.py").write_text("class Apple:\n    def __init__(self, size): self.size = size\n")
    (tmp_path / "lepton_fruit.py").write_text(
        "from lepton_jupyter.data.values import Codec, fields\n"
        "class Apple(Codec):\n"
        "    tag = 'fruit.Apple'\n"
        "    def accepts(self, value): return type(value).__name__ == 'Apple'\n"
        "    def encode(self, value, out): return [out.child(value.size)]\n"
        "    def decode(self, body, src):\n"
        "        import fruit\n"
        "        return fruit.Apple(src.child(*fields(body, object)))\n"
        "    def describe(self, value): return 'an apple'\n"
        "CODECS = (Apple(),)\n"
    )
    about = tmp_path / "lepton_fruit-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lepton-fruit\nVersion: 1\n")
    (about / "entry_points.txt").write_text(
        "[lepton_jupyter.codecs]\nfruit = lepton_fruit:CODECS\nbroken = lepton_nowhere:CODECS\n"
    )
    code = (
        f"import sys, tempfile; sys.path[:0] = [{str(tmp_path)!r}, {str(repository)!r}]\n"
        "import fruit\nfrom lepton_jupyter.blobs import BlobStore\nfrom lepton_jupyter.data import values\n"
        "store = BlobStore(tempfile.mkdtemp())\nassert 'lepton_fruit' not in sys.modules\n"
        "doc = values.encode(fruit.Apple([1, 2]), store).doc\n"
        "print(values.decode(doc, store, trust=values.Trust.notebook({})).size, values.describe(fruit.Apple(1)))\n"
        "doc = {'lepton': 1, 'nodes': [['broken.x']], 'root': [0]}\n"
        "try: values.decode(doc, store, trust=values.Trust.notebook({}))\n"
        "except values.Untransferable as error: print(error)\n"
    )
    shown = python(code)
    assert shown.startswith("[1, 2] an apple\n")
    assert "lepton_nowhere:CODECS" in shown


def test_every_tag_is_found_again() -> None:
    tags = [codec.tag for module in {*registry.FAMILIES.values(), *registry.PLAIN, *registry.OWN} if module not in
            ("of_tensorflow", "of_keras") for codec in registry._codecs(module)]  # fmt: skip
    assert len(set(tags)) == len(tags)
    for tag in tags:
        assert registry.by_tag(tag).tag == tag


# what an enemy writes


@pytest.mark.parametrize(
    "doc",
    [
        None, [], {}, "x", {"lepton": 2, "nodes": [], "root": 1}, {"lepton": 1, "nodes": {}, "root": 1},
        {"lepton": 1, "nodes": [], "root": [0]}, {"lepton": 1, "nodes": [], "root": [-1]},
        {"lepton": 1, "nodes": []} | {"root": {}},
        {"lepton": 1, "nodes": [], "root": [True]}, {"lepton": 1, "nodes": [], "root": [0, 0]},
        {"lepton": 1, "nodes": [3], "root": 1},
        {"lepton": 1, "nodes": [[]], "root": 1}, {"lepton": 1, "nodes": [[3]], "root": 1},
        {"lepton": 1, "nodes": [["os"]], "root": 1},
        {"lepton": 1, "nodes": [["os.path"]], "root": 1}, {"lepton": 1, "nodes": [["list", [0]]], "root": [0]},
        {"lepton": 1, "nodes": [["list", [1]], ["list"]], "root": [0]},
        {"lepton": 1, "nodes": [["set", [1], [0]]], "root": [0]},
        {"lepton": 1, "nodes": [["list"], ["set", [0]]], "root": [1]},
        {"lepton": 1, "nodes": [["dict", [1], []]], "root": [0]},
        {"lepton": 1, "nodes": [["dict", 1, 2]], "root": [0]}, {"lepton": 1, "nodes": [["none"]], "root": [0]},
        {"lepton": 1, "nodes": [["bytes", "A"]], "root": [0]},
        {"lepton": 1, "nodes": [["bytes", ["x", 1]]], "root": [0]},
        {"lepton": 1, "nodes": [["bytes", ["../../etc/passwd", 1]]], "root": [0]},
        {"lepton": 1, "nodes": [["bytes", ["0" * 64, 1]]], "root": [0]},
        {"lepton": 1, "nodes": [["ZoneInfo", "../../etc/passwd"]], "root": [0]},
        {"lepton": 1, "nodes": [["ZoneInfo", "a.b"]], "root": [0]},
        {"lepton": 1, "nodes": [["float", "zz"]], "root": [0]}, {"lepton": 1, "nodes": [["Decimal", "x"]], "root": [0]},
        {"lepton": 1, "nodes": [["date", 0, 0, 0]], "root": [0]},
        {"lepton": 1, "nodes": [["Pattern", "(", 0]], "root": [0]},
        {"lepton": 1, "nodes": [["deque", -1, []]], "root": [0]},
        {"lepton": 1, "nodes": [["torch.storage", 0, ""]], "root": [0]},
    ],
    ids=range(35),
)  # fmt: skip
def test_a_document_that_is_none_is_refused(road: Road, doc: Any) -> None:
    with pytest.raises(LeptonError):
        road.receive(doc)
    assert "os.path" not in [codec.tag for codec in registry._codecs("plain")]


def test_a_blob_of_another_size_is_refused(road: Road) -> None:
    digest = road.store.put(b"x" * 5000)
    assert road.receive(road.document(["bytes", [digest, 5000]])) == b"x" * 5000
    with pytest.raises(Malformed, match="size that was announced"):
        road.receive(road.document(["bytes", [digest, 4999]]))
    with pytest.raises(BlobMissing):
        road.receive(road.document(["bytes", ["0" * 64, 5]]))


def test_shared_parts_cannot_make_a_key_of_any_size(road: Road) -> None:
    nodes: list[list[Any]] = [["tuple", 1, 2]]
    nodes += [["tuple", [n], [n]] for n in range(60)]
    assert isinstance(road.receive(road.document(*nodes)), tuple)
    for last in (["set", [60]], ["dict", [[60]], [1]], ["frozenset", [60]]):
        with pytest.raises(Malformed, match="too large to be hashed"):
            road.receive(road.document(*nodes, last))


def test_a_deep_document_needs_no_stack(road: Road) -> None:
    nodes: list[list[Any]] = [["list"]]
    nodes += [["list", [n]] for n in range(100_000)]
    found = road.receive({"lepton": 1, "nodes": nodes, "root": [100_000]})
    for _ in range(100_000):  # taken apart by hand: Python frees it by recursion otherwise
        (found,) = found
    assert found == []


def _seeds() -> list[Any]:
    import datetime
    import decimal
    import pathlib
    import zoneinfo

    zone = zoneinfo.ZoneInfo("UTC")
    return [
        {"a": [1, 2.5, "x", None], (1, 2): {3, 4}, "b": b"x" * 10},
        [np.arange(4), np.array(["a", None], object), np.zeros(2, [("x", "f4"), ("y", "O")]), np.float32(1)],
        [datetime.datetime(2024, 1, 1, tzinfo=zone), decimal.Decimal("1.5"), pathlib.Path("x"), range(3), float("nan"),
        1 << 80],
        [np.ma.masked_array([1, 2], [0, 1]), np.random.default_rng(0), np.dtype([("a", "i4", (2,))])],
    ]  # fmt: skip


junk = st.recursive(
    st.none() | st.booleans() | st.integers(-3,
    1 << 70) | st.floats() | st.text(max_size=5) | st.just([0]) | st.just("<f8"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["base", "fields", "shape", "size"]),
    inner),
    max_leaves=4,
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_any_change_to_a_document_gives_a_value_or_our_error(road: Road, data: st.DataObject) -> None:
    doc = copy.deepcopy(road.encode(data.draw(st.sampled_from(_seeds()))).doc)
    for _ in range(data.draw(st.integers(1, 3))):
        place: Any = doc["nodes"]
        while isinstance(place, list) and place:
            index = data.draw(st.integers(0, len(place) - 1))
            if not isinstance(place[index], list) or data.draw(st.integers(0, 3)) == 0:
                place[index] = data.draw(junk)
                break
            place = place[index]
    try:
        found = road.receive(json.loads(json.dumps(doc)))
    except LeptonError:
        return
    assert values.describe(found)
    assert isinstance(values.preview(found), str)


def test_an_error_of_a_type_names_its_place(road: Road) -> None:
    class Odd:
        def __reduce__(self) -> Any:
            raise ValueError("odd")

    with pytest.raises(Untransferable, match=r"value\['a'\]\[0\] cannot be sent"):
        road.encode({"a": [Odd()]})
