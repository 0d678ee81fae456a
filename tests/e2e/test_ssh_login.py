"""Logins over real sshd: host keys, keys, agents, passwords and jump hosts; every refusal in words."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from lepton_jupyter.errors import (
    AuthenticationFailed,
    HostKeyChanged,
    HostKeyUnknown,
    HostUnreachable,
)
from tests.fakes.hosts import Asked, MakeHost, echo_back, output, works
from tests.fakes.sshd import Account, MakeSshd, SshAgent, Sshd, fingerprint, keygen


class TestHostKeys:
    @pytest.fixture
    def stranger(self, sshd: Sshd, tmp_path: Path) -> Path:
        """A configuration that knows no host keys."""
        config = sshd.config_for(tmp_path)
        (tmp_path / "known_hosts").unlink()
        return config

    @pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
    def test_unknown_then_accepted(
        self, sshd: Sshd, make_host: MakeHost, stranger: Path, tmp_path: Path, kind: str
    ) -> None:
        with pytest.raises(HostKeyUnknown) as caught:
            make_host(sshd.alias, stranger).start(["true"])
        shown = fingerprint(sshd.public_key("ed25519"))
        assert shown in caught.value.message
        assert f"--accept-host-key {shown}" in caught.value.hint
        scan = ["ssh-keyscan", "-T", "5", "-t", kind, "-p", str(sshd.port), sshd.address]
        (tmp_path / "scanned").write_bytes(subprocess.run(scan, capture_output=True, check=True).stdout)
        accepted = fingerprint(tmp_path / "scanned")
        assert works(make_host(sshd.alias, stranger, accept_host_key=accepted)), "any of the server's keys will do"
        own = tmp_path / "lepton" / "known_hosts"
        assert own.read_text() == sshd.known_hosts_lines(kinds=(kind,))
        assert works(make_host(sshd.alias, stranger)), "now it is known"
        assert not (tmp_path / "known_hosts").exists(), "OpenSSH's file is not ours to write"

    def test_other_fingerprint_is_refused(
        self, sshd: Sshd, make_host: MakeHost, stranger: Path, tmp_path: Path
    ) -> None:
        other = fingerprint(keygen(tmp_path / "other").with_suffix(".pub"))
        with pytest.raises(HostKeyUnknown, match="not the accepted"):
            make_host(sshd.alias, stranger, accept_host_key=other).start(["true"])
        assert not (tmp_path / "lepton").exists()

    @pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
    def test_the_key_on_file_is_asked_for(self, sshd: Sshd, make_host: MakeHost, tmp_path: Path, kind: str) -> None:
        config = sshd.config_for(tmp_path)
        (tmp_path / "known_hosts").write_text(sshd.known_hosts_lines(kinds=(kind,)))
        assert works(make_host(sshd.alias, config))

    def test_strict_host_key_checking_no_is_not_honoured(self, sshd: Sshd, make_host: MakeHost, stranger: Path) -> None:
        stranger.write_text("StrictHostKeyChecking no\n" + stranger.read_text())
        with pytest.raises(HostKeyUnknown):
            make_host(sshd.alias, stranger).start(["true"])

    def test_changed(self, make_sshd: MakeSshd, make_host: MakeHost) -> None:
        sshd = make_sshd()
        host = make_host(sshd.alias, sshd.config)
        assert works(host)
        sshd.change_host_keys()
        accepted = fingerprint(sshd.public_key("ed25519"))
        for again in (host, make_host(sshd.alias, sshd.config, accept_host_key=accepted)):
            with pytest.raises(HostKeyChanged) as caught:
                again.start(["true"])
            assert f"{sshd.known_hosts}, line 1" in caught.value.message
            assert accepted in caught.value.message


class TestKeys:
    def test_wrong_key_is_refused_in_words(self, sshd: Sshd, make_host: MakeHost, tmp_path: Path) -> None:
        key = keygen(tmp_path / "wrong")
        config = sshd.config_for(tmp_path / "c")
        config.write_text(config.read_text().replace(str(sshd.client_key), str(key)))
        with pytest.raises(AuthenticationFailed) as caught:
            make_host(sshd.alias, config).start(["true"])
        assert f"{key} (refused)" in caught.value.message
        assert "publickey" in caught.value.hint
        assert f"ssh-copy-id {sshd.user}@{sshd.alias}" in caught.value.hint

    def test_no_key_at_all(self, sshd: Sshd, make_host: MakeHost, tmp_path: Path) -> None:
        config = sshd.config_for(tmp_path)
        config.write_text(config.read_text().replace(str(sshd.client_key), str(tmp_path / "absent")))
        with pytest.raises(AuthenticationFailed, match="nothing"):
            make_host(sshd.alias, config).start(["true"])

    @pytest.mark.parametrize("kind", ["ecdsa", "rsa", "pem", "pkcs8"])
    def test_kinds_and_formats(self, make_sshd: MakeSshd, make_host: MakeHost, tmp_path: Path, kind: str) -> None:
        sshd = make_sshd()
        options = {"pem": ("-m", "PEM"), "pkcs8": ("-m", "PKCS8")}.get(kind, ())
        key = keygen(tmp_path / "key", "rsa" if options else kind, "", *options)
        sshd.authorized_keys.write_text(key.with_suffix(".pub").read_text())
        sshd.config.write_text(sshd.config.read_text().replace(str(sshd.client_key), str(key)))
        assert works(make_host(sshd.alias, sshd.config))

    def test_several_keys_more_than_the_host_has_patience_for(
        self, make_sshd: MakeSshd, make_host: MakeHost, tmp_path: Path
    ) -> None:
        sshd = make_sshd("MaxAuthTries 2")
        wrong = [keygen(tmp_path / f"wrong{number}") for number in range(3)]
        extra = "".join(f"IdentityFile {key}\n" for key in wrong)
        config = sshd.config_for(tmp_path / "c", extra=extra)
        assert works(make_host(sshd.alias, config)), "goes on where the host hung up"

    def test_passphrase_is_asked_once(self, make_sshd: MakeSshd, make_host: MakeHost, tmp_path: Path) -> None:
        sshd = make_sshd()
        key = keygen(tmp_path / "locked", "ed25519", "open sesame")
        sshd.authorized_keys.write_text(key.with_suffix(".pub").read_text())
        sshd.config.write_text(sshd.config.read_text().replace(str(sshd.client_key), str(key)))
        asked = Asked("wrong", "open sesame")
        host = make_host(sshd.alias, sshd.config, asked)
        assert works(host)
        sshd.kill_connections()
        assert works(host)
        assert len(asked.questions) == 2
        assert str(key) in asked.questions[0]
        with pytest.raises(AuthenticationFailed, match="wrong passphrase, 3 times"):
            make_host(sshd.alias, sshd.config, Asked("a", "b", "c", "open sesame")).start(["true"])
        with pytest.raises(AuthenticationFailed, match="nobody can be asked here") as caught:
            make_host(sshd.alias, sshd.config).start(["true"])
        assert "ssh-add" in caught.value.hint

    def test_a_key_that_works_spares_the_question(self, sshd: Sshd, make_host: MakeHost, tmp_path: Path) -> None:
        locked = keygen(tmp_path / "locked", "ed25519", "secret")
        config = sshd.config_for(tmp_path / "c", extra=f"IdentityFile {locked}")
        asked = Asked("secret")
        assert works(make_host(sshd.alias, config, asked))
        assert asked.questions == []

    @pytest.mark.parametrize("by", ["environment", "IdentityAgent", "IdentitiesOnly"])
    def test_agent(
        self,
        make_sshd: MakeSshd,
        make_host: MakeHost,
        ssh_agent: SshAgent,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        by: str,
    ) -> None:
        sshd = make_sshd()
        ssh_agent.add(sshd.client_key)
        ssh_agent.add(keygen(tmp_path / "rsa", "rsa"))
        text = sshd.config.read_text()
        if by == "IdentitiesOnly":  # the private half is in the agent alone
            sshd.client_key.unlink()
        else:
            text = text.replace("IdentitiesOnly yes", "").replace(str(sshd.client_key), str(tmp_path / "absent"))
        if by == "IdentityAgent":
            text += f"IdentityAgent {ssh_agent.socket}\n"
        else:
            monkeypatch.setenv("SSH_AUTH_SOCK", str(ssh_agent.socket))
        sshd.config.write_text(text)
        assert works(make_host(sshd.alias, sshd.config))
        accepted = [line for line in sshd.log.read_text().splitlines() if "Accepted publickey" in line]
        assert fingerprint(sshd.client_key.with_suffix(".pub")) in accepted[-1]

    def test_agent_that_is_gone(self, sshd: Sshd, make_host: MakeHost, tmp_path: Path) -> None:
        config = sshd.config_for(tmp_path, extra=f"IdentityAgent {tmp_path}/nobody")
        assert works(make_host(sshd.alias, config))

    def test_certificate(self, make_sshd: MakeSshd, make_host: MakeHost, tmp_path: Path) -> None:
        authority = keygen(tmp_path / "authority")
        sshd = make_sshd(f"TrustedUserCAKeys {authority}.pub")
        sshd.authorized_keys.write_text("")
        sign = ["ssh-keygen", "-q", "-s", str(authority), "-I", "id", "-n", sshd.user, f"{sshd.client_key}.pub"]
        subprocess.run(sign, check=True, capture_output=True)
        assert works(make_host(sshd.alias, sshd.config))


METHODS = {
    "password": ("PasswordAuthentication yes",),
    "keyboard-interactive": ("KbdInteractiveAuthentication yes", "UsePAM yes"),
}


def password_config(sshd: Sshd, account: Account, folder: Path) -> Path:
    config = sshd.config_for(folder)
    config.write_text(
        config.read_text().replace(f"User {sshd.user}", f"User {account.name}").replace(str(sshd.client_key), "none")
    )
    return config


class TestPasswords:
    @pytest.mark.parametrize("method", METHODS)
    def test_asked_and_kept_for_reconnects(
        self, make_sshd: MakeSshd, make_host: MakeHost, account: Account, tmp_path: Path, method: str
    ) -> None:
        sshd = make_sshd(*METHODS[method])
        config = password_config(sshd, account, tmp_path / "c")
        asked = Asked("not it", account.password)
        host = make_host(sshd.alias, config, asked)
        assert output(host.start(["id", "-un"])) == f"{account.name}\n"
        assert len(asked.questions) == 2
        assert f"{account.name}@{sshd.alias}" in asked.questions[0]
        assert sshd.kill_connections()
        assert works(host)
        assert len(asked.questions) == 2, "kept in memory"
        written = "".join(path.read_text("latin1") for path in tmp_path.rglob("*") if path.is_file())
        assert account.name in written
        assert account.password not in written, "never on disk"

    @pytest.mark.parametrize("method", METHODS)
    def test_three_tries(
        self, make_sshd: MakeSshd, make_host: MakeHost, account: Account, tmp_path: Path, method: str
    ) -> None:
        sshd = make_sshd(*METHODS[method])
        config = password_config(sshd, account, tmp_path / "c")
        asked = Asked("a", "b", "c", account.password)
        with pytest.raises(AuthenticationFailed) as caught:
            make_host(sshd.alias, config, asked).start(["true"])
        assert len(asked.questions) == 3
        assert "refused" in caught.value.message
        assert account.name in caught.value.message

    def test_nobody_to_ask(self, make_sshd: MakeSshd, make_host: MakeHost, account: Account, tmp_path: Path) -> None:
        sshd = make_sshd("PasswordAuthentication yes")
        with pytest.raises(AuthenticationFailed, match="nobody can be asked here"):
            make_host(sshd.alias, password_config(sshd, account, tmp_path / "c")).start(["true"])

    def test_key_and_password_together(
        self, make_sshd: MakeSshd, make_host: MakeHost, account: Account, tmp_path: Path
    ) -> None:
        keys = tmp_path / "keys"  # root reads them: the folders of a test are closed to the account
        command = (f"AuthorizedKeysCommand /bin/cat {keys}", "AuthorizedKeysCommandUser root")
        sshd = make_sshd("PasswordAuthentication yes", "AuthenticationMethods publickey,password", *command)
        keys.write_text(sshd.authorized_keys.read_text())
        config = sshd.config_for(tmp_path / "c")
        config.write_text(config.read_text().replace(f"User {sshd.user}", f"User {account.name}"))
        asked = Asked(account.password)
        assert works(make_host(sshd.alias, config, asked))
        assert len(asked.questions) == 1


#: A configuration with hosts a, b and c, and their servers.
Three = tuple[Path, list[Sshd]]


class TestJumps:
    @pytest.fixture
    def three(self, make_sshd: MakeSshd, tmp_path: Path) -> Three:
        servers = [make_sshd() for _ in range(3)]
        known = tmp_path / "known_hosts"
        known.write_text("".join(server.known_hosts_lines() for server in servers))
        config = tmp_path / "config"
        config.write_text("".join(s.config_block(known, alias=n) for s, n in zip(servers, "abc", strict=True)))
        return config, servers

    @pytest.mark.parametrize(
        ("jumps", "passed"),
        [
            ("Host c\nProxyJump a,b\n", [1, 1, 1]),
            ("Host c\nProxyJump b\nHost b\nProxyJump a\n", [1, 1, 1]),
            ("Host c\nProxyJump a\n", [1, 0, 1]),
            ("Host c\nProxyJump none\nHost *\nProxyJump a\n", [0, 0, 1]),
        ],
    )
    def test_chains(self, three: Three, make_host: MakeHost, jumps: str, passed: list[int]) -> None:
        config, servers = three
        config.write_text(jumps + config.read_text())
        host = make_host("c", config)
        assert works(host)
        assert works(host)
        assert [log.count("Accepted publickey") for log in (s.log.read_text() for s in servers)] == passed
        echo_back(host, os.urandom(3 << 20))
        host.close()
        deadline = time.monotonic() + 5
        while any(server.connections() for server in servers) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not any(server.connections() for server in servers), "closing ends the whole chain"

    def test_user_and_port_of_a_jump(self, three: Three, make_host: MakeHost, tmp_path: Path) -> None:
        config, (a, _, _) = three
        config.write_text(f"Host c\nProxyJump {a.user}@{a.address}:{a.port}\n" + config.read_text())
        # By its address the alias's key does not apply.
        text = (
            config.read_text()
            + f"Host {a.address}\nIdentityFile {a.client_key}\nUserKnownHostsFile {config.parent}/known_hosts\n"
        )
        config.write_text(text)
        assert works(make_host("c", config))

    def test_a_cut_in_the_chain_is_mended(self, three: Three, make_host: MakeHost) -> None:
        config, servers = three
        config.write_text("Host c\nProxyJump a\n" + config.read_text())
        host = make_host("c", config)
        process = host.start(["cat"])
        servers[0].kill_connections()
        assert process.read(1) == b""
        assert works(host)

    def test_unknown_jump_host_is_refused_and_can_be_accepted(self, three: Three, make_host: MakeHost) -> None:
        config, servers = three
        config.write_text("Host c\nProxyJump a\n" + config.read_text())
        (config.parent / "known_hosts").write_text(servers[2].known_hosts_lines())
        with pytest.raises(HostKeyUnknown, match="@a is not known yet") as caught:
            make_host("c", config).start(["true"])
        accepted = fingerprint(servers[0].public_key("ed25519"))
        assert accepted in caught.value.hint
        assert works(make_host("c", config, accept_host_key=accepted))

    def test_refusals_on_the_way(self, three: Three, make_host: MakeHost, make_sshd: MakeSshd) -> None:
        config, servers = three
        config.write_text("Host c\nProxyJump a\n" + config.read_text())
        servers[2].stop()
        with pytest.raises(HostUnreachable, match="jump host a cannot reach"):
            make_host("c", config).start(["true"])
        closed = make_sshd("AllowTcpForwarding no")
        block = closed.config_block(closed.known_hosts, alias="closed")
        config.write_text(block + config.read_text().replace("ProxyJump a", "ProxyJump closed"))
        with pytest.raises(HostUnreachable, match="does not let us through"):
            make_host("c", config).start(["true"])

    def test_a_circle(self, three: Three, make_host: MakeHost) -> None:
        config, _ = three
        config.write_text("Host c\nProxyJump a\nHost a\nProxyJump c\n" + config.read_text())
        with pytest.raises(HostUnreachable, match="circle"):
            make_host("c", config).start(["true"])

    def test_proxy_command(self, sshd: Sshd, make_host: MakeHost, tmp_path: Path) -> None:
        log = tmp_path / "log"
        inner = sshd.config_for(tmp_path / "inner")
        # The shell is needed for "&&"; ssh -W is the proxy that every machine with these tests has.
        command = f'sh -c "echo %h %p %r >{log} && exec ssh -F {inner} -W %h:%p {sshd.alias}"'
        config = sshd.config_for(tmp_path, extra=f"ProxyCommand {command}")
        host = make_host(sshd.alias, config)
        assert works(host)
        assert log.read_text() == f"{sshd.address} {sshd.port} {sshd.user}\n"
        echo_back(host, os.urandom(8 << 20))
        host.close()
        deadline = time.monotonic() + 5
        while "ssh" in [child.name() for child in psutil.Process().children()] and time.monotonic() < deadline:
            time.sleep(0.05)
        assert "ssh" not in [child.name() for child in psutil.Process().children()]

    def test_proxy_command_that_fails(self, sshd: Sshd, make_host: MakeHost, tmp_path: Path) -> None:
        config = sshd.config_for(tmp_path, extra="ProxyCommand no-such-proxy %h")
        with pytest.raises(HostUnreachable, match="no-such-proxy"):
            make_host(sshd.alias, config).start(["true"])
