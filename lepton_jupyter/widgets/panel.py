"""The live card in a browser: four pieces of HTML and two buttons, of ipywidgets. Runs in the notebook's kernel.

Its methods may be called from any thread. A piece is sent only when it changed, so a card at rest sends nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ipywidgets.widgets.widget_box import HBox, VBox
from ipywidgets.widgets.widget_button import Button
from ipywidgets.widgets.widget_string import HTML

from . import static
from .clicks import Clicks

_PIECES = (static.head, static.progress, static.chart, static.resources)


class Panel:
    """The widgets of one card. `stop` and `detach` are called when their buttons are clicked, and must return at once.

    Without `detach` there is no button for it: no cell waits for the job.
    """

    def __init__(
        self, kernel: Any, facts: static.Facts, stop: Callable[[], None], detach: Callable[[], None] | None
    ) -> None:
        self._clicks = Clicks.of(kernel)
        self._pieces = [HTML(piece(facts)) for piece in _PIECES]
        self._stop = self._button("Stop", "Interrupt the cell there: its variables stay", stop)
        self._detach = detach and self._button("Detach", "End this cell; the job runs on and can be seen here", detach)
        self._buttons = [button for button in (self._stop, self._detach) if button]
        row = HBox(self._buttons)
        self._box = VBox([*self._pieces, row])
        self._box.add_class("lepton-card-live")
        self._all = [self._box, *self._pieces, row, *self._buttons]

    @property
    def model_id(self) -> str:
        return str(self._box.model_id)

    def update(self, facts: static.Facts) -> None:
        """Show `facts`."""
        for widget, piece in zip(self._pieces, _PIECES, strict=True):
            shown = piece(facts)
            if widget.value != shown:
                widget.value = shown

    def stopping(self) -> None:
        """The job was asked to stop; the same button can now make sure of it."""
        self._stop.description = "Stop for good"
        self._stop.tooltip = "End the kernel there and all it started: its variables are lost"

    def detached(self) -> None:
        """No cell waits for the job any more."""
        if self._detach:
            self._detach.layout.display = "none"

    def close(self) -> None:
        """Take the widgets away, here and in the browser. Closing twice is harmless."""
        for button in self._buttons:
            self._clicks.remove(button.model_id)
        for widget in self._all:
            for part in (getattr(widget, "style", None), widget.layout, widget):
                if part is not None:
                    part.close()
        self._all, self._buttons = [], []

    def _button(self, label: str, tooltip: str, pressed: Callable[[], None]) -> Button:
        button = Button(description=label, tooltip=tooltip)
        button.on_click(lambda _: pressed())  # where the front end's message comes by the usual road
        self._clicks.add(button.model_id, pressed)
        return button
