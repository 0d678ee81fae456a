"""The soak in small, so that it works when it is wanted, and so that every test run cuts at random."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak import Soak, Tally


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ten_random_cuts_lose_nothing(tmp_path: Path, home: Path) -> None:
    said: list[str] = []
    tally = Soak(tmp_path, cuts=10, seed=20, lanes=2, lines=1000, mark=str(home)).run(said.append)
    assert tally.good, tally.report()
    assert sum(tally.cuts.values()) == 10
    assert said


@pytest.mark.parametrize("what", ["lost", "twice", "reordered", "unequal"])
def test_what_is_lost_or_comes_twice_fails_the_soak(what: str) -> None:
    assert Tally(jobs=1).good
    assert not Tally(jobs=1, **{what: 1}).good
    assert not Tally(jobs=0).good
