"""Our sidebar in a browser tab, as the person before it sees and touches it. In the test process."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

#: Once the layout is what it was: to restore it may hide what was shown before.
_ACTIVATE = """async () => {
    await window.jupyterapp.restored;
    await window.jupyterapp.commands.execute("lepton:activate");
}"""
#: The plugin that has our settings. Tests' jobs are short: with `notifyAfter=0` they are told of all the same.
PLUGIN = "lepton-jupyter/plugin"
#: Every toast that was ever shown, since they go by themselves.
KEEP_TOASTS = """
window.toasts = [];
new MutationObserver(changes => changes.forEach(({ addedNodes }) => addedNodes.forEach(node => {
    if (node instanceof Element) {
        const found = [...node.querySelectorAll('.Toastify__toast')];
        (node.matches('.Toastify__toast') ? [node, ...found] : found).forEach(one => window.toasts.push(one));
    }
}))).observe(document, { childList: true, subtree: true });
"""


class Sidebar:
    """What waits, waits as long as `expect` does and then fails the test."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.node = page.locator("#lepton-sidebar")
        self.list = self.node.get_by_role("listbox", name="Jobs")
        self.rows = self.node.locator(".lp-Job")

    # what one does

    def open(self) -> Sidebar:
        """Show it by its command; on return it is live."""
        self.page.evaluate(_ACTIVATE)
        expect(self.node).to_be_visible()
        self.says("live")
        return self

    def act(self, row: Locator, label: str) -> None:
        """Press a button of a row."""
        row.hover()
        self.node.locator(".lp-JobActions").get_by_role("button", name=label, exact=True).click()

    def stop(self, row: Locator) -> None:
        """Stop a job, and say yes to the question."""
        self.act(row, "Stop…")
        self.page.locator(".jp-Dialog .jp-mod-accept").click()

    def filter(self, text: str) -> None:
        self.node.get_by_role("searchbox").fill(text)

    def chip(self, word: str) -> Locator:
        """The chip of a state, by its word."""
        return self.node.locator(".lp-Chip", has_text=re.compile(rf"^{word} "))

    # what one sees

    def row(self, title: str) -> Locator:
        """The rows whose title contains `title`."""
        return self.rows.filter(has=self.page.locator(".lp-Job-title", has_text=title))

    def state(self, title: str, word: str) -> None:
        """Wait until the row says this of its job's state."""
        expect(self.row(title).locator(".lp-Job-state")).to_have_text(word)

    def says(self, words: str) -> None:
        """Wait until the head says how the server is heard."""
        expect(self.node.locator(".lp-Stream")).to_contain_text(words)

    def target(self, name: str) -> Locator:
        return self.node.locator(f'.lp-Target[data-target="{name}"]')

    @property
    def toasts(self) -> list[str]:
        """Every notification that this page showed, oldest first; needs `KEEP_TOASTS` from its start."""
        return [str(text) for text in self.page.evaluate("window.toasts.map(toast => toast.textContent)")]


def progress(row: Locator) -> int:
    """How far a row's bar is, in percent; -1 when it has none (yet)."""
    bar = row.get_by_role("progressbar")
    return int(bar.get_attribute("aria-valuenow") or -1) if bar.count() else -1
