"""What a cell brings along and leaves behind, on this machine and over a real sshd: variables, code, files."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lepton_jupyter.store import JobStore
from tests.fakes.notebook import LiveNotebook
from tests.fakes.s3 import S3
from tests.fakes.sshd import Sshd

Open = Callable[[], LiveNotebook]


@pytest.fixture(params=["local", "gpu1"])
def on(request: pytest.FixtureRequest, open_notebook: Open, tmp_path: Path) -> str:
    """A target: this machine, or a host behind sshd."""
    if request.param == "gpu1":
        sshd: Sshd = request.getfixturevalue("sshd")
        (tmp_path / "lepton.toml").write_text(
            f'[targets.gpu1]\nkind = "ssh"\nhost = "{sshd.alias}"\nssh_config = "{sshd.config}"\n'
            f'root = "{sshd.root}"\npython = "{sys.executable}"\n'
        )
    return str(request.param)


def newest(tmp_path: Path) -> str:
    store = JobStore(tmp_path / "state" / "jobs.db")
    try:
        return str(store.list(limit=1)[0].job_id)
    finally:
        store.close()


def test_what_a_cell_reads_goes_there_and_what_it_makes_comes_back(notebook: LiveNotebook, on: str) -> None:
    notebook.run(
        "import numpy as np\nscale = 3\nweights = np.arange(200_000, dtype='float32')\n"
        "class Point:\n    def __init__(self, x): self.x = x\n"
        "def grow(value):\n    return Point(value * scale)\n"
    )
    said = notebook.text(
        f"%%lepton_train --on {on} --out total,grown\ntotal = float(np.sum(weights))\ngrown = grow(7).x"
    )
    assert re.search(r"sent: .*weights \(.*float32.*\)", said)
    assert "scale" in said
    assert "back: total" in said
    assert notebook.text("print(total == float(weights.sum()), grown)") == "True 21\n"


def test_what_has_not_changed_is_not_sent_again_and_stays_as_the_cells_left_it(notebook: LiveNotebook, on: str) -> None:
    notebook.run("import numpy as np\nx = np.zeros(100_000)\ny = [1]")
    notebook.run(f"%%lepton_train --on {on}\nx += 1; y.append(2)")
    said = notebook.text(f"%%lepton_train --on {on}\nprint(x[0], y)")
    assert "sent:" not in said
    assert "1.0 [1, 2]" in said
    notebook.run("y = [5]")
    said = notebook.text(f"%%lepton_train --on {on}\nprint(x[0], y)")
    assert "sent: y" in said
    assert "unchanged: x" in said
    assert "1.0 [5]" in said


def test_a_target_says_how_much_its_host_keeps(notebook: LiveNotebook, tmp_path: Path) -> None:
    config = tmp_path / "lepton.toml"
    config.write_text('[targets.local]\nkind = "local"\ncache_size = "lots"\n')
    said = notebook.failure("%%lepton_train\n1")
    assert "lepton.toml, line 1: cache_size: 'lots' is not a size" in said and "20GiB" in said
    config.write_text(f'[targets.local]\nkind = "local"\nroot = "{tmp_path}/host"\ncache_size = "2.5MB"\n')
    for _ in range(3):
        notebook.run("import os\ndata = os.urandom(1_000_000)")
        assert notebook.text("%%lepton_train\nprint(len(data))").endswith("1000000\n")
    kept = [path.stat().st_size for path in (tmp_path / "host" / "blobs").glob("??/*")]
    assert kept.count(1_000_000) == 2


def test_a_value_without_a_safe_form_is_named_with_the_choices(notebook: LiveNotebook) -> None:
    notebook.run("import threading\nlock = threading.Lock()")
    said = notebook.failure("%%lepton_train\nprint(lock)")
    assert "lock" in said
    assert "--allow-pickle" in said
    assert notebook.text("%%lepton_train --in none\nprint('lock' in globals())") == "False\n"


def test_a_variable_that_the_cell_does_not_make_is_said(notebook: LiveNotebook) -> None:
    said = notebook.text("%%lepton_train --out a,b\na = 1")
    assert "back: a" in said
    assert "b did not come back: the cell did not make a variable 'b'" in said
    assert notebook.text("print(a, 'b' in globals())") == "1 False\n"


def test_files_go_there_and_what_is_written_is_fetched(notebook: LiveNotebook, on: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "one.txt").write_text("1")
    (data / "skipped.log").write_text("no")
    (data / ".gitignore").write_text("*.log\n")
    notebook.run(f"%cd -q {tmp_path}")
    said = notebook.text(
        f"%%lepton_train --on {on} --files data\nimport os\n"
        "print(sorted(os.listdir('data')), open('data/one.txt').read())\n"
        "open('result.txt', 'w').write('done')\n"
        "os.makedirs('deep', exist_ok=True); open('deep/model.bin', 'wb').write(bytes(range(256)) * 1000)\n"
        "lepton.artifact('data/one.txt', 'kept.txt')"
    )
    assert "'one.txt'] 1" in said
    assert "skipped" not in said
    job = newest(tmp_path)
    assert "3 files" in notebook.text(f"%lepton_fetch {job}")
    folder = tmp_path / "artifacts" / job
    assert (folder / "result.txt").read_text() == "done"
    assert (folder / "deep" / "model.bin").read_bytes() == bytes(range(256)) * 1000
    assert (folder / "kept.txt").read_text() == "1"
    assert "left no nothing.bin" in notebook.failure(f"%lepton_fetch {job} nothing.bin")


def test_what_a_failed_cell_left_and_what_did_not_fit_is_said(notebook: LiveNotebook, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("1")
    notebook.run(f"%cd -q {tmp_path}")
    write = "for n in range(1003): open(f'{n}.txt', 'w').close()\n"
    said = notebook.failure(f"%%lepton_train --files one.txt\n{write}1 / 0")
    assert "ZeroDivisionError" in said
    assert "3 written files stay on the host" in said


def test_own_modules_travel_and_are_new_when_they_change(notebook: LiveNotebook, on: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from helper import base\ndef answer():\n    return base + 1\n")
    (tmp_path / "helper.py").write_text("base = 41\n")
    notebook.run(f"%cd -q {tmp_path}")
    assert "42" in notebook.text(f"%%lepton_train --on {on}\nimport mine\nprint(mine.answer())")
    (tmp_path / "helper.py").write_text("base = 99\n")
    assert "100" in notebook.text(f"%%lepton_train --on {on}\nimport mine\nprint(mine.answer())")


def test_variables_of_a_detached_job_are_fetched_later(notebook: LiveNotebook, tmp_path: Path) -> None:
    assert "%lepton_fetch" in notebook.text("%%lepton_train --detach --out big\nbig = list(range(10))")
    job = newest(tmp_path)
    notebook.run(f"%lepton_attach {job}")
    assert "back: big" in notebook.text(f"%lepton_fetch {job}")
    assert notebook.text("print(sum(big))") == "45\n"


def test_a_large_variable_stays_there_behind_a_handle(notebook: LiveNotebook) -> None:
    notebook.run("import lepton_jupyter.remote.left as left\nleft.Left.bring.__kwdefaults__['limit'] = 1000")
    said = notebook.text("%%lepton_train --out big\nimport numpy\nbig = numpy.arange(100_000)")
    assert "big stays on local" in said
    shown = notebook.text("big")
    assert "int64" in shown
    assert ".fetch()" in shown
    assert notebook.text("big = big.fetch(); print(big.sum())") == "4999950000\n"


def test_a_model_whose_class_only_the_cell_defines_comes_back_and_goes_again(notebook: LiveNotebook) -> None:
    said = notebook.text(
        "%%lepton_train --out model\nimport torch\nfrom torch import nn\nWIDTH = 4\n\nclass Part(nn.Module):\n"
        "    def __init__(self, width=WIDTH):\n        super().__init__()\n        self.layer = nn.Linear(width, 2)\n"
        "    def forward(self, x):\n        return self.layer(x)\n\nclass Net(Part):\n    pass\n\n"
        "torch.manual_seed(0)\nmodel = Net()\nprint(model(torch.ones(1, 4)).sum().item())"
    )
    result = said.splitlines()[0]
    assert "back: model (Net" in said
    assert notebook.text("import torch\nprint(model(torch.ones(1, 4)).sum().item())").strip() == result
    again = notebook.text("%%lepton_train --fresh\nprint(model(torch.ones(1, 4)).sum().item())")
    assert result in again


def test_a_cell_that_fails_brings_nothing_back_and_says_so(notebook: LiveNotebook) -> None:
    said = notebook.failure("%%lepton_train --out a\na = 1\nraise ValueError('broken')")
    assert "broken" in said
    assert notebook.text("print('a' in globals())") == "False\n"


def test_a_bucket_is_read_there_and_artifacts_go_to_one_with_keys_that_are_never_written(
    open_notebook: Open, s3: S3, tmp_path: Path
) -> None:
    s3.make("data")
    s3.put("data", "set/one.txt", b"from the bucket")
    (tmp_path / "lepton.toml").write_text('[targets.local]\nkind = "local"\nartifacts = "s3://data/left"\n')
    notebook = open_notebook()
    notebook.run(f"keys = {s3.credentials!r}")
    shown = notebook.text(
        "%%lepton_train --files s3://data/set --credentials keys\nprint(open('set/one.txt').read())\n"
        "open('made.txt', 'w').write('made there')"
    )
    assert "from the bucket" in shown
    job = newest(tmp_path)
    assert s3.get("data", f"left/{job}/made.txt") == b"made there"
    notebook.run(f"%lepton_fetch {job} --to {tmp_path}/back")
    assert (tmp_path / "back" / "made.txt").read_text() == "made there"
    written = b"".join(path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file())
    assert b"from the bucket" in written
    assert not any(secret.encode() in written for secret in s3.secrets)


def test_a_bucket_that_takes_nothing_costs_neither_files_nor_variables(
    open_notebook: Open, s3: S3, tmp_path: Path
) -> None:
    s3.make("data")
    s3.put("data", "set/one.txt", b"1")
    (tmp_path / "lepton.toml").write_text('[targets.local]\nkind = "local"\nartifacts = "s3://no-such-bucket"\n')
    notebook = open_notebook()
    notebook.run(f"keys = {s3.credentials!r}")
    said = notebook.text(
        "%%lepton_train --files s3://data/set --credentials keys --out x\nx = 5\nopen('made.txt', 'w').write('made')"
    )
    assert "back: x" in said
    assert re.search(r"lepton: made.txt did not get where it belongs: .*no-such-bucket", said)
    assert "1 file" in notebook.text(f"%lepton_fetch {newest(tmp_path)} made.txt --to {tmp_path}/back")
    assert (tmp_path / "back" / "made.txt").read_text() == "made"


def test_credentials_that_are_none_are_said_without_a_word_of_them(notebook: LiveNotebook) -> None:
    notebook.run("keys = 'hunter2'")
    said = notebook.failure("%%lepton_train --files s3://data/x --credentials keys\n1")
    assert "no dict of texts" in said
    assert "hunter2" not in said


def test_packages_that_the_cell_wants_are_there(notebook: LiveNotebook, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("six==1.16.0\n")
    notebook.run(f"%cd -q {tmp_path}")
    said = notebook.text("%%lepton_train --env requirements.txt\nimport six\nprint(six.__version__)")
    assert "1 package of requirements.txt" in said
    assert "1.16.0" in said


def test_a_module_that_the_host_lacks_is_said_before_the_cell_runs(notebook: LiveNotebook, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    notebook.run(f"import subprocess, sys; subprocess.run([sys.executable, '-m', 'venv', '{bare}'], check=True)")
    notebook.run(f"subprocess.run(['{bare}/bin/pip', 'install', '-q', 'ipykernel'], check=True)")
    notebook.run(f"%lepton_target add bare local --python {bare}/bin/python")
    said = notebook.failure("%%lepton_train --on bare\nprint('began')\nimport pandas")
    assert "pandas is not installed on bare" in said
    assert "--env auto" in said
    assert "began" not in said
