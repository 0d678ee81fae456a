"""A real JupyterLab before a real browser, on the bed. Runs in the benchmark's own process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ._bed import ROOT, Bed, Failed

if TYPE_CHECKING:
    from tests.ui._site import Site


@contextmanager
def site(bed: Bed, folder: Path) -> Iterator[Site]:
    """Serve `folder`/notebooks, with the state and the lepton.toml of `folder`. Raises Failed without a browser."""
    try:
        import pytest

        from tests.ui._site import chromium, serve
    except ImportError as error:
        raise Failed(f"no browser to measure in ({error}); pip install 'lepton-jupyter[test]'") from error
    if not (ROOT / "lepton_jupyter" / "labextension" / "package.json").exists():
        raise Failed("the sidebar is not built; make build")
    try:
        with chromium() as browser, serve("lab", browser, folder, ROOT, environ=bed.env) as lab:
            yield lab
    except pytest.fail.Exception as error:
        raise Failed(str(error)) from error
