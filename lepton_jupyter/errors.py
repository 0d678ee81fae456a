"""Every error this product raises on purpose, in one tree.

Runs everywhere, also on hosts: standard library only, Python 3.9.

::

    LeptonError                 what happened, and a hint that says what to do next
    ├── ConfigError             lepton.toml or an option is wrong          (the user's to mend)
    ├── MissingDependency       an extra is not installed                  (one pip command)
    ├── TargetError             the place to run                           (the host's to mend)
    │   ├── HostUnreachable     no connection                              (transient)
    │   ├── HostKeyUnknown      first contact: accept the fingerprint
    │   ├── HostKeyChanged      never accepted silently
    │   ├── AuthenticationFailed
    │   ├── InterpreterUnfit    no Python there, too old, or without ipykernel
    │   ├── CellUnfit           the host lacks what the cell needs; it was not run
    │   ├── HostStorage         read-only, full or foreign folder there
    │   └── LaunchFailed        the agent or its kernel did not start
    ├── LinkLost                the connection broke and did not return    (transient)
    ├── WireError               the two ends do not understand each other
    ├── BlobMissing             data is not where it is looked for         (send it again)
    │   └── BlobDamaged
    ├── StorageError            a bucket, or what lies in it
    │   └── StorageUnreachable  its service does not answer            (transient)
    ├── ValueRefused            a value does not travel
    │   ├── Untransferable      it has no safe form: names its place, its type and the choices
    │   ├── UnknownClass        its class is not known at this end
    │   └── Malformed           the bytes do not hold what they say they hold
    ├── JobError                a job is unknown, or cannot do that now
    │   ├── UnknownJob
    │   ├── IllegalMove
    │   └── CargoMissing        the host lacks part of what a cell brings (it is sent again)
    ├── KernelDied              the remote kernel ended in the middle of a cell
    └── RemoteError             the user's own exception, already shown as output

The docstring of a class is its default message. ``transient`` says whether trying again can help.
"""

from __future__ import annotations


class LeptonError(Exception):
    """Something went wrong in lepton_jupyter."""

    transient = False

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        self.hint = hint
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message

    def _render_traceback_(self) -> list[str]:
        """IPython's hook: words for the user, not the frames of our own code."""
        return [f"{type(self).__name__}: {self}"]


class ConfigError(LeptonError):
    """The configuration is not valid."""


class MissingDependency(LeptonError):
    """A package this feature needs is not installed."""


class TargetError(LeptonError):
    """The target cannot be used."""


class HostUnreachable(TargetError):
    """The host cannot be reached."""

    transient = True


class HostKeyUnknown(TargetError):
    """The host's key is not known yet."""


class HostKeyChanged(TargetError):
    """The host's key is not the one known for it."""


class AuthenticationFailed(TargetError):
    """The host refused the login."""


class InterpreterUnfit(TargetError):
    """The host has no Python that can run a kernel."""


class CellUnfit(TargetError):
    """The host lacks what the cell needs."""


class HostStorage(TargetError):
    """A folder on the host cannot be used."""


class LaunchFailed(TargetError):
    """The agent or its kernel did not start."""


class LinkLost(LeptonError):
    """The connection to the host is lost."""

    transient = True


class WireError(LeptonError):
    """The bytes from the other end do not follow the protocol."""


class BlobMissing(LeptonError):
    """The store of blobs does not have it."""


class BlobDamaged(BlobMissing):
    """The bytes of a blob do not match its digest."""


class StorageError(LeptonError):
    """What lies in cloud storage cannot be used."""


class StorageMissing(StorageError):
    """Nothing lies where a URL points."""


class StorageUnreachable(StorageError):
    """The storage service cannot be reached."""

    transient = True


class ValueRefused(LeptonError):
    """The value cannot be sent or received."""


class Untransferable(ValueRefused):
    """The value has no safe form to travel in."""


class UnknownClass(ValueRefused):
    """The class of the value is not known here."""


class Malformed(ValueRefused):
    """The bytes do not hold the value they say they hold."""


class JobError(LeptonError):
    """The job cannot do that."""


class UnknownJob(JobError):
    """There is no such job."""


class IllegalMove(JobError):
    """A job's state only moves forward."""


class CargoMissing(JobError):
    """Part of what the cell brings is not on the host."""


class KernelDied(LeptonError):
    """The remote kernel ended in the middle of the cell."""


class RemoteError(LeptonError):
    """The remote cell raised; its traceback is the cell's output.

    ``ename``, ``evalue`` and ``traceback`` are those of the Jupyter protocol's ``error`` message
    (https://jupyter-client.readthedocs.io/en/stable/messaging.html#execution-errors).
    """

    def __init__(self, ename: str, evalue: str, traceback: list[str]) -> None:
        super().__init__(f"{ename}: {evalue}" if evalue else ename)
        self.ename = ename
        self.evalue = evalue
        self.traceback = traceback

    def _render_traceback_(self) -> list[str]:
        """IPython's hook: show the remote traceback instead of the relay's own frames."""
        return self.traceback


#: How an error crosses the wire: by the name of its class. Only names in this table are made into errors.
BY_NAME: dict[str, type[LeptonError]] = {
    cls.__name__: cls
    for cls in (
        LeptonError, ConfigError, TargetError, InterpreterUnfit, HostStorage, LaunchFailed,
        LinkLost, WireError, BlobMissing, BlobDamaged, JobError, UnknownJob, IllegalMove, CargoMissing, KernelDied,
    )
}  # fmt: skip
