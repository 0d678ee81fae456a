"""Processes and threads that use one store at once, or are killed while they do."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

from lepton_jupyter.job import JobState
from lepton_jupyter.store import JobStore
from tests.unit.store._rows import job, python, sql


def test_processes_may_open_a_new_store_at_once(path: Path, repository: Path) -> None:
    openers = [python(repository, "shared.add(Job(job_id=sys.argv[2], spec=JobSpec(code='', target='')))", path, number)
               for number in range(6)]  # fmt: skip
    assert [opener.wait(60) for opener in openers] == [0] * 6
    for opener in openers:
        opener.communicate()
    store = JobStore(path)
    assert store.count() == 6
    store.close()


def test_threads_share_one_store(store: JobStore) -> None:
    for number in range(8):
        store.add(job(f"job{number}"))
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            assert store.lease(name, name)
            for seq in range(1, 51):
                store.advance(name, name, seq=seq)
                store.list()
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(f"job{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert [found.seq for found in store.list()] == [50] * 8
    assert store.watch()[-1].number == 8 + 8 * 50


def test_a_process_killed_in_the_middle_of_writing_leaves_whole_rows(
    shared: JobStore, path: Path, repository: Path
) -> None:
    shared.add(job("abc"))
    code = (
        "shared.lease('abc', 'writer')\nprint('go', flush=True)\nn = 0\n"
        "while True:\n"
        "    n += 1\n    shared.advance('abc', 'writer', seq=n, cause=str(n) * 2000)\n"
    )
    seen = 0
    for delay in (0.0, 0.003, 0.01, 0.05, 0.1):
        writer = python(repository, code, path)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "go\n"
        time.sleep(delay)
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
        found = shared.get("abc")
        assert found.cause in ("", *(str(number) * 2000 for number in range(1, found.seq + 1)))
        assert found.seq >= seen
        seen = found.seq
        assert sql(path, "PRAGMA integrity_check") == [("ok",)]
        assert shared.lease("abc", "writer")  # the dead one's lock is gone at once
    assert seen > 0


def test_a_process_killed_inside_a_transaction_changes_nothing(shared: JobStore, path: Path, repository: Path) -> None:
    shared.add(job("abc"))
    code = (
        "with shared._database.write() as db:\n"
        "    db.execute(\"UPDATE jobs SET state = 'FAILED', seq = 99\")\n"
        "    print('in', flush=True)\n    time.sleep(60)\n"
    )
    writer = python(repository, code, path)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "in\n"
    assert shared.get("abc").state is JobState.NEW  # readers never wait for a writer
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate()
    assert shared.lease("abc", "me")
    assert shared.advance("abc", "me", state=JobState.RUNNING).seq == 0


def test_a_forked_child_does_not_use_its_parents_connection(path: Path, repository: Path) -> None:
    code = (
        "import warnings; warnings.simplefilter('ignore')\n"
        "shared.add(Job(job_id='parent', spec=JobSpec(code='', target='')))\n"
        "pid = os.fork()\n"
        "shared.add(Job(job_id='child' if pid == 0 else 'again', spec=JobSpec(code='', target='')))\n"
        "if pid == 0: os._exit(0)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
        "print(*sorted(found.job_id for found in shared.list()))\n"
    )
    out, _ = python(repository, code, path).communicate(timeout=30)
    assert out == "again child parent\n"


# watching


def test_a_watcher_misses_nothing_and_sees_nothing_twice(shared: JobStore, path: Path, repository: Path) -> None:
    code = (
        "for n in range(50):\n"
        "    name = f'{sys.argv[2]}{n:02}'\n"
        "    shared.add(Job(job_id=name, spec=JobSpec(code='', target='')))\n"
        "    shared.lease(name, 'me'); shared.advance(name, 'me', state=JobState.COMPLETED)\n"
    )
    writers = [python(repository, code, path, letter) for letter in "ab"]
    numbers: list[int] = []
    latest: dict[str, JobState] = {}
    running = True
    while running:
        running = any(writer.poll() is None for writer in writers)
        for change in shared.watch(numbers[-1] if numbers else 0):
            numbers.append(change.number)
            latest[change.job.job_id] = change.job.state
        time.sleep(0.005)
    for writer in writers:
        writer.communicate()
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 200
    assert latest == {f"{letter}{number:02}": JobState.COMPLETED for letter in "ab" for number in range(50)}
