"""Job cards in cells: `--card` of a cell that runs, `%lepton_card` for any job. Runs in the notebook's kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from ..errors import UnknownJob
from ..job import Job
from ..outputs import KernelView, View
from ..remote import Run
from ..widgets import static
from ._process import dispatcher, parent_of

#: A job that has ended without our knowing shows its end in the cell that asked, when it arrives in so many seconds.
_CATCH_UP = 0.5


def carded_view(shell: InteractiveShell, made: list[Any], *, outputs: bool, waits: bool) -> Callable[[Run], View]:
    """Makes the view that shows a run in the present cell under its card, or with `outputs` False the card alone.

    The `Card` is put into `made`. `waits`: the cell blocks until the job ends. For a shell that is a Jupyter kernel.
    """
    from ..widgets.card import Card, CardView  # ipywidgets takes its time

    parent, kernel = parent_of(shell), getattr(shell, "kernel", None)
    assert kernel is not None

    def make(run: Run) -> View:
        everything = dispatcher()
        card = Card(
            kernel,
            run,
            everything.store.get(run.job_id),
            price=price_of(run.where),
            waited_for=waits,
            cancel=lambda: everything.cancel(run.job_id),
        )
        view = KernelView(kernel, parent, run.send_comm, above=card.content)
        made.append(card)
        card.start(view.redraw_above)
        return CardView(card, view if outputs else None)

    return make


def show_card(shell: InteractiveShell, job_id: str, on: str) -> None:
    """Show the card of any job in the present cell, live while it runs. Raises like `Dispatcher.attach`."""
    everything = dispatcher()
    try:
        job = everything.store.get(job_id)
    except UnknownJob:
        if not on:
            raise
    else:
        if job.state.final or not parent_of(shell):
            return _show_picture(job)
    run = everything.attach(job_id, carded_view(shell, [], outputs=False, waits=False), on=on)
    run.wait(_CATCH_UP)
    return None


def _show_picture(job: Job) -> None:
    facts = static.facts_of(job, price_of(job.spec.target))
    display(static.bundle(facts), raw=True, metadata=static.metadata(job.job_id))


def price_of(target: str) -> float:
    """What an hour on a target costs; 0 when that is not known, or the target is not known any more."""
    known = dispatcher().config.targets.get(target)
    price = known.options.get("price_per_hour", 0) if known else 0
    return float(price) if isinstance(price, int | float) else 0.0
