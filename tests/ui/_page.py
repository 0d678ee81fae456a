"""One notebook in a browser tab, as the person before it sees and touches it. In the test process.

JupyterLab and Notebook 7 are built of the same parts, so one class serves both. Cell 0 loads our extension.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import Locator, Page, expect

#: Seconds: longer than anything takes on a busy machine; a test that needs it has failed.
PATIENCE = 90.0

_OPENED = "window.jupyterapp?.shell.currentWidget?.sessionContext !== undefined"
# All plugins are there. A cell that is run before the page has found its old kernel makes JupyterLab start a new one.
_LOADED = """async () => {
    await window.jupyterapp.restored;
    const panel = window.jupyterapp.shell.currentWidget;
    await panel.context.ready;
    await panel.sessionContext.ready;
}"""
_READY = f"""async () => {{
    await ({_LOADED})();
    await window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.info;
}}"""
# Done is what was started last; an earlier cell may end meanwhile.
_START = """command => {
    window.leptonDone = false;
    const mine = window.leptonStarted = {};
    window.jupyterapp.commands.execute(command).finally(() => { window.leptonDone = window.leptonStarted === mine; });
}"""
_EXECUTE = "async command => { await window.jupyterapp.commands.execute(command); }"
# jupyter-collaboration never answers a save whose task a change cancels before it began; it saves by itself soon after.
_SAVE = """async patience => {
    const collaborative = window.jupyterapp.shell.currentWidget.context.model.collaborative;
    const saved = window.jupyterapp.commands.execute("docmanager:save").then(() => true);
    return Promise.race([saved, new Promise(ready => setTimeout(() => ready(collaborative), patience))]);
}"""
_WRITE = """([number, source]) => {
    const cells = window.jupyterapp.shell.currentWidget.content;
    cells.activeCellIndex = number;
    if (source) cells.activeCell.model.sharedModel.setSource(source);
}"""


_SOURCE = "number => window.jupyterapp.shell.currentWidget.content.model.cells.get(number).sharedModel.getSource()"
_OUTPUTS = "number => window.jupyterapp.shell.currentWidget.content.model.cells.get(number).outputs.toJSON()"
_DIRTY = "() => window.jupyterapp.shell.currentWidget.context.model.dirty"


class NotebookPage:
    """Cells are named by their number. What waits, waits `PATIENCE` and then fails the test."""

    def __init__(self, page: Page, url: str, path: Path, *, busy: bool = False) -> None:
        self.page, self.path = page, path
        # JupyterLab says so in a dialog when it notices a cut, sooner or later; a person closes it and goes on.
        cut = page.locator(".jp-Dialog", has_text="Server Connection Error")
        page.add_locator_handler(cut, lambda dialog: dialog.get_by_role("button", name="Close").click())
        page.goto(url)
        page.wait_for_function(_OPENED)
        page.evaluate(_LOADED if busy else _READY)

    # what one does

    def run_all(self) -> None:
        """Start `Run All`; returns at once."""
        self.page.evaluate(_START, "notebook:run-all-cells")

    def run(self, number: int, source: str = "") -> None:
        """Start one cell, with another source if given; returns at once."""
        self.page.evaluate(_WRITE, [number, source])
        self.page.evaluate(_START, "notebook:run-cell")

    def finish(self) -> None:
        """Wait until what was started last is over, be it well or not."""
        self.page.wait_for_function("window.leptonDone")

    def restart(self) -> None:
        """Restart the kernel, as asked for in a dialog."""
        self.page.evaluate(_START, "notebook:restart-kernel")
        self.page.locator(".jp-Dialog .jp-mod-accept").click()
        self.finish()
        self.page.evaluate(_READY)

    def reload(self) -> None:
        """Load the page anew; the kernel is the old one."""
        self.page.reload()
        self.page.wait_for_function(_OPENED)
        self.page.evaluate(_LOADED)

    def edit(self, number: int, source: str) -> None:
        """Type `source` into a cell, in place of what it held."""
        self.cell(number).locator(".cm-content").click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.type(source)
        self.page.keyboard.press("Escape")

    def execute(self, command: str) -> None:
        """Carry out a command of the application, to its end."""
        self.page.evaluate(_EXECUTE, command)

    def press(self, command: str) -> None:
        """Press the button of the notebook's toolbar that is bound to `command`."""
        self.page.locator(f'.jp-NotebookPanel-toolbar [data-command="{command}"]').click()

    # what one sees

    def cell(self, number: int) -> Locator:
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(number)

    def outputs(self, number: int) -> Locator:
        """Each output of a cell."""
        return self.cell(number).locator(".jp-OutputArea-output")

    def text(self, number: int) -> str:
        """All that a cell shows now."""
        return "".join(self.outputs(number).all_text_contents())

    def sees(self, number: int, text: str) -> None:
        """Wait until a cell shows `text`."""
        expect(self.cell(number).locator(".jp-OutputArea").first).to_contain_text(text)

    def sees_no(self, number: int, text: str) -> None:
        """Wait until a cell does not show `text` (any more)."""
        expect(self.cell(number).locator(".jp-OutputArea").first).not_to_contain_text(text)

    def runs(self, number: int) -> None:
        """Wait until a cell is marked as running."""
        expect(self.cell(number).locator(".jp-InputPrompt")).to_have_text("[*]:")

    def ran(self, number: int, count: int) -> None:
        """Wait until a cell has ended as the `count`-th of its kernel."""
        expect(self.cell(number).locator(".jp-InputPrompt")).to_have_text(f"[{count}]:")

    def source(self, number: int) -> str:
        """What is typed in a cell."""
        return str(self.page.evaluate(_SOURCE, number))

    def held(self, number: int) -> list[Any]:
        """All outputs of a cell's model; the page itself shows but the first fifty."""
        return list(self.page.evaluate(_OUTPUTS, number))

    @property
    def dirty(self) -> bool:
        """Whether there is something to be saved."""
        return bool(self.page.evaluate(_DIRTY))

    # what is left on disk

    def saved(self) -> list[Any]:
        """Save the notebook; its cells as they are in the file."""
        assert self.page.evaluate(_SAVE, PATIENCE * 1000 / 3), "the notebook was not saved"
        return list(nbformat.read(self.path, as_version=4).cells)
