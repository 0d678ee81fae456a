"""What runs on a host needs nothing but the standard library: a Python without any package takes in a cell's code."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from lepton_jupyter.blobs import BlobStore
from lepton_jupyter.data import files, modules, source
from tests.fakes.cells import Cells

HOST = """
import json, os, sys
root = sys.argv[1]
sys.path.insert(0, root)
from lepton_jupyter.blobs import BlobStore
from lepton_jupyter.data import files, modules, names, source
store = BlobStore(os.path.join(root, "blobs"))
cargo = json.load(sys.stdin)
namespace = {"__name__": "__main__"}
modules.activate(modules.install(cargo["modules"], store, os.path.join(root, "modules")), namespace)
files.place(cargo["files"], store, os.path.join(root, "work"))
os.chdir(os.path.join(root, "work"))
before = files.state(".")
made = source.restore(cargo["source"], namespace)
print(namespace["use"](), list(files.changed(".", before)), made, "IPython" in sys.modules)
"""


def test_code_modules_and_files_arrive_on_a_bare_host(cells: Cells, tmp_path: Path, repository: Path) -> None:
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "lm_bare.py").write_text("def double(x): return 2 * x\n")
    (tmp_path / "near" / "data.txt").write_text("21")
    sys.path.insert(0, str(tmp_path / "near"))
    try:
        cells.run("from lm_bare import double as twice\nclass Base:\n    times = 1")
        cells.run(
            "class User(Base):\n    def run(self):\n        open('out.txt', 'w').write('done')\n"
            "        return twice(int(open('data.txt').read())) * self.times\ndef use(): return User().run()"
        )
        store = BlobStore(str(tmp_path / "host" / "blobs"))
        captured = source.capture(["use"], cells.namespace)
        found = modules.find(captured.imports, str(tmp_path / "near"), store)
    finally:
        sys.path.remove(str(tmp_path / "near"))
        sys.modules.pop("lm_bare", None)
    collected = files.collect(["data.txt"], str(tmp_path / "near"), store)
    cargo = {"source": captured.doc, "modules": found.tree, "files": collected.tree}

    package = tmp_path / "host" / "lepton_jupyter"
    for part in ("__init__.py", "errors.py", "wire.py"):
        package.mkdir(exist_ok=True)
        shutil.copy(repository / "lepton_jupyter" / part, package / part)
    for folder in ("blobs", "data"):
        shutil.copytree(repository / "lepton_jupyter" / folder, package / folder)
    command = [sys.executable, "-I", "-S", "-c", HOST, str(tmp_path / "host")]
    ran = subprocess.run(command, input=json.dumps(cargo), capture_output=True, text=True, check=False, timeout=60)
    assert ran.stdout.strip() == "42 ['out.txt'] ['Base', 'User', 'use'] False", ran.stderr
