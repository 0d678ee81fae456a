"""What shows a job: the protocol that every view follows."""

from __future__ import annotations

from typing import Protocol

from ..wire import Event


class View(Protocol):
    """Where a job's outputs appear. Called from one thread at a time, in order of the events."""

    def show(self, event: Event) -> None:
        """Show one event of the job."""

    def notice(self, text: str) -> None:
        """Show one line about the job that is no output of it; ``""`` takes it away."""
