"""Notebooks, and hosts that have few programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.environment._asked import MakeNotebook, Program


@pytest.fixture
def notebook(tmp_path: Path) -> MakeNotebook:
    """A function that writes a notebook with these code cells; no project is above its folder."""
    (tmp_path / "work" / ".git").mkdir(parents=True)

    def write(*cells: str, folder: str = "work", markdown: str = "import markdown_is_no_code") -> Path:
        path = tmp_path / folder / "train.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        listed = [{"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells]
        path.write_text(json.dumps({"nbformat": 4, "cells": [{"cell_type": "markdown", "source": markdown}, *listed]}))
        return path

    return write


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """A function that puts a shell script on the PATH, which has nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def write(name: str, text: str) -> Path:
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
        return folder / name

    return write
