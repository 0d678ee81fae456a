"""The command line: light to start, errors as words on stderr, exit status that a script can trust."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lepton_jupyter import cli, doctor
from lepton_jupyter.config import Config
from lepton_jupyter.job import Job, JobId, JobSpec, JobState
from lepton_jupyter.store import JobStore

HEAVY = {"IPython", "ipykernel", "jupyter_client", "jupyter_core", "paramiko", "sqlite3", "tomlkit", "torch"}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder and a configuration of this test's own."""
    monkeypatch.setenv("LEPTON_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("LEPTON_CONFIG", str(tmp_path / "lepton.toml"))
    return tmp_path


def lepton(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "lepton_jupyter.cli", *words]
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)


def add(*jobs: Job) -> None:
    store = JobStore.load()
    for job in jobs:
        store.add(job)
    store.close()


def job(job_id: str, state: JobState = JobState.COMPLETED, title: str = "train", **fields: object) -> Job:
    spec = JobSpec(code="1", target=str(fields.pop("target", "gpu1")), name=title)
    return Job(job_id=JobId(job_id), spec=spec, state=state, **fields)  # type: ignore[arg-type]


def test_help_starts_light() -> None:
    code = (
        "import sys; from lepton_jupyter.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "print(*{name.partition('.')[0] for name in sys.modules})\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert "doctor" in out
    assert not HEAVY & set(out.splitlines()[-1].split())


def test_listing_jobs_needs_no_ipython_and_no_paramiko() -> None:
    code = "import sys; from lepton_jupyter.cli import main; main(['jobs']); print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert not {"IPython", "paramiko", "torch", "ipykernel"} & set(out.splitlines()[-1].split())


@pytest.mark.parametrize("words", [[], ["nonsense"], ["attach"], ["jobs", "--al"], ["logs", "a", "b"]])
def test_a_command_nobody_understands_is_status_2(words: list[str]) -> None:
    done = lepton(*words)
    assert done.returncode == 2
    assert "usage: lepton" in done.stderr


def test_version_is_said() -> None:
    done = lepton("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("lepton")


def test_an_unknown_job_is_said_with_a_way_out(capsys: pytest.CaptureFixture[str]) -> None:
    add(job("abc2345678"))
    assert cli.main(["logs", "abd2345678"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        "lepton: there is no job 'abd2345678'\nDid you mean abc2345678? lepton jobs --all lists every one.\n"
    )


def test_jobs_are_listed_newest_first(capsys: pytest.CaptureFixture[str]) -> None:
    add(*(job(f"job{number:02}", created=float(number)) for number in range(25)))
    assert cli.main(["jobs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:22]] == [f"job{number:02}" for number in range(24, 4, -1)]
    assert lines[22] == "20 of 25 jobs; --all shows every one."
    assert cli.main(["jobs", "--all"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 27


def test_jobs_are_chosen_by_target_and_state(capsys: pytest.CaptureFixture[str]) -> None:
    add(job("a", JobState.RUNNING), job("b", JobState.FAILED), job("c", JobState.RUNNING, target="gpu2"))
    assert cli.main(["jobs", "--on", "gpu1", "--state", "running,new", "--json"]) == 0
    assert [found["job"] for found in json.loads(capsys.readouterr().out)] == ["a"]
    assert cli.main(["jobs", "--state", "runing"]) == 1
    assert "Did you mean 'running'?" in capsys.readouterr().err


def test_json_has_every_field_of_a_program_s_interest(capsys: pytest.CaptureFixture[str]) -> None:
    add(job("a", JobState.FAILED, "t\x1b[31m", created=1.0, started=2.0, ended=3.0, seq=4, cause="c"))
    assert cli.main(["jobs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {
            "job": "a", "state": "FAILED", "title": "t\x1b[31m", "target": "gpu1", "kernel": "", "notebook": "",
            "created": 1.0, "started": 2.0, "ended": 3.0, "seq": 4, "cause": "c",
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    "title", ["\x1b[2J\x1b[31mred", "one\ntwo\rthree", "<script>", "\u202eevil", "\udcff", "a\x00b"]
)
def test_a_hostile_title_is_one_line_of_text(title: str) -> None:
    add(job("a", title=title, cause=title))
    done = lepton("jobs")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 3
    assert all(char.isprintable() for char in done.stdout.replace("\n", ""))


def test_a_reader_that_leaves_early_is_no_error() -> None:
    add(*(job(f"job{number:04}", cause="x" * 200) for number in range(2000)))
    command = [sys.executable, "-m", "lepton_jupyter.cli", "jobs", "--all"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(30) == 0


def test_doctor_finds_this_installation_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert sys.executable in out
    assert "target local" in out
    assert "✗" not in out


def test_doctor_knows_a_framework_by_any_of_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", {"tensorflow-cpu": "2.21.0"}.get)
    findings = {finding.subject: finding for finding in doctor.examine()}
    assert (findings["tensorflow"].ok, findings["tensorflow"].value) == (True, "2.21.0")
    assert findings["torch"].ok is None


def test_doctor_names_each_target_that_is_wrong(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "lepton.toml").write_text(
        "[targets.x]\nkind = 'sssh'\n[targets.local]\nphyton = 'p'\n[targets.y]\nkind = 'local'\nidle_stop = 'soon'\n"
    )
    assert cli.main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "unknown name 'sssh'" in out
    assert "Did you mean 'python'?" in out
    assert "line 3" in out
    assert "'soon' is not a duration" in out
    assert out.count("✗") == 3


def test_doctor_says_how_to_close_an_open_folder(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "state").mkdir(mode=0o755)
    assert cli.main(["doctor"]) == 1
    assert f"chmod 700 '{place / 'state'}'" in capsys.readouterr().out


def test_doctor_goes_on_after_a_file_it_cannot_read(place: Path) -> None:
    (place / "lepton.toml").write_text("x = \n")
    findings = {finding.subject: finding for finding in doctor.examine()}
    assert findings["config"].ok is False
    assert "line 1" in findings["config"].value
    assert findings["state"].ok is True
    assert findings["job store"].ok is True


def test_doctor_asks_a_target(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "local"]) == 0
    out = capsys.readouterr().out
    assert "reachable" in out
    assert sys.executable in out


def test_doctor_of_a_host_that_is_not_there_is_status_1(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "ssh_config").write_text("Host off\n  HostName 127.0.0.1\n  Port 1\n  User nobody\n")
    Config.load().add("gpu1", "ssh", {"host": "off", "ssh_config": str(place / "ssh_config")})
    assert cli.main(["doctor", "gpu1"]) == 1
    assert "✗  reachable" in capsys.readouterr().out


def test_doctor_of_an_unknown_target_lists_the_known_ones(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Config.load().add("gpu1", "ssh", {"host": "gpu1"})
    assert cli.main(["doctor", "gpu2"]) == 1
    assert "Did you mean 'gpu1'? Known: gpu1, local." in capsys.readouterr().err


def test_a_question_without_a_terminal_is_an_error_that_says_so() -> None:
    code = "from lepton_jupyter.cli import _prompt; _prompt('Passphrase of /k: ', True)"
    done = subprocess.run(
        [sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )
    assert "there is no terminal to ask at: Passphrase of /k:" in done.stderr


def test_started_jobs_show_how_long_they_run(capsys: pytest.CaptureFixture[str]) -> None:
    add(job("a", JobState.RUNNING, started=time.time() - 3700))
    assert cli.main(["jobs"]) == 0
    assert "1 h 1 min" in capsys.readouterr().out
