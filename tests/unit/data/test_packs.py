"""Many small files travel as a few packs: once, whole, and no further than what is still needed."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from lepton_jupyter.blobs import BlobStore
from lepton_jupyter.data import modules
from lepton_jupyter.data._packing import FEWEST, FULL, SMALL
from lepton_jupyter.data.files import Collected, collect, place
from lepton_jupyter.errors import WireError

_LONG_AGO = time.time() - 1000


class Bed:
    """A folder with many small files, a store and what is remembered of it."""

    def __init__(self, root: Path) -> None:
        self.base, self.there, self._root = root / "base", root / "there", root
        self.store = BlobStore(str(root / "store"))
        (self.base / "many").mkdir(parents=True)
        for number in range(2 * FEWEST):
            self.write(number, f"{number}" * 100)

    def write(self, number: int, text: str) -> None:
        path = self.base / "many" / f"{number:03}.txt"
        path.write_text(text)
        os.utime(path, (_LONG_AGO, _LONG_AGO + len(text)))

    def collect(self) -> Collected:
        return collect(["many"], str(self.base), self.store, str(self._root / "digests"))

    def arrives(self, found: Collected) -> bool:
        """Whether a host that has just these blobs gets the folder as it is here."""
        host = BlobStore(str(self._root / f"host-{time.monotonic_ns()}"))
        for digest in found.blobs:
            assert host.put(Path(self.store.path(digest)).read_bytes()) == digest
        place(*json.loads(json.dumps([found.tree])), host, str(self.there), json.loads(json.dumps(found.packs)))
        return self.texts(self.there) == self.texts(self.base)

    @staticmethod
    def texts(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (folder / "many").iterdir()}


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(tmp_path)


def test_many_small_files_are_one_blob_and_a_changed_one_travels_alone(bed: Bed) -> None:
    first = bed.collect()
    assert len(first.blobs) == len(first.packs) == 1
    assert bed.arrives(first)
    bed.write(7, "changed")
    second = bed.collect()
    news = set(second.blobs) - set(first.blobs)
    assert [second.blobs[digest] for digest in news] == [len("changed")]
    assert set(first.blobs) < set(second.blobs)
    assert bed.arrives(second)


def test_what_was_packed_is_not_read_again(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    first = bed.collect()
    monkeypatch.setattr("lepton_jupyter.data._collecting.Collector._read", None)
    (pack,) = first.packs
    os.utime(bed.store.path(pack), (_LONG_AGO, os.stat(bed.store.path(pack)).st_mtime))
    assert bed.collect() == first
    assert (bed.base.parent / "store" / pack[:2] / pack).stat().st_atime > _LONG_AGO + 100, "it counts as used"


def test_few_files_are_blobs_of_their_own(bed: Bed) -> None:
    for path in sorted((bed.base / "many").iterdir())[FEWEST - 1 :]:
        path.unlink()
    found = bed.collect()
    assert not found.packs and len(found.blobs) == FEWEST - 1


def test_a_pack_of_which_little_is_needed_stays_behind(bed: Bed) -> None:
    first = bed.collect()
    for path in sorted((bed.base / "many").iterdir())[10:]:
        path.unlink()
    second = bed.collect()
    assert not set(first.blobs) & set(second.blobs) and len(second.blobs) == 10
    assert bed.arrives(second)
    assert bed.collect() == second


def test_a_pack_that_is_gone_is_made_again(bed: Bed) -> None:
    first = bed.collect()
    (pack,) = first.packs
    os.unlink(bed.store.path(pack))
    assert bed.collect() == first and bed.store.has(pack)


def test_large_files_and_full_packs(bed: Bed) -> None:
    (bed.base / "many" / "large").write_bytes(os.urandom(SMALL + 1))
    for number in range(100, 100 + FULL // SMALL + FEWEST):
        (bed.base / "many" / f"{number}.txt").write_bytes(os.urandom(SMALL))
    found = bed.collect()
    assert len(found.packs) == 2 and len(found.blobs) == 3
    assert all(size < FULL + SMALL for size in found.sizes.values())
    assert bed.arrives(found)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda packs: {pack: {digest: at + 1 for digest, at in places.items()} for pack, places in packs.items()},
        lambda packs: {pack: dict.fromkeys(places, 1 << 40) for pack, places in packs.items()},
        lambda packs: {pack: dict.fromkeys(places, -1) for pack, places in packs.items()},
        lambda packs: {pack: list(places) for pack, places in packs.items()},
        lambda packs: [*packs],
        lambda packs: {f"../{pack}": places for pack, places in packs.items()},
    ],
    ids=["other bytes", "behind its end", "before its start", "no places", "no packs", "no digest"],
)
def test_packs_that_are_none_are_refused(bed: Bed, spoil: Any) -> None:
    found = bed.collect()
    with pytest.raises(WireError):
        place(found.tree, bed.store, str(bed.there), spoil(found.packs))
    assert not bed.there.exists() or not list(bed.there.glob("many/*.txt"))


def test_a_module_of_many_small_files_is_packed_too(tmp_path: Path) -> None:
    package = tmp_path / "near" / "lepton_many_files"
    package.mkdir(parents=True)
    for name in ["__init__", *(f"part{number}" for number in range(FEWEST))]:
        (package / f"{name}.py").write_text(f"here = {name!r}\n")
    store = BlobStore(str(tmp_path / "store"))
    found = modules.find(["lepton_many_files"], tmp_path / "near", store)
    assert len(found.blobs) == len(found.packs) == 1
    folders = modules.install(found.tree, store, str(tmp_path / "modules"), found.packs)
    there = Path(folders["lepton_many_files"]) / "lepton_many_files"
    assert {path.name for path in there.iterdir()} == {path.name for path in package.iterdir()}
    assert (there / "part3.py").read_text() == "here = 'part3'\n"
