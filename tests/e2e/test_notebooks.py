"""The notebooks we ship run from top to bottom: on this machine, and the seed's example on a host behind SSH too."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import psutil
import pytest
from nbclient import NotebookClient

from lepton_jupyter.config import Config
from lepton_jupyter.job import NativeId
from lepton_jupyter.outputs._models import MIME as COMPRESSION
from lepton_jupyter.remote import Dispatcher
from lepton_jupyter.store import JobStore
from tests.fakes.sshd import Sshd

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
SEED = "01_seed_example.ipynb"


def executed(path: Path, folder: Path) -> nbformat.NotebookNode:
    """The notebook after all its cells ran in `folder`; a cell that fails raises."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    return notebook


def text_of(cell: nbformat.NotebookNode) -> str:
    return "".join(output.get("text", "") for output in cell.outputs if output.get("name") == "stdout")


def mime_types(cell: nbformat.NotebookNode) -> set[str]:
    return {mime for output in cell.outputs for mime in output.get("data", {})}


def check_seed(notebook: nbformat.NotebookNode) -> None:
    """Both loops ran five epochs with falling loss, and the models were shown."""
    keras, torch = (cell for cell in notebook.cells if cell.source.startswith("%%lepton_train"))
    for cell in (keras, torch):
        losses = [float(loss) for loss in re.findall(r"^epoch \d   loss (\d\.\d{4})$", text_of(cell), re.MULTILINE)]
        assert len(losses) == 5
        assert losses[-1] < losses[0]
    assert any("Conv2D" in output.data.get("text/plain", "") for output in keras.outputs if "data" in output)
    (model,) = [output for output in torch.outputs if output.output_type == "execute_result"]
    assert "Linear(in_features=5408, out_features=10, bias=True)" in model.data["text/plain"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_committed_clean(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.cell_type == "markdown" or (cell.outputs == [] and cell.execution_count is None)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_demo_trains_with_both_frameworks_and_leaves_nothing_behind(tmp_path: Path, home: Path) -> None:
    before = set(psutil.pids())
    command = [sys.executable, "-m", "lepton_jupyter.cli", "demo", "--to", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=390)
    assert done.returncode == 0, done.stdout + done.stderr
    accuracies = re.findall(r"^(PyTorch|Keras) final accuracy: (\d+\.\d)%$", done.stdout, re.MULTILINE)
    assert [name for name, _ in accuracies] == ["PyTorch", "Keras"]
    assert all(float(accuracy) > 90 for _, accuracy in accuracies)
    assert len(re.findall(r"^ +epoch +\d+   loss", done.stdout, re.MULTILINE)) == 12
    assert "jupyter lab " in done.stdout
    saved = nbformat.read(tmp_path / "out" / "00_quickstart.ipynb", as_version=4)
    torch, keras = (cell for cell in saved.cells if cell.source.startswith("%%lepton_train"))
    assert "image/png" in mime_types(torch)
    assert "image/png" in mime_types(keras)
    left = [process for process in psutil.process_iter() if process.pid not in before and _belongs_to(home, process)]
    assert left == []


def _belongs_to(home: Path, process: psutil.Process) -> bool:
    """Whether a living process was started by this test session."""
    try:
        return process.environ().get("LEPTON_TEST_HOME") == str(home) and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return False


@pytest.mark.slow
@pytest.mark.timeout(320)
def test_variables_code_and_files_travel(tmp_path: Path, repository: Path) -> None:
    notebook = executed(repository / "notebooks" / "02_variables_and_files.ipynb", tmp_path)
    said = ["".join(output.get("text", "") for output in cell.get("outputs", ())) for cell in notebook.cells]
    sent = [re.findall(r"^lepton: sent: (.*)$", text, re.MULTILINE) for text in said]
    assert [line for lines in sent for line in lines] == [
        "STEPS (int, 34 B), features (float32 array (1347, 64), 337 KiB), labels (int64 array (1347,), 10.7 KiB), "
        "fit (source)",
        "STEPS (int, 34 B); unchanged: features, labels, fit",
        "Digits (source); unchanged: features, labels",
        "1 file (2 B); unchanged: Digits",
    ]
    accuracies = [float(number) for text in said for number in re.findall(r"accuracy (\d+\.\d)%", text)]
    assert len(accuracies) == 2
    assert min(accuracies) > 90
    assert (tmp_path / "brought" / "fresh.pt").exists()


@pytest.mark.slow
@pytest.mark.timeout(320)
@pytest.mark.parametrize(("name", "smaller"), [("03_compress_pytorch.ipynb", 2.0), ("04_compress_keras.ipynb", 4.0)])
def test_models_that_live_in_the_remote_kernel_come_back_compressed(
    name: str, smaller: float, tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEPTON_HOME", str(tmp_path / "state"))  # the notebook looks for its newest job
    notebook = executed(repository / "notebooks" / name, tmp_path)
    compressed = [cell for cell in notebook.cells if cell.source.startswith("%lepton_compress")]
    assert compressed
    assert all({COMPRESSION, "text/html", "text/plain"} <= mime_types(cell) for cell in compressed)
    said = "".join(text_of(cell) for cell in notebook.cells if cell.cell_type == "code")
    ((before, after),) = re.findall(r"^accuracy (\d+\.\d)% -> (\d+\.\d)%$", said, re.MULTILINE)
    assert float(before) > 80
    assert float(after) > float(before) - 5
    (times,) = re.findall(r"^zipped (\d+\.\d) times smaller", said, re.MULTILINE)
    assert float(times) > smaller
    if name.startswith("03"):
        assert "Conv2d(1, 16, " in said  # of 32 channels
        assert "'small.compression.json: " in said
        store = JobStore(tmp_path / "state" / "jobs.db")
        models = [model["name"] for job in store.list() for model in job.telemetry.get("models", ())]
        store.close()
        assert models == ["narrow", "small"]


@pytest.mark.slow
@pytest.mark.timeout(320)
def test_the_seeds_example_runs_here(tmp_path: Path, repository: Path) -> None:
    check_seed(executed(repository / "notebooks" / SEED, tmp_path))


@pytest.mark.slow
@pytest.mark.timeout(320)
def test_the_seeds_example_runs_over_ssh(
    tmp_path: Path, repository: Path, sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "lepton.toml"
    root = sshd.home / "seed"  # a folder of its own, so that all kernels in it are this test's
    config.write_text(
        f'default = "far"\n[targets.far]\nkind = "ssh"\nhost = "{sshd.alias}"\nssh_config = "{sshd.config}"\n'
        f'python = "{sys.executable}"\nroot = "{root}"\n'
    )
    monkeypatch.setenv("LEPTON_CONFIG", str(config))
    check_seed(executed(repository / "notebooks" / SEED, tmp_path))
    assert len(list(root.glob("jobs/*/journal"))) == 2
    dispatcher = Dispatcher(Config.load(), JobStore(":memory:"))
    for folder in root.glob("kernels/*"):
        dispatcher.target().stop(NativeId(folder.name))  # a kernel with two frameworks is a gigabyte
    dispatcher.close()
