"""A real sshd on loopback, with keys, an ssh_config and a known_hosts file of its own. Runs in the test process.

Remote commands get `HOME` = `sshd.home` and the mark by which the test session ends what outlives it; nothing of the
person who runs the tests is read or written. Works as root and as an ordinary user (who then logs in as themselves).
"""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

KEY_TYPES = ("ed25519", "ecdsa", "rsa")
START_TIMEOUT = 20.0


def keygen(path: Path, kind: str = "ed25519", passphrase: str = "", *options: str) -> Path:
    """A fresh key pair at `path` and `path`.pub."""
    size = ["-b", "2048"] if kind == "rsa" else []
    command = ["ssh-keygen", "-q", "-t", kind, *size, "-N", passphrase, "-C", path.name, "-f", str(path), *options]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


def fingerprint(public: Path) -> str:
    """What `ssh-keygen -l` says of a public key: the independent witness of our own fingerprints."""
    done = subprocess.run(["ssh-keygen", "-lf", str(public)], check=True, capture_output=True, text=True)
    return done.stdout.split()[1]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _children(pid: int) -> list[psutil.Process]:
    """The living children; one may go while we ask."""
    children = []
    for process in psutil.process_iter(["name", "ppid", "status"]):
        if process.info["ppid"] == pid and process.info["status"] != psutil.STATUS_ZOMBIE:
            children.append(process)
    return children


class Sshd:
    """One server. The files that a client needs are attributes."""

    _rsa: tuple[bytes, bytes] | None = None  # slow to make, so all servers of a test run begin with the same

    def __init__(
        self, folder: Path, *, options: tuple[str, ...] = (), home_mark: str = "", address: str = "127.0.0.1"
    ) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.user = getpass.getuser()
        self.address = address
        self.port = free_port()
        self.options = options
        self.home = folder / "home"  # HOME of remote commands
        self.root = self.home / "lepton-root"  # a place for the target's `root` option
        self.home.mkdir(mode=0o700)
        self.client_key = keygen(folder / "client_key")
        self.authorized_keys = folder / "authorized_keys"
        self.authorized_keys.write_text(self.client_key.with_suffix(".pub").read_text())
        self.authorized_keys.chmod(0o600)
        self.log = folder / "sshd.log"
        self._mark = home_mark
        self._process: subprocess.Popen[bytes] | None = None
        for kind in KEY_TYPES:
            if kind == "rsa" and Sshd._rsa:
                self.host_key(kind).touch(0o600)
                self.host_key(kind).write_bytes(Sshd._rsa[0])
                self.public_key(kind).write_bytes(Sshd._rsa[1])
            else:
                keygen(self.host_key(kind), kind)
        Sshd._rsa = self.host_key("rsa").read_bytes(), self.public_key("rsa").read_bytes()
        self.config = self.config_for(folder)
        self.known_hosts = folder / "known_hosts"
        self.start()

    @property
    def alias(self) -> str:
        """The name by which `config` knows this server."""
        return "testhost"

    @property
    def url(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"ssh://{self.user}@{address}:{self.port}"

    def host_key(self, kind: str) -> Path:
        return self.folder / f"host_{kind}"

    def public_key(self, kind: str) -> Path:
        return self.folder / f"host_{kind}.pub"

    # what the client reads

    def known_hosts_lines(self, *, port: int | None = None, kinds: tuple[str, ...] = KEY_TYPES) -> str:
        name = f"[{self.address}]:{port or self.port}"
        return "".join(f"{name} {' '.join(self.public_key(kind).read_text().split()[:2])}\n" for kind in kinds)

    def config_block(self, known_hosts: Path, *, alias: str = "", port: int | None = None, extra: str = "") -> str:
        """A Host block of ssh_config; `extra` are further lines of it, before our own so that they win."""
        return (
            f"Host {alias or self.alias}\n"
            f"{extra}\n"
            f"  HostName {self.address}\n"
            f"  Port {port or self.port}\n"
            f"  User {self.user}\n"
            f'  IdentityFile "{self.client_key}"\n'
            f"  IdentitiesOnly yes\n"
            f'  UserKnownHostsFile "{known_hosts}"\n'
            f"  GlobalKnownHostsFile none\n"
        )

    def config_for(self, folder: Path, *, port: int | None = None, extra: str = "") -> Path:
        """An ssh_config and a known_hosts file of the caller, by which `alias` is this server or a proxy."""
        folder.mkdir(parents=True, exist_ok=True)
        known_hosts, config = folder / "known_hosts", folder / "ssh_config"
        known_hosts.write_text(self.known_hosts_lines(port=port))
        config.write_text(self.config_block(known_hosts, port=port, extra=extra))
        return config

    def ssh(self, *command: str) -> subprocess.CompletedProcess[str]:
        """The same by OpenSSH's own client, as a witness."""
        line = ["ssh", "-F", str(self.config), "-o", "BatchMode=yes", self.alias, *command]
        return subprocess.run(line, capture_output=True, text=True, timeout=60)

    # its life

    def start(self) -> None:
        """Returns once the server greets."""
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd insists on it when root
        given = {option.split()[0].lower() for option in self.options}
        defaults = {
            "Port": str(self.port),
            "ListenAddress": self.address,
            "PidFile": "none",
            "AuthorizedKeysFile": str(self.authorized_keys),
            "StrictModes": "no",
            "UsePAM": "no",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "PermitRootLogin": "yes",
            "PrintMotd": "no",
            "UseDNS": "no",
            "MaxStartups": "100:30:200",
            "MaxSessions": "50",
            "LogLevel": "VERBOSE",
            "SetEnv": f'"HOME={self.home}" "LEPTON_TEST_HOME={self._mark}"',
        }
        lines = [f"{name} {value}" for name, value in defaults.items() if name.lower() not in given]
        lines += [f"HostKey {self.host_key(kind)}" for kind in KEY_TYPES if self.host_key(kind).exists()]
        config = self.folder / "sshd_config"
        config.write_text("\n".join([*lines, *self.options]) + "\n")
        program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
        if program is None:
            pytest.fail("sshd is not installed: apt-get install openssh-server (or your system's package of it)")
        self._process = subprocess.Popen(
            [program, "-D", "-f", str(config), "-E", str(self.log)], stdin=subprocess.DEVNULL, start_new_session=True
        )
        deadline = time.monotonic() + START_TIMEOUT
        while not self._greets():
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"sshd did not start:\n{self.log.read_text() if self.log.exists() else ''}")
            time.sleep(0.05)

    def _greets(self) -> bool:
        try:
            with socket.create_connection((self.address, self.port), timeout=5) as sock:
                return sock.recv(4) == b"SSH-"
        except OSError:
            return False

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def connections(self) -> list[int]:
        """The pids of the processes that each serve one connection."""
        return [child.pid for child in _children(self.pid)]

    def kill_connections(self) -> int:
        """SIGKILL what serves the open connections; commands that they started live on. Returns how many there were."""
        served = _children(self.pid)
        # For another user than root sshd has a second, unprivileged process per connection.
        victims = [*served, *(p for child in served for p in _children(child.pid) if p.info["name"].startswith("sshd"))]
        for process in victims:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(victims, timeout=5)
        return len(served)

    def stop(self) -> None:
        """End the server and every connection of it. Its port stays free for `start`."""
        if self._process is None:
            return
        self.kill_connections()
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def change_host_keys(self) -> None:
        """As after a new installation; known_hosts files keep the old keys."""
        self.stop()
        for kind in KEY_TYPES:
            self.host_key(kind).unlink(missing_ok=True)
            self.public_key(kind).unlink(missing_ok=True)
            keygen(self.host_key(kind), kind)
        self.start()


MakeSshd = Callable[..., Sshd]


@pytest.fixture
def make_sshd(tmp_path: Path, home: Path) -> Iterator[MakeSshd]:
    """A function that starts servers with options of sshd_config ("MaxSessions 1"); they end with the test."""
    servers: list[Sshd] = []

    def make(*options: str, address: str = "127.0.0.1") -> Sshd:
        server = Sshd(tmp_path / f"sshd{len(servers)}", options=options, home_mark=str(home), address=address)
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def shared_sshd(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Iterator[Sshd]:
    """The server that most tests share. A test that stops it, changes its keys or its files takes `make_sshd`."""
    server = Sshd(tmp_path_factory.mktemp("ssh") / "sshd", home_mark=str(home))
    yield server
    server.stop()


@pytest.fixture
def sshd(shared_sshd: Sshd) -> Iterator[Sshd]:
    """The shared server, without connections that an earlier test left."""
    yield shared_sshd
    shared_sshd.kill_connections()


@dataclass(frozen=True)
class Account:
    """A user of this machine that exists for one test."""

    name: str
    password: str


@pytest.fixture
def account() -> Iterator[Account]:
    """A real system user with a password, for logins without a key. Only root can make one."""
    if os.geteuid() != 0:
        pytest.fail("tests of password logins make a system user: run them as root (CI does)")
    user = Account(f"lepton{os.getpid()}", f"pass {secrets.token_hex(8)}")
    command = ["openssl", "passwd", "-6", "-stdin"]
    hashed = subprocess.run(command, input=user.password, capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run(["useradd", "-M", "-d", "/", "-s", "/bin/sh", "-p", hashed, user.name], check=True)
    yield user
    subprocess.run(["userdel", "-f", user.name], check=True, capture_output=True)


@pytest.fixture
def ssh_agent(tmp_path: Path) -> Iterator[SshAgent]:
    """A real ssh-agent without keys."""
    path = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    while not path.exists():
        assert process.poll() is None
        time.sleep(0.02)
    yield SshAgent(path)
    process.terminate()
    process.wait()


@dataclass(frozen=True)
class SshAgent:
    """Where a running agent listens."""

    socket: Path

    def add(self, key: Path) -> None:
        env = {**os.environ, "SSH_AUTH_SOCK": str(self.socket)}
        subprocess.run(["ssh-add", "-q", str(key)], env=env, check=True, stdin=subprocess.DEVNULL)
