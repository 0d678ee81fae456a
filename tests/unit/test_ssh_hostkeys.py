"""Which host keys are trusted; `ssh-keygen` is the witness."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest

from lepton_jupyter.errors import HostKeyChanged, HostKeyUnknown, HostStorage
from lepton_jupyter.targets._ssh_config import HostConfig, resolve
from lepton_jupyter.targets._ssh_hostkeys import HostKey, KnownHosts
from tests.fakes.sshd import fingerprint, keygen


class TestHostKeys:
    NAME = "[host.example.org]:2222"

    @pytest.fixture
    def keys(self, tmp_path: Path) -> dict[str, Path]:
        return {kind: keygen(tmp_path / f"key_{kind}", kind) for kind in ("ed25519", "ecdsa", "rsa")}

    @staticmethod
    def line(private: Path) -> str:
        return " ".join(private.with_suffix(".pub").read_text().split()[:2])

    @staticmethod
    def key(private: Path) -> HostKey:
        kind, blob = private.with_suffix(".pub").read_text().split()[:2]
        return HostKey(type=kind, blob=base64.b64decode(blob))

    def known(self, tmp_path: Path, text: str) -> KnownHosts:
        (tmp_path / "known_hosts").write_text(text)
        return KnownHosts([tmp_path / "known_hosts"], tmp_path / "state" / "known_hosts")

    def check(self, known: KnownHosts, key: HostKey, accepted: str = "") -> None:
        known.check(self.NAME, key, accepted, "ann@host")

    def test_fingerprints_as_ssh_keygen_prints_them(self, keys: dict[str, Path]) -> None:
        for kind, path in keys.items():
            assert self.key(path).fingerprint == fingerprint(path.with_suffix(".pub"))
            assert self.key(path).kind == kind.upper()

    @pytest.mark.parametrize(
        "names", ["{name}", "other,{name}", "*.example.org,[*.example.org]:2222", "[HOST.example.org]:2222"]
    )
    def test_known(self, tmp_path: Path, keys: dict[str, Path], names: str) -> None:
        text = f"# comment\n\n{names.format(name=self.NAME)} {self.line(keys['ed25519'])} comment\n"
        self.check(self.known(tmp_path, text), self.key(keys["ed25519"]))

    def test_known_by_the_name_without_port(self, tmp_path: Path, keys: dict[str, Path]) -> None:
        known = self.known(tmp_path, f"host.example.org {self.line(keys['ed25519'])}\n")
        self.check(known, self.key(keys["ed25519"]))
        with pytest.raises(HostKeyUnknown):
            self.check(known, self.key(keys["rsa"]))

    def test_hashed_by_ssh_keygen(self, tmp_path: Path, keys: dict[str, Path]) -> None:
        known = self.known(tmp_path, f"{self.NAME} {self.line(keys['rsa'])}\n")
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", tmp_path / "known_hosts"], check=True, capture_output=True)
        assert "example" not in (tmp_path / "known_hosts").read_text()
        self.check(known, self.key(keys["rsa"]))
        with pytest.raises(HostKeyChanged, match=r"known_hosts, line 1"):
            self.check(known, self.key(keys["ed25519"]))

    def test_unknown_says_how_to_accept(self, tmp_path: Path, keys: dict[str, Path]) -> None:
        line = self.line(keys["ed25519"])
        known = self.known(tmp_path, f"other {line}\n!{self.NAME},!host.example.org,* {line}\n")
        with pytest.raises(HostKeyUnknown) as caught:
            self.check(known, self.key(keys["ed25519"]))
        print_ = fingerprint(keys["ed25519"].with_suffix(".pub"))
        assert f"ED25519 key has the fingerprint {print_}" in caught.value.message
        assert f"%lepton_target add NAME URL --accept-host-key {print_}" in caught.value.hint

    def test_changed_names_file_and_line(self, tmp_path: Path, keys: dict[str, Path]) -> None:
        old, new = keygen(tmp_path / "old"), self.key(keys["ed25519"])
        known = self.known(tmp_path, f"# one\n{self.NAME} {self.line(old)}\n")
        for accepted in ("", new.fingerprint):
            with pytest.raises(HostKeyChanged) as caught:
                self.check(known, new, accepted)
            assert f"{tmp_path / 'known_hosts'}, line 2" in caught.value.message
        assert not (tmp_path / "state").exists()

    def test_key_of_another_type_counts_as_changed(self, tmp_path: Path, keys: dict[str, Path]) -> None:
        known = self.known(tmp_path, f"{self.NAME} {self.line(keys['rsa'])}\n")
        with pytest.raises(HostKeyChanged, match="RSA"):
            self.check(known, self.key(keys["ed25519"]), self.key(keys["ed25519"]).fingerprint)

    def test_revoked_and_authority_lines(self, tmp_path: Path, keys: dict[str, Path]) -> None:
        line = self.line(keys["ed25519"])
        revoked = self.known(tmp_path, f"{self.NAME} {line}\n@revoked * {line}\n")
        with pytest.raises(HostKeyChanged, match=r"line 2 marks as revoked"):
            self.check(revoked, self.key(keys["ed25519"]), self.key(keys["ed25519"]).fingerprint)
        authority = self.known(tmp_path, f"@cert-authority * {line}\n")
        with pytest.raises(HostKeyUnknown):
            self.check(authority, self.key(keys["ed25519"]))

    def test_broken_lines_vouch_for_nothing(self, tmp_path: Path, keys: dict[str, Path]) -> None:
        kind, blob = self.line(keys["ed25519"]).split()
        cut = [self.NAME, f"{self.NAME} {kind}", f"{self.NAME} {kind} not-base64"]
        lines = [*cut, f"{self.NAME} ssh-rsa {blob}", "|1|x|y a b", "@revoked"]
        with pytest.raises(HostKeyUnknown):
            self.check(self.known(tmp_path, "\n".join(lines)), self.key(keys["ed25519"]))

    def test_accepting(self, tmp_path: Path, keys: dict[str, Path]) -> None:
        known, key = self.known(tmp_path, ""), self.key(keys["ed25519"])
        with pytest.raises(HostKeyUnknown, match="not the accepted"):
            self.check(known, key, self.key(keys["rsa"]).fingerprint)
        own = tmp_path / "state" / "known_hosts"
        assert not own.exists()
        self.check(known, key, key.fingerprint + "=")
        assert own.read_text() == f"{self.NAME} {self.line(keys['ed25519'])}\n"
        assert own.stat().st_mode & 0o777 == 0o600
        assert own.parent.stat().st_mode & 0o777 == 0o700
        assert [path.name for path in own.parent.iterdir()] == ["known_hosts"]
        self.check(known, key)
        found = subprocess.run(["ssh-keygen", "-F", self.NAME, "-f", own], capture_output=True, text=True, check=True)
        assert self.line(keys["ed25519"]) in found.stdout

    def test_accepting_where_nothing_can_be_written(self, tmp_path: Path, keys: dict[str, Path]) -> None:
        (tmp_path / "state").write_text("a file, not a folder")
        key = self.key(keys["ed25519"])
        with pytest.raises(HostStorage, match="cannot be kept"):
            self.check(self.known(tmp_path, ""), key, key.fingerprint)

    def test_known_types_are_asked_for_first(self, tmp_path: Path, keys: dict[str, Path]) -> None:
        known = self.known(tmp_path, f"{self.NAME} {self.line(keys['rsa'])}\n")
        assert known.algorithms(self.NAME)[:2] == ["rsa-sha2-512", "rsa-sha2-256"]
        assert known.algorithms("stranger")[0] == "ssh-ed25519"
        assert sorted(known.algorithms(self.NAME)) == sorted(known.algorithms("stranger"))

    def test_names(self, tmp_path: Path) -> None:
        def name(text: str, address: str) -> str:
            (tmp_path / "config").write_text(text)
            config: HostConfig = resolve(address, tmp_path / "config")
            return config.key_name

        assert name("", "Host") == "host"
        assert name("", "host:2222") == "[host]:2222"
        assert name("", "[::1]:2222") == "[::1]:2222"
        assert name("HostKeyAlias Fixed\n", "host:2222") == "Fixed"
