"""One environment while it is made: by which commands, with which builds, and in which words it fails.

Runs on the host, in the process that launches an agent.
"""

from __future__ import annotations

import os
import platform
import re
import signal
import subprocess
from typing import Any, Callable

from ..errors import HostStorage, InterpreterUnfit
from . import facts, installers
from .installers import Installer, safe
from .own_uv import own_uv
from .storage import Alive, write_json

Notify = Callable[[str], None]

#: What a kernel needs besides what the user wants.
KERNEL = ("ipykernel>=6.29",)
#: Lines that say nothing of how far it is. What went wrong is said by the error.
_DULL = re.compile(r"Activate with|Using |Creating |\s*(error|cause|hint|warning|×|├|╰)", re.IGNORECASE)
_FULL = "Free some space there, or set `root` (and UV_CACHE_DIR, PIP_CACHE_DIR there) to another disk."
#: An index that this host may not reach is asked alone, and with less patience.
_THAT_INDEX_ALONE = {
    "UV_INDEX": "", "UV_DEFAULT_INDEX": "",
    "UV_HTTP_RETRIES": "1", "UV_HTTP_TIMEOUT": "15", "PIP_RETRIES": "1", "PIP_DEFAULT_TIMEOUT": "15",
}  # fmt: skip


class Build:
    """An environment in `folder`, based on the interpreter `base`; `lock` is held meanwhile."""

    def __init__(
        self, spec: dict[str, Any], base: str, folder: str, host: dict[str, Any], notify: Notify, lock: Alive
    ) -> None:
        self._spec, self._base, self._folder = spec, base, folder
        self._host, self._notify, self._lock = host, notify, lock
        self._python = os.path.join(folder, "bin", "python")
        self._uv = facts.uv()
        self._tools = self._installer()
        self._source = str(spec.get("source", "")) or "what the kernel needs"

    def make(self) -> None:
        """Raises InterpreterUnfit, HostStorage."""
        requirements = installers.checked(list(self._spec.get("requirements", ())))
        hashed = any("--hash" in line for line in requirements)  # then no other build than the one that was hashed
        usual = platform.system() == "Linux" and platform.machine() == "x86_64" and not hashed
        if usual:
            requirements = installers.fitting_tensorflow(requirements, self._host)
        self._notify(f"making an environment for the kernel in {self._folder}")
        if not self._uv and _has_pip(self._base):
            self._uv = own_uv(os.path.dirname(self._folder), self._base, self._run, self._notify)
            self._tools = self._installer()
        if not self._uv:
            self._must_have_venv()
        self._run(self._tools.make(self._folder, bool(self._spec.get("site"))))
        os.chmod(self._folder, 0o700)
        if usual:
            self._fit_torch(requirements)
        self._install(requirements, hashed)
        about = {"source": self._source, "requirements": [safe(line) for line in requirements], "base": self._base}
        write_json(os.path.join(self._folder, "complete"), about)

    def _installer(self) -> Installer:
        return Installer(self._uv, self._base, os.environ, _prefix(self._base))

    def _install(self, requirements: list[str], hashed: bool) -> None:
        """What is wanted, then what the kernel needs; at once unless there are hashes, for then all must have one."""
        listed = os.path.join(self._folder, "requirements.txt")
        limits = os.path.join(self._folder, "constraints.txt")
        constraints = list(self._spec.get("constraints", ()))
        kernel = [*KERNEL, *installers.checked(list(self._spec.get("also", ())))]
        # The lists may hold passwords: private while they are needed, then gone.
        _write(listed, [*self._spec.get("options", ()), *requirements, *([] if hashed else kernel)])
        _write(limits, constraints)
        self._run(self._tools.install(self._python, "-r", listed, *(["-c", limits] if constraints else [])))
        if hashed and kernel:
            _write(limits, [*constraints, *(line.partition(" --hash")[0] for line in requirements)])
            self._run(self._tools.install(self._python, "-c", limits, *kernel))
        os.unlink(listed)
        os.unlink(limits)

    def _fit_torch(self, requirements: list[str]) -> None:
        """Install the build of PyTorch for this host's accelerator, where the default one is another."""
        wanted = [*self._spec.get("options", ()), *requirements]
        steps = installers.torch_steps(wanted, self._host, os.environ)
        if self._host["rocm"] and any(installers.name_of(line) == "torch" for line in requirements):
            self._notify("the usual build of PyTorch can't use this host's GPU of AMD (see --python, --env off)")
        for step in steps:
            more = _THAT_INDEX_ALONE if "--index-url" in step else {}
            try:
                self._run(self._tools.install(self._python, *step), more)
                return
            except InterpreterUnfit:
                continue
        if steps:
            self._notify("no build of PyTorch for just this accelerator can be had: taking the usual, larger one")

    def _run(self, command: list[str], more: dict[str, str] | None = None) -> None:
        """Run and pass on each line as progress. Raises InterpreterUnfit with the last lines, HostStorage."""
        lines: list[str] = []
        # The lock is the child's as well: should we be killed, nobody builds here before it has ended.
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", env={**self._tools.environ, **(more or {})}, cwd="/", pass_fds=[self._lock.fileno()],
            start_new_session=True,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    if line.strip():
                        lines = [*lines[-39:], safe(line.rstrip())]
                        if not _DULL.match(line):
                            self._notify(lines[-1].strip()[:120])
            except BaseException:  # whoever launched has gone: nobody would use what is being made
                os.killpg(process.pid, signal.SIGKILL)
                raise
        if process.returncode != 0:
            raise self._failure(command, process.returncode, lines)

    def _failure(self, command: list[str], status: int, lines: list[str]) -> InterpreterUnfit | HostStorage:
        text = "\n".join(lines)
        if re.search(r"No space left on device|Disk quota exceeded", text):
            free = facts.host(self._folder)["disk"] / (1 << 30)
            words = f"the disk of the host is full: {free:.1f} GiB are free in {os.path.dirname(self._folder)}"
            return HostStorage(words, hint=_FULL)
        began = next((n for n, line in enumerate(lines) if line.lstrip().lower().startswith(("error", "×"))), 0)
        said = "\n".join(lines[began:][-20:]) or f"exit status {status}"
        words = f"the environment of {self._source} cannot be made:\n{said}\n({installers.shown(command)} …)"
        return InterpreterUnfit(words, hint=_hint(text, self._source))

    def _must_have_venv(self) -> None:
        probe = "import importlib.util as u; print(all(map(u.find_spec, ('venv', 'ensurepip'))))"
        done = subprocess.run([self._base, "-c", probe], capture_output=True, text=True)
        if "True" not in done.stdout:
            version = ".".join(version_of(self._base).split(".")[:2])
            hint = (
                f"On the host run: sudo apt-get install python{version}-venv\nOr: {self._base} -m pip install --user uv"
                f"\nOr: {self._base} -m pip install --user ipykernel"
            )
            raise InterpreterUnfit(f"{self._base} can make no environment: it has no venv or ensurepip", hint=hint)


def _hint(said: str, source: str) -> str:
    """What to do about an installer's last words."""
    if re.search(r"name resolution|NewConnection|ConnectTimeout|error sending|dns error|unreachable|SSLError", said):
        return "The host does not reach its package index: set PIP_INDEX_URL there, or run with --env off."
    if re.search(r"No matching distribution|No solution found|ResolutionImpossible|conflict", said):
        return f"Change {source}, or say what to install: --env 'NAME==VERSION …'. --env off takes what is there."
    if re.search(r"Failed (to build|building)|gcc|error: command|metadata-generation-failed", said):
        return "There is no ready-made build for the Python there: take another version, or install a compiler there."
    return "Mend it on the host, or run with --env off, which takes the Python there as it is."


def version_of(python: str) -> str:
    """The version of an interpreter; "" for one that does not run, or that uv has still to find."""
    if not os.path.isabs(python):
        return ""
    code = "import sys; print('%d.%d.%d' % sys.version_info[:3])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True)
    return done.stdout.strip().rpartition("\n")[2]


def _has_pip(python: str) -> bool:
    return subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode == 0


def _prefix(base: str) -> str:
    return os.path.dirname(os.path.dirname(base)) if os.path.isabs(base) else ""


def _write(path: str, lines: list[str]) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)
