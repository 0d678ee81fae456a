"""The file behind the store: private, brought up from older versions, and said in words when it cannot be used."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from pathlib import Path

import pytest

from lepton_jupyter.errors import ConfigError, LeptonError
from lepton_jupyter.job import Job, JobId, JobSpec, JobState, NativeId
from lepton_jupyter.store import JobStore
from tests.unit.store._rows import job, python, sql


def test_a_file_is_private_whatever_the_umask(path: Path) -> None:
    old = os.umask(0)
    try:
        store = JobStore(path)
        store.add(job())
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert modes == {"jobs.db": 0o600, "jobs.db-wal": 0o600, "jobs.db-shm": 0o600}
    store.close()


def test_a_folder_open_to_others_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(ConfigError, match="open to other users"):
        JobStore(tmp_path / "jobs.db")


def test_a_file_of_a_newer_version_is_left_alone(path: Path) -> None:
    JobStore(path).close()
    sql(path, "PRAGMA user_version = 99")
    with pytest.raises(LeptonError, match="newer lepton-jupyter") as caught:
        JobStore(path)
    assert "Update lepton-jupyter" in caught.value.hint


def test_a_file_that_is_no_store_is_said_and_kept(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.write_bytes(b"not a database at all, but long enough to be looked at" * 20)
    with pytest.raises(LeptonError, match="cannot be used: file is not a database") as caught:
        JobStore(path)
    assert "Move the file away" in caught.value.hint
    assert path.read_bytes().startswith(b"not a database")


def test_a_full_disk_is_said_and_loses_nothing(shared: JobStore, path: Path) -> None:
    shared.add(job("abc"))
    with shared._database.read() as db:
        db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")
    with pytest.raises(LeptonError, match="full") as caught:
        shared.add(job(spec=JobSpec(code="x" * 1_000_000, target="t")))
    assert "Free some disk space" in caught.value.hint
    assert [found.job_id for found in shared.list()] == ["abc"]
    shared.lease("abc", "me")
    assert shared.advance("abc", "me", state=JobState.RUNNING).state is JobState.RUNNING


def test_a_spec_from_another_release_is_read(shared: JobStore, path: Path) -> None:
    shared.add(job("abc"))
    sql(path, """UPDATE jobs SET spec = '{"code": "1", "target": "t", "new": 1, "resources": {"tpus": 4}}'""")
    assert shared.get("abc").spec == JobSpec(code="1", target="t")


def test_closing_twice_is_harmless_and_use_opens_again(store: JobStore, path: Path) -> None:
    store.close()
    store.close()
    assert store.count() == 0


#: The file as the first release laid it out.
VERSION_1 = """
CREATE TABLE jobs (
    job_id TEXT PRIMARY KEY, spec TEXT NOT NULL, target TEXT NOT NULL, notebook TEXT NOT NULL, state TEXT NOT NULL,
    native_id TEXT NOT NULL, seq INTEGER NOT NULL, cause TEXT NOT NULL, created REAL NOT NULL, started REAL, ended REAL,
    change INTEGER NOT NULL, holder TEXT NOT NULL DEFAULT '', lease_seconds REAL NOT NULL DEFAULT 0,
    lease_until REAL NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE UNIQUE INDEX jobs_change ON jobs (change);
CREATE INDEX jobs_created ON jobs (created);
CREATE TABLE kernels (
    target TEXT NOT NULL, name TEXT NOT NULL, native_id TEXT NOT NULL, PRIMARY KEY (target, name)
) WITHOUT ROWID;
CREATE TABLE changes (last INTEGER NOT NULL);
INSERT INTO changes VALUES (2);
INSERT INTO jobs VALUES ('abc', '{"code": "1", "target": "t", "name": "old"}', 't', 'n', 'RUNNING', 'k', 7, 'c',
                         1.5, 2.5, NULL, 2, 'me', 30, 0);
INSERT INTO kernels VALUES ('t', 'k', 'n1');
PRAGMA user_version = 1;
"""
#: What a process of the first release, which opened the file before, goes on to write.
INSERT_1 = (
    "INSERT INTO jobs (job_id, spec, target, notebook, state, native_id, seq, cause, created, started, ended, change)"
    """ VALUES ('new', '{"code": "", "target": "t"}', 't', '', 'NEW', '', 0, '', 9.0, NULL, NULL, 99)"""
)


@pytest.fixture
def old(path: Path) -> Path:
    path.parent.mkdir(mode=0o700)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(VERSION_1)
    return path


def test_a_file_of_version_1_keeps_what_it_has(old: Path) -> None:
    store = JobStore(old)
    kept = Job(
        job_id=JobId("abc"), spec=JobSpec(code="1", target="t", name="old"), state=JobState.RUNNING,
        native_id=NativeId("k"), seq=7, cause="c", created=1.5, started=2.5,
    )  # fmt: skip
    assert store.list() == [kept]
    assert store.watch(1)[0].job == kept
    assert store.kernel("t", "k") == "n1"
    assert store.lease("abc", "next")
    assert store.advance("abc", "next", telemetry={"usage": {"cpu": 5}}).telemetry == {"usage": {"cpu": 5}}
    assert store.note_written("abc", {"seq": 7}).seq == 7
    store.close()
    assert sql(old, "PRAGMA user_version") == [(2,)]


def test_a_process_of_version_1_goes_on_with_the_file(old: Path) -> None:
    store = JobStore(old)
    sql(old, INSERT_1)
    assert store.get("new").telemetry == {}
    store.close()


def test_an_old_and_a_new_file_are_laid_out_alike(old: Path, tmp_path: Path) -> None:
    layouts = []
    for file in (old, tmp_path / "new" / "jobs.db"):
        JobStore(file).close()
        tables = ("jobs", "kernels", "changes")
        layouts.append([sql(file, f"SELECT name, type, \"notnull\", dflt_value FROM pragma_table_info('{table}')")
                        for table in tables])  # fmt: skip
    assert layouts[0] == layouts[1]


def test_processes_may_bring_up_an_old_file_at_once(old: Path, repository: Path) -> None:
    openers = [python(repository, "print(shared.count())", old) for _ in range(6)]
    assert [opener.communicate(timeout=60)[0] for opener in openers] == ["1\n"] * 6


def test_an_old_file_that_cannot_be_brought_up_stays_as_it_is(old: Path) -> None:
    sql(old, "ALTER TABLE jobs ADD COLUMN written TEXT")  # a second one of that name is refused
    with pytest.raises(LeptonError, match="duplicate column"):
        JobStore(old)
    assert sql(old, "PRAGMA user_version") == [(1,)]
    assert sql(old, "SELECT count(*) FROM pragma_table_info('jobs') WHERE name = 'telemetry'") == [(0,)]
