"""A target that is watched: its host, sampled as often as somebody looks.

Runs in the notebook's kernel, the server and the command line.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ..client import AgentClient, Link
from ..targets._base import READER, Target
from ..wire import Event
from .samples import clean_sample

OnSample = Callable[[dict[str, Any]], None]
OnLink = Callable[[Link, str], None]
_log = logging.getLogger(__name__)


class Watch:
    """Samples of a target's host until `close`, through reconnects. No kernel has to run there.

    `on_sample` and `on_link` are called from a thread of the link, one at a time. Raises TargetError when the target
    cannot be reached.
    """

    def __init__(self, target: Target, on_sample: OnSample, on_link: OnLink | None, every: float) -> None:
        self._on_sample = on_sample
        tell = on_link or (lambda link, words: None)
        self._client = AgentClient(lambda: target.open(READER), _ignore, tell)
        self._client.watch(every, self._take)

    @property
    def latency(self) -> float | None:
        """Seconds of a round trip to the host, of late; None while that is not known."""
        return self._client.latency

    def close(self) -> None:
        """Look no longer. Closing twice is harmless."""
        self._client.close()

    def _take(self, sample: dict[str, Any]) -> None:
        try:
            self._on_sample(clean_sample(sample))
        except Exception:  # noqa: BLE001 - who shows samples must not end the link
            _log.exception("a sample could not be shown")


def _ignore(event: Event) -> None:
    """No job is followed here."""
