"""`%lepton_target` in a real kernel: this machine, a host behind a real sshd, and every way to get it wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from lepton_jupyter.config import Config
from tests.fakes.notebook import LiveNotebook
from tests.fakes.sshd import Sshd, fingerprint


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The lepton.toml of the notebook."""
    return tmp_path / "lepton.toml"


def test_a_new_user_has_this_machine(notebook: LiveNotebook) -> None:
    assert "local" in notebook.text("%lepton_target")
    assert "default" in notebook.text("%lepton_target list")
    found = notebook.text("%lepton_target test local")
    assert "✓  reachable    this machine" in found
    assert "✗" not in found


def test_a_target_is_added_used_as_default_and_removed(notebook: LiveNotebook, file: Path) -> None:
    said = notebook.text("%lepton_target add big local:// --price-per-hour 2.10 --idle-stop=30m")
    assert said.startswith("Added big (kind = local, price_per_hour = 2.1, idle_stop = 30m).")
    assert file.read_text() == ('[targets.big]\nkind = "local"\nprice_per_hour = 2.1\nidle_stop = "30m"\n')
    assert notebook.text("%lepton_target default big").startswith("Cells run on big")
    assert Config.load(file).default == "big"
    notebook.run("%%lepton_train\nwhere = 'there'")
    assert " big " in notebook.text("%lepton_jobs")
    assert notebook.text("%lepton_target add big local://").startswith("Changed big (kind = local).")
    assert "The default target is local." in notebook.text("%lepton_target remove big")
    assert list(Config.load(file).targets) == ["local"]
    assert "there is no target 'big'" in notebook.failure("%lepton_target test big")


def test_a_cell_runs_on_before_and_after_a_change_by_hand(notebook: LiveNotebook, file: Path, tmp_path: Path) -> None:
    notebook.run("%lepton_target add here local://")
    assert notebook.text("%%lepton_train --on here\nimport os; print(os.path.basename(os.getcwd()))").strip()
    (tmp_path / "elsewhere").mkdir()
    with file.open("a") as text:
        text.write(f'cwd = "{tmp_path / "elsewhere"}"\n')
    out = notebook.text("%%lepton_train --on here --fresh\nimport os; print(os.path.basename(os.getcwd()))")
    assert out == "elsewhere\n"


def test_variables_of_the_notebook_stand_in_for_words(notebook: LiveNotebook, file: Path) -> None:
    notebook.run("name, price = 'gpu', 3")
    notebook.run("%lepton_target add {name} local:// --price-per-hour {price}")
    assert Config.load(file).target("gpu").options == {"price_per_hour": 3.0}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ad gpu1 ssh://gpu1", "Did you mean 'add'?"),
        ("add gpu1", "add NAME URL"),
        ("add gpu1 gpu1.example.org", "ssh://gpu1.example.org"),
        ("add gpu1 sssh://gpu1", "Did you mean 'ssh'? Known: local, ssh."),
        ("add gpu1 ssh://", "Write ssh://host"),
        ("add gpu1 ssh://ann:geheim@gpu1", "a password has no place in a URL"),
        ("add gpu1 ssh://gpu1 --password geheim", "Passwords are asked for when needed"),
        ("add gpu1 ssh://gpu1 --prize-per-hour 2", "Did you mean 'price_per_hour'?"),
        ("add gpu1 ssh://gpu1 --price-per-hour cheap", "price_per_hour must be a number, not 'cheap'"),
        ("add gpu1 ssh://gpu1 --price-per-hour -2", "price_per_hour must be 0 or more, not -2"),
        ("add gpu1 ssh://gpu1 --idle-stop soon", "'soon' is not a duration"),
        ("add gpu1 ssh://gpu1 --python", "--python needs a value"),
        ("add gpu1 ssh://gpu1 stray", "'stray' stands alone"),
        ("add -rf ssh://gpu1", "cannot name a target"),
        ("add 'a b' ssh://gpu1", "cannot name a target"),
        ("add local ssh://gpu1", "is this machine"),
        ("add 'unclosed", "No closing quotation"),
        ("test nowhere", "there is no target 'nowhere'"),
        ("default nowhere", "there is no target 'nowhere'"),
        ("remove local", "built in"),
        ("list all", "%lepton_target list"),
    ],
)
def test_a_mistake_is_said_in_few_lines_and_fails_the_cell(
    shared_notebook: LiveNotebook, line: str, words: str
) -> None:
    said = shared_notebook.failure(f"%lepton_target {line}")
    assert words in said
    assert len(said.splitlines()) <= 3
    assert "geheim" not in (shared_notebook.text("%lepton_target list"))


def test_help_has_an_example(notebook: LiveNotebook) -> None:
    notebook.run("doc = get_ipython().find_line_magic('lepton_target').__doc__")
    assert "%lepton_target add gpu1 ssh://" in notebook.text("print(doc)")


def test_a_host_behind_ssh_is_added_and_asked(notebook: LiveNotebook, sshd: Sshd) -> None:
    said = notebook.text(f"%lepton_target add gpu1 ssh://{sshd.alias} --ssh-config {sshd.config} --root {sshd.root}")
    assert said.startswith("Added gpu1 (kind = ssh, host = testhost, ")
    found = notebook.text("%lepton_target test gpu1")
    assert "✓  reachable" in found
    assert "round trip" in found
    assert "Python" in found
    assert notebook.html("%lepton_target test gpu1").count("<tr") >= 5


def test_an_unknown_host_is_accepted_by_its_fingerprint_only(
    notebook: LiveNotebook, sshd: Sshd, tmp_path: Path
) -> None:
    config = sshd.config_for(tmp_path / "client")
    (tmp_path / "client" / "known_hosts").write_text("")
    add = f"%lepton_target add new ssh://{sshd.alias} --ssh-config {config} --root {sshd.root}"
    notebook.run(add)
    refused = notebook.text("%lepton_target test new")
    assert "✗  reachable" in refused
    prints = [fingerprint(sshd.public_key(kind)) for kind in ("ed25519", "ecdsa", "rsa")]
    (shown,) = [known for known in prints if known in refused]
    notebook.run(f"{add} --accept-host-key SHA256:{'A' * 43}")
    assert "✗  reachable" in notebook.text("%lepton_target test new")
    notebook.run(f"{add} --accept-host-key {shown}")
    assert "✓  reachable" in notebook.text("%lepton_target test new")
    notebook.run(add)  # the fingerprint is needed once
    assert "✓  reachable" in notebook.text("%lepton_target test new")


def test_a_host_that_is_not_there_is_a_finding_with_a_cure(notebook: LiveNotebook, sshd: Sshd, tmp_path: Path) -> None:
    config = sshd.config_for(tmp_path / "client", port=1)
    notebook.run(f"%lepton_target add off ssh://{sshd.alias} --ssh-config {config}")
    found = notebook.text("%lepton_target test off")
    assert "✗  reachable" in found
    assert len(found.splitlines()) >= 3
