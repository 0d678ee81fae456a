"""Fixtures of the tests of values."""

from __future__ import annotations

import pytest

from tests.unit.values._road import Road


@pytest.fixture(scope="module")
def road(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Road:
    """A road for the values of one file of tests; made once, so that hypothesis may use it."""
    return Road(tmp_path_factory.mktemp("blobs"), request.module.__name__)
