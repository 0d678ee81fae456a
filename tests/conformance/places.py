"""Where the conformance cells run: a plain kernel, this machine as a target, a target behind a real sshd."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from lepton_jupyter.config import Config
from lepton_jupyter.job import NativeId
from lepton_jupyter.remote import Dispatcher
from lepton_jupyter.store import JobStore
from tests.fakes.sshd import Sshd


def environment(**more: str) -> dict[str, str]:
    """For kernels: without pytest's mark, by which ipykernel stops listening to file descriptors 1 and 2."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return {**kept, **more}


TARGETS = ("local", "ssh")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A folder in which cells run, and the environment of the notebook's kernel there."""

    folder: Path
    target: str = ""  # "" = no target: a plain kernel
    env: dict[str, str]

    @property
    def magic(self) -> str:
        return f"%%lepton_train --on {self.target}\n" if self.target else ""

    def dispatcher(self) -> Dispatcher:
        """A dispatcher of another process than the notebook's kernel: this one."""
        store = JobStore(Path(self.env["LEPTON_HOME"]) / "jobs.db")
        return Dispatcher(Config.load(Path(self.env["LEPTON_CONFIG"])), store)

    def end(self) -> None:
        """End the kernels there, which outlive their notebook on purpose."""
        if self.target:
            dispatcher = self.dispatcher()
            for native_id in {job.native_id for job in dispatcher.store.list(limit=0)} - {NativeId("")}:
                dispatcher.target(self.target).stop(native_id)
            dispatcher.close()


def make_place(base: Path, kind: str, sshd: Sshd) -> Place:
    """A place for a target of that kind, named `there`; `plain` for none."""
    folder, state = base / "cells", base / "state"
    folder.mkdir()
    state.mkdir()
    config = state / "lepton.toml"
    env = environment(LEPTON_CONFIG=str(config), LEPTON_HOME=str(state / "lepton"))
    if kind == "plain":
        return Place(folder=folder, env=env)
    options = {"kind": kind, "root": str(state / "root"), "cwd": str(folder)}
    if kind == "ssh":
        caches = sshd.home / ".cache"  # fonts and the like, as this process has them
        if not caches.exists():
            caches.symlink_to(os.environ["XDG_CACHE_HOME"])
        options |= {"host": sshd.alias, "ssh_config": str(sshd.config), "python": sys.executable}
    config.write_text("[targets.there]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in options.items()))
    return Place(folder=folder, target="there", env=env)
