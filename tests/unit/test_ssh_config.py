"""Addresses and ssh_config; OpenSSH's own `ssh -G` is the witness."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lepton_jupyter.errors import ConfigError
from lepton_jupyter.targets._ssh_config import resolve, split_address


class TestAddress:
    @pytest.mark.parametrize(
        ("text", "parts"),
        [
            ("gpu1", ("", "gpu1", None)),
            ("ann@gpu1", ("ann", "gpu1", None)),
            ("ann@gpu1:2222", ("ann", "gpu1", 2222)),
            ("ssh://ann@gpu1:2222/", ("ann", "gpu1", 2222)),
            ("a@corp@gpu1", ("a@corp", "gpu1", None)),
            ("::1", ("", "::1", None)),
            ("ann@[fe80::1%eth0]:22", ("ann", "fe80::1%eth0", 22)),
            ("[::1]", ("", "::1", None)),
        ],
    )
    def test_forms(self, text: str, parts: tuple[str, str, int | None]) -> None:
        assert split_address(text) == parts

    @pytest.mark.parametrize(
        "text", ["", "@gpu1", "ann@", "gpu1:", "gpu1:x", "gpu1:0", "gpu1:70000", "-oProxyCommand=x"]
    )
    def test_refused(self, text: str) -> None:
        with pytest.raises(ConfigError):
            split_address(text)


CONFIG = """\
# a comment
Include {folder}/more/*.conf
Port 2200
Host one
    HostName=one.example.org
    IdentityFile "{folder}/key one"   # a comment after it
    IdentityFile {folder}/second
    ServerAliveInterval 1m
    UserKnownHostsFile "{folder}/kh one" {folder}/kh2
host two three !four *.lab
  hostname %h.example.org
  USER bob
  ProxyJump ann@hop1:2222,hop2
  ProxyCommand never used
Host five
  ProxyCommand nc -X "a b" %h %p # %r
  ProxyJump never.used
Host six
  ProxyJump none
Match originalhost seven,eight exec "test %n = seven"
  User by-exec
Match originalhost seven !exec "true"
  Port 1
Match host "*.example.org" user bob
  ConnectTimeout 7
Match localuser nobody-here
  Port 2
Host *
  HostKeyAlias   alias-%
  IdentityFile {folder}/%n-%r
  IdentitiesOnly yes
  ServerAliveCountMax 9
  User last
"""
INCLUDED = "Host one\n  Port 77\nHost inner.lab\n  User inc\n"


class TestConfig:
    @pytest.fixture
    def config(self, tmp_path: Path) -> Path:
        (tmp_path / "more").mkdir()
        (tmp_path / "more" / "a.conf").write_text(INCLUDED)
        path = tmp_path / "config"
        path.write_text(CONFIG.format(folder=tmp_path).replace("alias-%", "alias"))
        return path

    @pytest.mark.parametrize(
        "host", ["one", "two", "three", "four", "x.lab", "inner.lab", "five", "six", "seven", "eight", "zoe@two", "any"]
    )
    def test_as_openssh_reads_it(self, config: Path, host: str) -> None:
        done = subprocess.run(["ssh", "-F", str(config), "-G", host], capture_output=True, text=True, check=True)
        theirs: dict[str, list[str]] = {}
        for line in done.stdout.splitlines():
            key, _, value = line.partition(" ")
            theirs.setdefault(key, []).append(value)
        ours = resolve(host, config)
        assert ours.hostname == theirs["hostname"][0]
        assert ours.port == int(theirs["port"][0])
        assert ours.user == theirs["user"][0]
        assert ours.identities_only == (theirs["identitiesonly"][0] == "yes")
        assert ours.alive_count == int(theirs["serveralivecountmax"][0])
        assert ours.host_key_alias == theirs["hostkeyalias"][0]
        assert ",".join(ours.proxy_jump) == theirs.get("proxyjump", [""])[0].replace("none", "")
        tokens = {"%n": ours.alias, "%r": ours.user, "%h": ours.hostname, "%p": str(ours.port)}

        def expanded(text: str) -> str:
            for token, value in tokens.items():
                text = text.replace(token, value)
            return text

        assert [str(path) for path in ours.identity_files] == [expanded(text) for text in theirs["identityfile"]]
        assert ours.proxy_command == expanded(theirs.get("proxycommand", [""])[0])
        timeout = theirs["connecttimeout"][0]
        assert ours.connect_timeout == (10 if timeout == "none" else int(timeout))

    def test_lists_and_defaults(self, config: Path, tmp_path: Path) -> None:
        one = resolve("one", config)
        assert one.known_hosts[:2] == (tmp_path / "kh one", tmp_path / "kh2")
        assert one.alive_interval == 60
        nothing = resolve("ann@host:2222", tmp_path / "absent")
        assert (nothing.user, nothing.hostname, nothing.port) == ("ann", "host", 2222)
        assert nothing.identity_files[0] == Path.home() / ".ssh" / "id_ed25519"
        assert nothing.alive_interval == 5
        assert nothing.key_name == "[host]:2222"

    def test_what_is_given_wins(self, config: Path) -> None:
        ours = resolve("me@one:9", config)
        assert (ours.user, ours.port, ours.hostname) == ("me", 9, "one.example.org")

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("Host", "line 1"),
            ('Host "x\n', "quote"),
            ("Match planet mars\n", "planet"),
            ("HostName %z\n", "%z"),
            ("Port twenty\n", "port"),
        ],
    )
    def test_mistakes_are_said(self, tmp_path: Path, text: str, words: str) -> None:
        path = tmp_path / "config"
        path.write_text(text)
        with pytest.raises(ConfigError, match=words):
            resolve("host", path)

    def test_files_that_include_themselves(self, tmp_path: Path) -> None:
        path = tmp_path / "config"
        path.write_text(f"Include {path}\n")
        with pytest.raises(ConfigError, match="without end"):
            resolve("host", path)

    def test_identity_agent(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SSH_AUTH_SOCK", "/run/a")
        monkeypatch.setenv("OTHER", "/run/b")

        def agent(value: str) -> str:
            path = tmp_path / "config"
            path.write_text(f"IdentityAgent {value}\n" if value else "")
            return resolve("host", path).identity_agent

        assert [agent(value) for value in ("", "SSH_AUTH_SOCK", "none", "$OTHER", "/run/c", "%d/d")] == [
            "/run/a", "/run/a", "", "/run/b", "/run/c", f"{Path.home()}/d",
        ]  # fmt: skip
