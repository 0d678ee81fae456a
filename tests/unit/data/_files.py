"""What tests of files that travel share: a store that counts, files to send, trees to place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lepton_jupyter.blobs import BlobStore

FILE, PROGRAM, LINK, FOLDER = 0o100644, 0o100755, 0o120000, 0o040000


class Store(BlobStore):
    """Counts what is read."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self.read_files: list[str] = []

    def put_file(self, path: str) -> str:
        self.read_files.append(os.path.basename(path))
        return super().put_file(path)


def write(base: Path, **files: str) -> None:
    """``a__b_txt="…"`` is the file a/b.txt; a leading D is a dot."""
    for name, text in files.items():
        path = base / name.replace("__", "/").replace("_", ".").replace("D", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def listing(folder: Path) -> set[str]:
    return {
        str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir() and not p.name.startswith(".lepton-")
    }


def tree_of(store: BlobStore, **files: str) -> dict[str, Any]:
    return {name: [store.put(text.encode()), len(text.encode()), FILE] for name, text in files.items()}
