"""How outputs come home to their notebook, whoever writes them there. Each scene gets an `open_page`."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import expect

from lepton_jupyter.server.notebooks.cells import same
from tests.ui._page import PATIENCE, NotebookPage
from tests.ui._scenes import gated, stream
from tests.ui.conftest import Open

#: Each sets `window.broken` where a script in it is run.
HOSTILE = """from IPython.display import HTML, SVG, Markdown, Javascript
display(HTML("<script>window.broken = 'script'</script><img src=x onerror='window.broken = 1'><b>bold</b>"))
svg = "<svg xmlns='http://www.w3.org/2000/svg' onload='window.broken = 2'><script>window.broken = 3</script></svg>"
display(SVG(svg))
display(Markdown("**strong** <img src=x onerror='window.broken = 4'> <script>window.broken = 5</script>"))
display(Javascript("window.broken = 6"))
print("<img src=x onerror='window.broken = 7'><script>window.broken = 8</script>")
raise ValueError("<img src=x onerror='window.broken = 9'>")"""


#: Two outputs each: 200 when the page is reloaded, 400 at the end.
HALF, ALL = 100, 200
_RECORD = """async path => {
    const { baseUrl } = window.jupyterapp.serviceManager.serverSettings;
    const { jobs } = await (await fetch(`${baseUrl}lepton/api/jobs?limit=0`)).json();
    return jobs.find(job => job.path === path)?.written ?? {};
}"""


def until(true: Callable[[], Any]) -> Any:
    """Wait for something outside the page."""
    deadline = time.monotonic() + PATIENCE
    while not (found := true()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.1)
    return found


def in_file(path: Path, number: int) -> list[Any]:
    """The outputs of a cell in the file; none while somebody is writing it."""
    try:
        return list(nbformat.read(path, as_version=4).cells[number].outputs)
    except nbformat.reader.NotJSONError:
        return []


def record(page: NotebookPage) -> dict[str, Any]:
    """What the server noted of the newest job of a notebook: what of its outputs came home, and how."""
    return dict(page.page.evaluate(_RECORD, page.path.name))


def asks_nothing(page: NotebookPage) -> None:
    """No dialog is open, above all not "File Changed"."""
    expect(page.page.locator(".jp-Dialog")).to_have_count(0)


def counted(start: int, end: int) -> str:
    """Code that makes outputs of two kinds, so that each is one of its own."""
    shown = "display({'text/plain': f'shown {n}'}, raw=True)"
    return f"for n in range({start}, {end}):\n    print('line', n)\n    {shown}"


def outputs_of(end: int) -> list[dict[str, Any]]:
    """What `counted` leaves up to `end`; at the half, a stream that is to grow."""
    found: list[dict[str, Any]] = []
    for n in range(end):
        above = "half\n" if n == HALF else ""
        shown = {"output_type": "display_data", "data": {"text/plain": f"shown {n}"}, "metadata": {}}
        found += [stream(f"{above}line {n}\n"), shown]
    return [*found, stream("half\n")] if end == HALF else found


def a_page_that_is_reloaded_in_the_middle_ends_complete(open_page: Open, gate: Path) -> None:
    page = open_page("%%lepton_train\n" + gated(gate, counted(0, HALF) + "\nprint('half')", counted(HALF, ALL)))
    page.saved()  # with what JupyterLab adds to a new notebook
    page.run_all()
    until(lambda: page.held(1) == outputs_of(HALF))
    page.reload()
    until(lambda: page.held(1) == outputs_of(HALF))
    gate.touch()
    until(lambda: page.held(1) == outputs_of(ALL))
    until(lambda: same(in_file(page.path, 1), outputs_of(ALL)))
    asks_nothing(page)
    assert same(page.saved()[1].outputs, outputs_of(ALL))
    asks_nothing(page)


def a_job_that_ends_while_no_page_is_open_is_there_at_the_next_look(
    open_page: Open, gate: Path, trusted: bool = True
) -> None:
    page = open_page("%%lepton_train\n" + gated(gate, "print('first')", "print('last')"))
    page.saved()
    page.run_all()
    page.sees(1, "first")
    page.page.close()
    gate.touch()
    until(lambda: same(in_file(page.path, 1), [stream("first\nlast\n")]))
    again = open_page(again=page.path)
    again.sees(1, "first\nlast")
    assert not again.dirty
    assert again.page.evaluate(TRUSTED) == [trusted, trusted]
    again.saved()
    asks_nothing(again)
    assert same(in_file(page.path, 1), [stream("first\nlast\n")])


def scripts_in_what_comes_home_do_nothing_in_the_page(open_page: Open, gate: Path) -> None:
    page = open_page("%%lepton_train\n" + gated(gate, "print('first')", HOSTILE))
    page.saved()
    page.run_all()
    page.sees(1, "first")
    page.reload()
    page.sees(1, "first")
    gate.touch()
    _shows_it_harmlessly(page)
    until(lambda: len(in_file(page.path, 1)) > 5)
    page.reload()
    _shows_it_harmlessly(page)


def scripts_in_what_comes_home_do_nothing_in_the_file(open_page: Open, gate: Path) -> None:
    page = open_page("%%lepton_train\n" + gated(gate, "print('first')", HOSTILE))
    page.run_all()
    page.sees(1, "first")
    page.page.close()
    gate.touch()
    until(lambda: len(in_file(page.path, 1)) > 5)
    again = open_page(again=page.path)
    _shows_it_harmlessly(again)


def _shows_it_harmlessly(page: NotebookPage) -> None:
    page.sees(1, "first")
    page.sees(1, "ValueError")
    expect(page.cell(1).locator("b", has_text="bold")).to_be_visible()
    expect(page.cell(1).locator("strong", has_text="strong")).to_be_visible()
    page.sees(1, "<script>window.broken = 8</script>")
    page.page.wait_for_timeout(500)
    assert page.page.evaluate("window.broken") is None
    expect(page.cell(1).locator(".jp-OutputArea script")).to_have_count(0)


TRUSTED = "() => [...window.jupyterapp.shell.currentWidget.content.model.cells].map(cell => cell.trusted)"
