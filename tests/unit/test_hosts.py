"""Hosts without a network: commands on this machine, and command lines for any login shell."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lepton_jupyter.targets._base import Process
from lepton_jupyter.targets._host import LocalHost
from lepton_jupyter.targets._ssh import command_line


def read_all(process: Process) -> bytes:
    data = bytearray()
    while part := process.read(1 << 20):
        data += part
    return bytes(data)


class TestLocalHost:
    def test_output_errors_and_status(self) -> None:
        process = LocalHost().start(["sh", "-c", "pwd; echo bad >&2; exit 3"])
        assert read_all(process) == f"{Path.home()}\n".encode()
        assert process.wait(10) == 3
        assert process.stderr() == "bad\n"
        process.close()

    def test_arguments_arrive_as_they_are(self) -> None:
        argv = ["printf", "%s|", "", "a b", "'", '"', "$HOME", "-rf", "*", "new\nline", "ü✓"]
        process = LocalHost().start(argv)
        assert read_all(process).decode().split("|")[:-1] == argv[2:]
        process.close()

    def test_status_of_a_killed_and_of_an_unknown_program(self) -> None:
        killed = LocalHost().start(["sh", "-c", "kill -9 $$"])
        assert killed.wait(10) == -signal.SIGKILL
        unknown = LocalHost().start(["no-such-program"])
        assert unknown.wait(10) == 127
        assert "no-such-program" in unknown.stderr()
        for process in (killed, unknown):
            process.close()

    def test_forty_megabytes_both_ways(self) -> None:
        process = LocalHost().start(["cat"])
        data = os.urandom(40 << 20)
        writer = threading.Thread(target=process.write, args=(data,))
        writer.start()
        got = bytearray()
        while len(got) < len(data):
            got += process.read(1 << 16)
        writer.join()
        assert got == data
        process.close()
        assert process.wait(10) == 0

    def test_close_wakes_a_reader_and_a_writer(self) -> None:
        process = LocalHost().start(["sleep", "30"])
        results: list[object] = []

        def read() -> None:
            results.append(process.read(1))

        def write() -> None:
            try:
                process.write(b"x" * (8 << 20))
            except OSError as error:
                results.append(type(error))

        threads = [threading.Thread(target=read), threading.Thread(target=write)]
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        process.close()
        process.close()
        for thread in threads:
            thread.join(5)
            assert not thread.is_alive()
        assert results.count(b"") == 1
        assert results.count(BrokenPipeError) == 1
        assert process.wait(0.1) is None, "closing takes the channel, not the process"
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL

    def test_session_of_its_own_and_no_foreign_variables(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("JPY_PARENT_PID", "1")
        code = "import os; print(os.getsid(0) == os.getpid(), 'JPY_PARENT_PID' in os.environ)"
        process = LocalHost().start([sys.executable, "-c", code])
        assert read_all(process) == b"True False\n"
        process.close()

    def test_stderr_keeps_its_end(self) -> None:
        process = LocalHost().start(["sh", "-c", "head -c 300000 /dev/zero >&2; echo end >&2"])
        assert process.wait(10) == 0
        assert len(process.stderr()) == 1 << 16
        assert process.stderr().endswith("end\n")
        process.close()

    def test_nothing_stays_open(self) -> None:
        me = psutil.Process()
        before, family = me.num_fds(), set(me.children())
        for _ in range(5):
            process = LocalHost().start(["true"])
            process.wait(10)
            process.close()
        deadline = time.monotonic() + 5
        # The thread that drains stderr closes its pipe and reaps the child a moment later.
        while (me.num_fds() > before or set(me.children()) - family) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert me.num_fds() <= before
        assert not set(me.children()) - family


SHELLS = [shell for shell in ("sh", "bash", "dash", "zsh", "fish", "csh", "tcsh", "ksh") if shutil.which(shell)]


class TestCommandLine:
    def test_harmless_words_stay_readable(self) -> None:
        assert command_line(["python3", "-m", "a.b", "--x=1", "/usr/bin/y"]) == "exec python3 -m a.b --x=1 /usr/bin/y"

    @pytest.mark.parametrize("shell", SHELLS)
    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(words=st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=4))
    def test_any_words_in_any_shell(self, shell: str, words: list[str]) -> None:
        self.check(shell, words)

    @pytest.mark.parametrize("shell", SHELLS)
    def test_hostile_words_in_any_shell(self, shell: str) -> None:
        words = [
            "'",
            '"',
            "\\",
            "\\'",
            "!",
            "a!b",
            "$x",
            "`id`",
            "$(id)",
            "%d",
            "*",
            "~",
            "=x",
            "@x",
            "#",
            ";",
            "&",
            "|",
        ]
        self.check(
            shell, [*words, "", " ", "\n", "a\nb\n", "\t", "ü✓", "-rf", "--", "{a,b}", "[x]", "<", ">", "^", "\r"]
        )

    @staticmethod
    def check(shell: str, words: list[str]) -> None:
        line = command_line([sys.executable, "-Ic", "import sys; print(ascii(sys.argv[1:]))", *words])
        # As sshd runs it; the shells' own start-up files are not our subject.
        done = subprocess.run([shell, "-c", line], capture_output=True, text=True, timeout=30)
        assert done.stdout == ascii(words) + "\n", done.stderr

    def test_loading_the_ssh_host_does_not_load_paramiko(self) -> None:
        code = "import sys, lepton_jupyter.targets._ssh; print('paramiko' in sys.modules)"
        root = Path(__file__).parents[2]
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
        assert done.stdout == "False\n"
