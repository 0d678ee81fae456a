"""Where files that travel begin and arrive."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.data._files import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "blobs")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "base").mkdir()
    return tmp_path / "base"


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return tmp_path / "there"
