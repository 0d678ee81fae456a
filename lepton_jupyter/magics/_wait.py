"""Waiting for a job in a cell: its questions are asked here, the stop button reaches it.

Runs in the notebook's kernel.
"""

from __future__ import annotations

import getpass
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from IPython.core.interactiveshell import InteractiveShell

from ..errors import LinkLost, RemoteError
from ..remote import Run

if TYPE_CHECKING:
    from ..widgets.card import Card

#: A second interrupt within this many seconds detaches.
_TWICE = 3.0
#: So often the buttons of a card are listened to, in seconds.
_LISTEN = 0.1
#: Jupyter interrupts a kernel before it restarts or ends it; so many seconds later it is known which of them was meant.
_MEANT = 0.4


def follow(run: Run, shell: InteractiveShell, card: Card | None = None, *, magic: str = "") -> bool:
    """Block until the job ends; whether it did.

    Raises what it ended with: RemoteError for the user's own exception, or a LeptonError.

    An interrupt goes to the remote cell; a second one within 3 s, or a click in `card`, leaves the job alone and
    returns at once. When this kernel itself is being ended, the job is left alone too, and LinkLost raised.

    What the host says of what the job left is said, also when it failed. `magic` is the line that sent the cell away:
    text that takes the cell's place (``%load``) begins with it too.
    """
    try:
        ended = _ends(run, shell, card)
    finally:
        if card is not None:
            card.left()
    if not ended:
        say(
            f"detached: job {run.job_id} runs on, and its outputs keep coming here.\n"
            f"Elsewhere: %lepton_attach {run.job_id}   To stop it: %lepton_cancel {run.job_id}"
        )
        return False
    for note in run.notes:
        say(note)
    for payload in run.payload:
        if payload.get("source") not in ("page", "set_next_input") or shell.payload_manager is None:
            continue
        if payload.get("replace") and magic:
            payload = {**payload, "text": f"{magic}\n{payload.get('text', '')}"}
        shell.payload_manager.write_payload(payload)
    if isinstance(run.error, RemoteError):
        _fail_quietly(shell, run.error)
    if run.error is not None:
        raise run.error
    return True


def _ends(run: Run, shell: InteractiveShell, card: Card | None) -> bool:
    """Block until the job ends (True) or is to be left alone (False). Raises LinkLost."""
    interrupted, passed_on = (time.monotonic(), False) if run.interrupted else (float("-inf"), True)
    while True:
        try:
            if not passed_on:
                time.sleep(0.02)
                if shell.exit_now:
                    hint = f"The job runs on. To see its outputs: %lepton_attach {run.job_id}"
                    raise LinkLost(f"this kernel is being shut down while job {run.job_id} runs", hint=hint)
                if run.over or time.monotonic() - interrupted > _MEANT:
                    run.interrupt()
                    passed_on = True
            elif run.wait(_LISTEN if card else None):
                return True
            elif card is not None and card.detached:
                return False
            elif run.question is not None:
                _, prompt, secret = run.question
                run.answer(getpass.getpass(prompt) if secret else input(prompt))
            elif card is not None:
                card.hear()
        except KeyboardInterrupt:
            if time.monotonic() - interrupted < _TWICE:
                if not passed_on:
                    run.interrupt()
                return False
            interrupted, passed_on = time.monotonic(), False


def say(text: str) -> None:
    """Tell the user something that is no output of the cell."""
    sys.stderr.write(f"lepton: {text}\n")
    sys.stderr.flush()


def _fail_quietly(shell: InteractiveShell, error: RemoteError) -> NoReturn:
    """Raise `error` so that the cell fails without showing it again: its traceback is among the outputs already."""
    former = shell.custom_exceptions, shell.CustomTB

    def shown(
        shell: Any, etype: type[BaseException], value: RemoteError, tb: TracebackType, tb_offset: int | None = None
    ) -> list[str]:
        shell.custom_exceptions, shell.CustomTB = former
        shell._last_traceback = value.traceback  # ipykernel puts it into the reply of the cell
        return value.traceback

    if RemoteError not in shell.custom_exceptions:  # ours waits still when a caller caught an earlier error
        shell.set_custom_exc((RemoteError,), shown)
    raise error
