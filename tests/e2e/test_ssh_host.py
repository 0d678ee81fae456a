"""SSHHost against real sshd: commands, one connection for all of them, and what cuts and stalls do to it."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from pathlib import Path

import psutil
import pytest

from lepton_jupyter.errors import (
    ConfigError,
    HostUnreachable,
    TargetError,
)
from lepton_jupyter.targets import _ssh_link
from lepton_jupyter.targets._ssh import SSHHost
from tests.fakes.hosts import MakeHost, echo_back, output, works
from tests.fakes.proxy import MakeProxy
from tests.fakes.sshd import MakeSshd, Sshd, free_port


@pytest.fixture
def host(sshd: Sshd, make_host: MakeHost) -> SSHHost:
    return make_host(sshd.alias, sshd.config)


class TestCommands:
    def test_output_errors_status_home(self, host: SSHHost, sshd: Sshd) -> None:
        process = host.start(["sh", "-c", "echo $HOME; echo bad >&2; exit 3"])
        assert output(process) == f"{sshd.home}\n"
        assert process.wait(10) == 3
        assert process.stderr() == "bad\n"
        assert host.label == f"{sshd.user}@{sshd.alias}"

    def test_hostile_arguments(self, host: SSHHost) -> None:
        words = ["", "a b", "'", '"', "\\", "$HOME", "`id`", "!x", "*", "new\nline", "ü✓", "-rf", "%s"]
        assert output(host.start(["printf", "%s|", *words])).split("|")[:-1] == words

    def test_signal_unknown_program_and_still_running(self, host: SSHHost) -> None:
        killed = host.start(["sh", "-c", "kill -SEGV $$"])
        assert killed.wait(10) == -signal.SIGSEGV
        unknown = host.start(["no-such-program"])
        assert unknown.wait(10) == 127
        assert "no-such-program" in unknown.stderr()
        running = host.start(["cat"])
        assert running.wait(0.1) is None
        running.close()

    def test_close_wakes_a_reader_and_is_harmless_twice(self, host: SSHHost) -> None:
        process = host.start(["cat"])
        got: list[bytes] = []
        reader = threading.Thread(target=lambda: got.append(process.read(1)))
        reader.start()
        time.sleep(0.2)
        process.close()
        process.close()
        reader.join(5)
        assert got == [b""]
        with pytest.raises((OSError, EOFError)):
            process.write(b"x")

    def test_the_end_of_the_channel_is_the_end_of_stdin(self, host: SSHHost, tmp_path: Path) -> None:
        process = host.start(["sh", "-c", f"cat >/dev/null; touch {tmp_path}/done"])
        process.close()
        deadline = time.monotonic() + 10
        while not (tmp_path / "done").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert (tmp_path / "done").exists()

    def test_forty_megabytes_both_ways(self, host: SSHHost) -> None:
        echo_back(host, os.urandom(40 << 20))

    def test_keys_change_in_the_middle(self, sshd: Sshd, make_host: MakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_ssh_link, "REKEY_BYTES", 1 << 20)
        echo_back(make_host(sshd.alias, sshd.config), os.urandom(8 << 20))

    def test_a_flood_on_stderr_blocks_nothing(self, host: SSHHost) -> None:
        process = host.start(["sh", "-c", "head -c 80000000 /dev/zero >&2; echo end >&2; echo out"])
        assert output(process) == "out\n"
        assert process.stderr().endswith("end\n")
        assert len(process.stderr()) == 1 << 16

    def test_what_is_negotiated(self, host: SSHHost, sshd: Sshd) -> None:
        assert works(host)
        assert host._link is not None
        assert host._link.transport.remote_cipher == "aes128-gcm@openssh.com"
        sock = host._link._stream._sock
        assert isinstance(sock, socket.socket)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    def test_ping(self, sshd: Sshd, make_host: MakeHost, make_proxy: MakeProxy, tmp_path: Path) -> None:
        proxy = make_proxy(sshd.address, sshd.port, delay=25)
        host = make_host(sshd.alias, sshd.config_for(tmp_path, port=proxy.port))
        assert works(host)
        assert 0.05 <= min(host.ping(5) for _ in range(3)) < 0.1
        proxy.stall()
        with pytest.raises(HostUnreachable, match=r"did not answer within 0\.3 s"):
            host.ping(0.3)


class TestOneConnection:
    def test_many_threads_and_channels_share_it(
        self, sshd: Sshd, make_host: MakeHost, make_proxy: MakeProxy, tmp_path: Path
    ) -> None:
        proxy = make_proxy(sshd.address, sshd.port)
        host = make_host(sshd.alias, sshd.config_for(tmp_path, port=proxy.port))
        results: dict[int, str] = {}

        def run(number: int) -> None:
            for _ in range(3):
                results[number] = output(
                    host.start(["sh", "-c", f"head -c 200000 /dev/zero | tr '\\0' x; echo {number}"])
                )

        threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert results == {number: "x" * 200_000 + f"{number}\n" for number in range(8)}
        assert proxy.figures.accepted == 1

    def test_no_free_channel_is_said(self, make_sshd: MakeSshd, make_host: MakeHost) -> None:
        sshd = make_sshd("MaxSessions 2")
        host = make_host(sshd.alias, sshd.config)
        held = [host.start(["cat"]) for _ in range(2)]
        with pytest.raises(TargetError, match="allows no further channel") as caught:
            host.start(["true"])
        assert not isinstance(caught.value, HostUnreachable)
        assert "MaxSessions" in caught.value.hint
        held.pop().close()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                assert works(host)
                break
            except TargetError:
                time.sleep(0.1)
        else:
            pytest.fail("a closed channel was not given back")

    def test_after_a_cut(self, sshd: Sshd, make_host: MakeHost, make_proxy: MakeProxy, tmp_path: Path) -> None:
        proxy = make_proxy(sshd.address, sshd.port)
        host = make_host(sshd.alias, sshd.config_for(tmp_path, port=proxy.port))
        process = host.start(["cat"])
        start = time.monotonic()
        threading.Timer(0.2, proxy.cut).start()
        assert process.read(1) == b""
        assert process.wait(5) == -1
        assert time.monotonic() - start < 3
        with pytest.raises((OSError, EOFError)):
            process.write(b"x")
        assert works(host)
        proxy.refuse()
        proxy.cut()
        with pytest.raises(HostUnreachable, match="refuses connections"):
            while True:  # the first may still meet the old connection's last moment
                host.start(["true"]).wait(5)
        proxy.accept()
        assert works(host)
        assert proxy.figures.accepted == 3

    def test_after_the_servers_process_was_killed(self, sshd: Sshd, host: SSHHost) -> None:
        process = host.start(["cat"])
        assert len(sshd.connections()) == 1
        assert sshd.kill_connections() >= 1
        assert process.read(1) == b""
        assert works(host)

    def test_after_a_half_close(self, sshd: Sshd, make_host: MakeHost, make_proxy: MakeProxy, tmp_path: Path) -> None:
        proxy = make_proxy(sshd.address, sshd.port)
        host = make_host(sshd.alias, sshd.config_for(tmp_path, port=proxy.port))
        process = host.start(["cat"])
        proxy.half_close()
        assert process.read(1) == b""
        assert works(host)

    def test_a_short_stall_loses_nothing(
        self, sshd: Sshd, make_host: MakeHost, make_proxy: MakeProxy, tmp_path: Path
    ) -> None:
        proxy = make_proxy(sshd.address, sshd.port)
        host = make_host(sshd.alias, sshd.config_for(tmp_path, port=proxy.port))
        process = host.start(["sh", "-c", "for i in $(seq 300); do echo $i; sleep 0.01; done"])
        threading.Timer(0.5, proxy.stall_for, args=(2,)).start()
        assert output(process) == "".join(f"{number}\n" for number in range(1, 301))
        assert proxy.figures.accepted == 1

    @pytest.mark.parametrize("writing", [False, True])
    def test_a_long_stall_is_noticed(
        self, sshd: Sshd, make_host: MakeHost, make_proxy: MakeProxy, tmp_path: Path, writing: bool
    ) -> None:
        proxy = make_proxy(sshd.address, sshd.port)
        extra = "ServerAliveInterval 1\nServerAliveCountMax 3"
        host = make_host(sshd.alias, sshd.config_for(tmp_path, port=proxy.port, extra=extra))
        process = host.start(["sh", "-c", "cat >/dev/null"])
        time.sleep(5)
        assert process.wait(0) is None, "silence that questions break is no stall"
        proxy.stall()
        start = time.monotonic()
        if writing:
            with pytest.raises((OSError, EOFError)):
                while True:
                    process.write(bytes(1 << 20))
        assert process.read(1) == b""
        assert time.monotonic() - start < 8
        start = time.monotonic()
        process.close()
        assert time.monotonic() - start < 2
        proxy.resume()
        assert works(host)

    def test_close_ends_the_connection_and_its_threads(self, sshd: Sshd, host: SSHHost) -> None:
        before = threading.active_count()
        descriptors = psutil.Process().num_fds()
        process = host.start(["cat"])
        host.close()
        assert process.read(1) == b""
        deadline = time.monotonic() + 5
        while (threading.active_count() > before or sshd.connections()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert threading.active_count() <= before
        assert sshd.connections() == []
        assert psutil.Process().num_fds() <= descriptors
        assert works(host), "a closed host can be used again"


class TestUnreachable:
    def test_name_not_known(self, tmp_path: Path, make_host: MakeHost) -> None:
        with pytest.raises(HostUnreachable, match=r"no-such-host\.invalid") as caught:
            make_host("no-such-host.invalid", tmp_path / "none").start(["true"])
        assert "VPN" in caught.value.hint

    def test_refused(self, tmp_path: Path, make_host: MakeHost) -> None:
        port = free_port()
        with pytest.raises(HostUnreachable, match=f"127.0.0.1:{port} refuses connections"):
            make_host(f"127.0.0.1:{port}", tmp_path / "none").start(["true"])

    def test_no_answer(self, tmp_path: Path, make_host: MakeHost) -> None:
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen(0)
            port = deaf.getsockname()[1]
            fillers = []
            for _ in range(4):  # a full queue: the kernel answers no more greetings
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
                fillers.append(filler)
            config = tmp_path / "config"
            config.write_text("ConnectTimeout 1\n")
            start = time.monotonic()
            with pytest.raises(HostUnreachable, match="gave no answer in 1 s"):
                make_host(f"127.0.0.1:{port}", config).start(["true"])
            assert 0.9 < time.monotonic() - start < 3
            for filler in fillers:
                filler.close()

    def test_silent_server(self, tmp_path: Path, make_host: MakeHost) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            host = make_host(f"127.0.0.1:{server.getsockname()[1]}", tmp_path / "none", connect_timeout=0.5)
            start = time.monotonic()
            with pytest.raises(HostUnreachable, match=r"did not greet as an SSH server within 0\.5 s"):
                host.start(["true"])
            assert time.monotonic() - start < 3

    def test_not_an_ssh_server(self, tmp_path: Path, make_host: MakeHost) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:

            def talk() -> None:
                client, _ = server.accept()
                with client:
                    client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

            threading.Thread(target=talk, daemon=True).start()
            with pytest.raises(HostUnreachable, match="did not greet as an SSH server"):
                make_host(f"127.0.0.1:{server.getsockname()[1]}", tmp_path / "none").start(["true"])

    def test_every_address_is_tried(
        self, sshd: Sshd, make_host: MakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = socket.getaddrinfo

        def two(name: str, port: int, **options: object) -> list[tuple[object, ...]]:
            found = real(name, port, type=socket.SOCK_STREAM)
            return [(*found[0][:4], ("127.0.0.1", free_port())), *found]

        monkeypatch.setattr(socket, "getaddrinfo", two)
        assert works(make_host(sshd.alias, sshd.config))


class TestAddresses:
    def test_user_host_and_port_without_configuration(
        self, sshd: Sshd, make_host: MakeHost, tmp_path: Path, home: Path
    ) -> None:
        (tmp_path / "lepton").mkdir()
        (tmp_path / "lepton" / "known_hosts").write_text(sshd.known_hosts_lines())
        key = home / ".ssh" / "id_ed25519"
        key.parent.mkdir(mode=0o700)
        key.write_bytes(sshd.client_key.read_bytes())
        try:
            for address in (f"{sshd.user}@{sshd.address}:{sshd.port}", f"[{sshd.address}]:{sshd.port}", sshd.url):
                assert works(make_host(address, None))
        finally:
            key.unlink()
            key.parent.rmdir()

    def test_not_an_address(self, tmp_path: Path, make_host: MakeHost) -> None:
        with pytest.raises(ConfigError):
            make_host("-oProxyCommand=touch x", tmp_path / "none")


def test_openssh_agrees_with_the_fixture(sshd: Sshd) -> None:
    """The witness: the same files let OpenSSH's own client in."""
    done = sshd.ssh("echo", "$HOME")
    assert (done.stdout, done.returncode) == (f"{sshd.home}\n", 0), done.stderr
