"""The one file of targets: read with precise complaints, written without losing a comment or another's change."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from lepton_jupyter.config import Config, config_path, nearest, parse_duration, parse_size, private_folder, state_dir
from lepton_jupyter.errors import ConfigError

FILE = """\
# my machines
default = "gpu1"  # the big one

[targets.gpu1]
kind = "ssh"
host = "ann@gpu1:2222"  # behind the firewall
price_per_hour = 2.10

[targets.lab]
kind = "ssh"
host = "lab"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "lepton.toml"
    path.write_text(FILE)
    return path


def complaint(path: Path, text: str) -> ConfigError:
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        Config.load(path)
    return caught.value


def test_a_missing_file_has_the_built_in_target_only(tmp_path: Path) -> None:
    config = Config.load(tmp_path / "none.toml")
    assert list(config.targets) == ["local"]
    assert config.target().name == config.target().kind == config.default == "local"
    assert not (tmp_path / "none.toml").exists()


def test_targets_and_default_are_read(file: Path) -> None:
    config = Config.load(file)
    assert list(config.targets) == ["local", "gpu1", "lab"]
    assert config.target() == config.target("gpu1")
    assert config.target("gpu1").kind == "ssh"
    assert dict(config.target("gpu1").options) == {"host": "ann@gpu1:2222", "price_per_hour": 2.1}


def test_the_environment_goes_before_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEPTON_CONFIG", str(file))
    assert config_path() == file
    assert Config.load().target().name == "gpu1"
    monkeypatch.setenv("LEPTON_TARGET", "lab")
    assert Config.load().target().name == "lab"
    assert Config.load().target("gpu1").name == "gpu1"  # and an option before both


def test_the_usual_places_are_jupyters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LEPTON_CONFIG", "LEPTON_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "conf"))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    assert config_path() == tmp_path / "conf" / "lepton.toml"
    assert state_dir() == tmp_path / "data" / "lepton"


def test_an_edit_is_seen_without_a_restart(file: Path) -> None:
    config = Config.load(file)
    file.write_text(FILE.replace('"lab"', '"lab.example.org"'))
    assert config.target("lab").options["host"] == "lab.example.org"


def test_writing_keeps_comments_order_and_mode(file: Path) -> None:
    config = Config.load(file)
    config.add("gpu2", "ssh", {"host": "gpu2", "ports": [1, 2]})
    text = file.read_text()
    assert text.startswith(FILE)
    assert '[targets.gpu2]\nkind = "ssh"\nhost = "gpu2"\nports = [1, 2]\n' in text
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    config.set_default("gpu2")
    assert file.read_text() == text.replace('default = "gpu1"', 'default = "gpu2"')
    config.remove("gpu2")
    assert Config.load(file).default == "local"
    assert "# behind the firewall" in file.read_text()


def test_the_last_target_can_go_too(tmp_path: Path) -> None:
    config = Config.load(tmp_path / "lepton.toml")
    config.add("a", "ssh", {"host": "a"})
    config.set_default("a")
    config.remove("a")
    assert list(Config.load(config.path).targets) == ["local"]
    assert config.path.read_text().strip() == ""


def test_adding_again_changes_what_differs_and_drops_what_is_not_said(file: Path) -> None:
    config = Config.load(file)
    config.add("gpu1", "ssh", {"host": "ann@gpu1:2222", "python": "auto"})
    text = file.read_text()
    assert "price_per_hour" not in text
    assert 'host = "ann@gpu1:2222"  # behind the firewall\n' in text
    before = file.stat().st_ino
    config.add("gpu1", "ssh", {"host": "ann@gpu1:2222", "python": "auto"})
    assert file.stat().st_ino == before  # nothing to write


@pytest.mark.parametrize("text", ["", "# only words\n", "[targets]\n", "[targets.a]\nkind = 'ssh'\n", "\n\n"])
def test_default_is_written_where_it_counts(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lepton.toml"
    path.write_text(text)
    config = Config.load(path)
    config.add("b", "ssh", {"host": "b"})
    config.set_default("b")
    assert Config.load(path).default == "b"
    assert Config.load(path).targets.keys() >= {"local", "b"}


def test_a_file_that_cannot_be_changed_safely_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "lepton.toml"
    path.write_text("targets.a.kind = 'ssh'\ndefault = 'a'\n")
    before = path.read_text()
    config = Config.load(path)
    with pytest.raises(ConfigError, match="cannot be changed here"):
        config.add("b", "ssh", {})
    assert path.read_text() == before


def test_a_linked_file_stays_a_link(tmp_path: Path, file: Path) -> None:
    link = tmp_path / "link.toml"
    link.symlink_to(file)
    Config.load(link).add("new", "ssh", {"host": "new"})
    assert link.is_symlink()
    assert "new" in Config.load(file).targets


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path, repository: Path) -> None:
    path = tmp_path / "lepton.toml"
    code = (
        "import sys; from pathlib import Path; from lepton_jupyter.config import Config\n"
        "config = Config.load(Path(sys.argv[1]))\n"
        "for n in range(8): config.add(f'{sys.argv[2]}-{n}', 'ssh', {'host': 'h'})\n"
    )
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path), name], env={**os.environ, "PYTHONPATH": str(repository)}
        )
        for name in ("a", "b", "c")
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert set(Config.load(path).targets) == {"local", *(f"{name}-{n}" for name in "abc" for n in range(8))}
    assert {entry.name for entry in tmp_path.iterdir()} == {"lepton.toml", ".lepton.toml.lock"}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("default = 'a'\nx = \n", 2, "something is missing"),
        ("[targets.a]\nkind = 'ssh'\n[targets.a]\n", 3, "already exists"),
        ("\ndefault = 1\n", 2, "must be the name of a target"),
        ("defualt = 'a'\n", 1, "unknown key 'defualt'"),
        ("\n[targets.a]\nhost = 'x'\n", 2, "does not say its kind"),
        ("[targets.a]\nkind = 3\n", 1, "does not say its kind"),
        ("[targets.'-rf']\nkind = 'ssh'\n", 1, "'-rf' cannot name a target"),
        ("[targets.local]\nkind = 'ssh'\n", 1, "is this machine"),
    ],
)
def test_a_complaint_names_file_and_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    path = tmp_path / "lepton.toml"
    error = complaint(path, text)
    assert str(error).startswith(f"{path}, line {line}: ")
    assert words in error.message


def test_a_mistyped_key_is_guessed(tmp_path: Path) -> None:
    error = complaint(tmp_path / "lepton.toml", "defualt = 'a'")
    assert error.hint == "Did you mean 'default'? Known: card, default, targets."
    assert nearest("xyz", ["host"]) == "Known: host."


@pytest.mark.parametrize("data", [b"\xff\xfe", b"default = '\xe9'"])
def test_a_file_that_is_no_text_is_said(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "lepton.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="not text in UTF-8"):
        Config.load(path)


def test_an_unknown_target_lists_the_known_ones(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config.load(file)
    with pytest.raises(ConfigError) as caught:
        config.target("gpu")
    assert caught.value.message == "there is no target 'gpu'"
    assert "Did you mean 'gpu1'? Known: gpu1, lab, local." in caught.value.hint
    monkeypatch.setenv("LEPTON_TARGET", "nowhere")
    with pytest.raises(ConfigError, match="LEPTON_TARGET"):
        config.target()
    monkeypatch.delenv("LEPTON_TARGET")
    file.write_text(FILE.replace('"gpu1"  #', '"gone"  #'))
    with pytest.raises(ConfigError, match="line 2"):
        config.target()


@pytest.mark.parametrize("name", ["", "-rf", "a b", "a/b", "a\nb", "é", ".hidden", 'a"b', "$(x)", "a\n"])
def test_hostile_names_are_refused(file: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a target"):
        Config.load(file).add(name, "ssh", {})
    assert file.read_text() == FILE


@pytest.mark.parametrize(
    "value", ['a "b" \\ c', "line\nbreak", "日本語 🚀", "[targets.evil]\nkind='x'", "\x1b[31m", "'''"]
)
def test_hostile_values_come_back_as_they_were(file: Path, value: str) -> None:
    config = Config.load(file)
    config.add("a", "ssh", {"host": value})
    again = Config.load(file)
    assert again.target("a").options["host"] == value
    assert list(again.targets) == ["local", "gpu1", "lab", "a"]


def test_a_name_with_dots_is_one_name(file: Path) -> None:
    config = Config.load(file)
    config.add("gpu.example.org", "ssh", {"host": "x"})
    assert Config.load(file).target("gpu.example.org").options["host"] == "x"
    assert config.where("gpu.example.org") == f"{file}, line 13"


def test_local_has_options_but_cannot_leave_or_become_another_kind(file: Path) -> None:
    config = Config.load(file)
    with pytest.raises(ConfigError, match="built in"):
        config.remove("local")
    with pytest.raises(ConfigError, match="is this machine"):
        config.add("local", "ssh", {"host": "x"})
    config.add("local", "local", {"python": "/usr/bin/python3"})
    assert config.target("local").options["python"] == "/usr/bin/python3"
    config.remove("local")
    assert not config.target("local").options


def test_a_line_is_found_for_later_complaints(file: Path) -> None:
    config = Config.load(file)
    assert config.where("gpu1", "host") == f"{file}, line 6"
    assert config.where("lab") == f"{file}, line 9"
    assert config.where("unwritten") == str(file)


def test_the_state_folder_is_made_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEPTON_HOME", str(tmp_path / "deep" / "lepton"))
    old = os.umask(0)
    try:
        folder = state_dir()
    finally:
        os.umask(old)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert state_dir() == folder


def test_a_folder_open_to_others_is_refused_with_the_cure(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    with pytest.raises(ConfigError, match="mode 0755") as caught:
        private_folder(folder)
    assert f"chmod 700 '{folder}'" in caught.value.hint
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_a_file_in_the_folders_place_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="not a folder"):
        private_folder(tmp_path / "file")
    with pytest.raises(ConfigError, match="cannot be made"):
        private_folder(tmp_path / "file" / "below")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("12h", 43200), ("2d", 172800), ("1h 30M", 5400), ("0.5h", 1800)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "-30m", "30 minutes", "1e3s", "٣s", "h", "1.s", "nan", "1h30"])
def test_other_durations_are_refused_with_examples(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_duration(text)
    assert '"30m"' in caught.value.hint


@pytest.mark.parametrize(
    ("text", "size"), [("0B", 0), ("500 MB", 500e6), ("20GiB", 20 << 30), ("1.5tb", 1.5e12), (" 3 kib ", 3072)]
)
def test_sizes(text: str, size: float) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "20", "-1GB", "20 gigabytes", "1e3MB", "٣GB", "GB", "1.GB", "nan", "1GB2"])
def test_other_sizes_are_refused_with_examples(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a size") as caught:
        parse_size(text)
    assert '"20GiB"' in caught.value.hint


@settings(deadline=None)  # a disk may be slow
@given(some.text(max_size=80))
def test_any_text_is_a_configuration_or_a_complaint(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        assert "local" in Config.load(path).targets
    except ConfigError as error:
        assert str(path) in error.message


def test_whether_cells_show_a_card(tmp_path: Path) -> None:
    path = tmp_path / "lepton.toml"
    config = Config.load(path)
    assert config.card is False
    path.write_text("card = true\n")
    assert config.card is True
    assert str(complaint(path, 'card = "yes"')).startswith(f"{path}, line 1: card is either true or false")
