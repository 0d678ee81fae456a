"""Vendors' tools that print what real ones printed, put first on PATH."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

#: Installs a tool: its name, and for each word that may be in its command line what it prints ("" = always).
Install = Callable[[str, dict[str, str]], Path]


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def install(name: str, says: dict[str, str]) -> Path:
        path = folder / name
        path.write_text(
            f"#!{sys.executable}\nimport sys\n"
            f"for word, text in {says!r}.items():\n"
            "    if word in ' '.join(sys.argv):\n"
            "        sys.stdout.reconfigure(encoding='utf-8'); print(text); sys.exit(0)\n"
            "sys.exit('unknown option')\n"
        )
        path.chmod(0o755)
        return path

    sys.modules.pop("pynvml", None)
    yield install
    sys.modules.pop("pynvml", None)  # some tests bring one of their own
