"""The accelerators of a host, whoever made them. Runs in the agent's sampling thread, and in the reader's.

What a tool does not say is None, never an error: a driver that hangs or a format of tomorrow must not cost a job.
"""

from __future__ import annotations

import time

from . import amd, nvidia, tpu
from .vendor import Device, Vendor, device

#: Seconds for which a tool that failed is not asked again.
_REST = 30.0


class Devices:
    """All accelerators of this host. What tools there are is found out at the first look."""

    def __init__(self) -> None:
        self._vendors: list[Vendor] | None = None
        self._known: dict[int, list[Device]] = {}  # by place in the list: so a tool that fails still has its devices
        self._rest_until: dict[int, float] = {}

    def read(self) -> list[Device]:
        """The devices now."""
        if self._vendors is None:
            self._vendors = _present()
        found: list[Device] = []
        for place, vendor in enumerate(self._vendors):
            now = time.monotonic()
            devices = vendor.read() if now >= self._rest_until.get(place, 0.0) else None
            if devices is not None:
                self._known[place] = devices
            elif now >= self._rest_until.get(place, 0.0):
                self._rest_until[place] = time.monotonic() + _REST
            found += devices if devices is not None else [_silent(device) for device in self._known.get(place, [])]
        return found


def _present() -> list[Vendor]:
    found = (vendor.find() for vendor in (nvidia, amd, tpu))
    return [vendor for vendor in found if vendor is not None]


def _silent(known: Device) -> Device:
    """A device of which nothing is known at present but its name and size."""
    return device(known["kind"], known["index"], known["name"], memory_total=known["memory_total"])
