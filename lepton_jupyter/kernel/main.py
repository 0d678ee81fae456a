"""The kernel process itself: ipykernel with a few small changes. Runs on the host; owned by the agent.

1. Its output socket never drops a message (ZeroMQ's default drops the 1001st that waits).
2. A cell may bring the number it has in the user's notebook, so that tracebacks name the cell the user sees.
3. A cell may bring cargo: values, code and files that are put in place before it runs. What it shall leave for the
   notebook goes with its reply.
4. What its training does is told while it runs: loss, steps a second, epoch.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .metering import Metering
    from .staging import Staging


def main() -> None:
    """Run until told to stop, as `python -m ipykernel_launcher` does."""
    import zmq
    from ipykernel.ipkernel import IPythonKernel
    from ipykernel.kernelapp import IPKernelApp

    class LeptonKernel(IPythonKernel):
        _staging: Staging | None = None
        _metering: Metering | None = None
        _about: dict[str, Any] | None = None

        async def execute_request(self, stream: Any, ident: Any, parent: Any) -> None:
            metadata = parent.get("metadata", {})
            if metadata.get("execution_count"):
                self.shell.execution_count = metadata["execution_count"]  # type: ignore[union-attr]
            self._about = metadata.get("lepton")
            await super().execute_request(stream, ident, parent)  # type: ignore[no-untyped-call]

        async def do_execute(self, code: str, silent: bool, *args: Any, **options: Any) -> Any:
            about, self._about = self._about, None
            if about is None:
                return await super().do_execute(code, silent, *args, **options)  # type: ignore[no-untyped-call]
            staging = self._stage()
            staging.begin(about)
            failed = staging.bring_in() if about.get("cargo") else None
            if failed is not None:
                return failed
            with ExitStack() as around:
                try:
                    self._prepare(staging, about, around)
                except BaseException as error:  # noqa: BLE001 - without a reply the job would never end
                    return staging.failure(error)
                reply = await super().do_execute(code, silent, *args, **options)  # type: ignore[no-untyped-call]
            left = staging.take_out(reply.get("status") == "ok")
            return {**reply, "lepton": left} if left else reply

        def _stage(self) -> Staging:
            """Made at the first cell; imports little."""
            if self._staging is None:
                from .staging import Staging

                self._staging = Staging(self)
            return self._staging

        def _prepare(self, staging: Staging, about: dict[str, Any], around: ExitStack) -> None:
            """What is put around the cell: its metrics are told, its checkpoints kept, and it trains as was asked."""
            if self._metering is None:
                from .metering import Metering

                self._metering = Metering(self)
            around.enter_context(self._metering.told())
            training, checkpoints = staging.training, None
            if training.get("cell"):
                from .checkpoints import Bucket, Checkpoints, Folder

                folder = Folder(os.path.join(about["root"], "checkpoints", training["cell"]), about["job"])
                url = str(about.get("artifacts", ""))
                bucket = None
                if url:
                    where = f"{url.rstrip('/')}/checkpoints/{training['cell']}"
                    bucket = Bucket(where, staging.store, about.get("credentials"))
                names = self.shell.user_ns  # type: ignore[union-attr]
                checkpoints = Checkpoints(folder, bool(training.get("resume")), names, _tell, bucket)
                around.callback(checkpoints.settle)
                if checkpoints.resume:
                    self._metering.meter.callbacks.append(checkpoints.of_fit)
                    self._metering.meter.resuming = True
            staging.lepton.begin(self._metering.meter, checkpoints)
            if training:
                from .training import trained

                around.enter_context(trained(training, _tell))

    class LeptonKernelApp(IPKernelApp):
        name = "ipython-kernel"
        kernel_class = LeptonKernel

        def init_iopub(self, context: Any) -> None:
            context.setsockopt(zmq.SNDHWM, 0)
            super().init_iopub(context)  # type: ignore[no-untyped-call]

    _share_name()
    LeptonKernelApp.launch_instance()


def _tell(text: str) -> None:
    """Show the user one line among the cell's outputs."""
    sys.stderr.write(f"lepton: {text}\n")


def _share_name() -> None:
    """Let cells import what an installed lepton_jupyter has beyond the parts that travel; those are ours.

    The zip goes behind all else on sys.path, so that nothing in it hides a package of the user's.
    """
    sys.path.append(sys.path.pop(0))
    package = importlib.import_module(__package__.partition(".")[0])
    elsewhere = [place for place in sys.path[:-1] if place]
    found = importlib.machinery.PathFinder.find_spec(package.__name__, elsewhere)
    for folder in (found.submodule_search_locations or []) if found else []:
        if os.path.isdir(folder) and folder not in package.__path__:
            package.__path__.append(folder)
