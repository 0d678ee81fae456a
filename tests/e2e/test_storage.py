"""Buckets of three clouds, each an emulator on loopback, through the libraries that users have."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from lepton_jupyter.blobs import BlobStore
from lepton_jupyter.data import storage
from lepton_jupyter.data.storage import reading, writing
from lepton_jupyter.data.storage._access import opened
from lepton_jupyter.errors import ConfigError, MissingDependency, StorageError, StorageUnreachable
from tests.fakes.azure import Azure
from tests.fakes.s3 import KEYS, S3

#: aiohttp finds the parts of an upload large.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
Cloud = Any  # S3, Azure or Gcs: each has make, put, get, credentials, environ, secrets, front
MB = 1 << 20
numbers = count(1)


@pytest.fixture(params=["s3", "azure", "gcs"])
def cloud(request: pytest.FixtureRequest, bucket: str) -> Cloud:
    """A cloud with an empty bucket `bucket`."""
    found = request.getfixturevalue(request.param)
    found.make(bucket)
    found.front.reset()
    return found


@pytest.fixture
def bucket() -> str:
    return f"bucket-{next(numbers)}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """What ROOT is on a host."""
    folder = tmp_path / "root"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def cache(root: Path) -> BlobStore:
    return BlobStore(str(root / "blobs"))


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the person who runs the tests is found, and no machine is asked for its role."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_", "STORAGE_EMULATOR")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def read(folder: Path) -> dict[str, bytes]:
    """The files of a folder, but for our own record."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".lepton-"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def url(cloud: Cloud, bucket: str, key: str) -> str:
    return f"{cloud.scheme}://{bucket}/{key}"


def test_an_object_a_folder_and_a_pattern(cloud: Cloud, bucket: str, cache: BlobStore, tmp_path: Path) -> None:
    keys = ("top.txt", "data/a.csv", "data/b c.csv", "data/empty", "data/deep/é.csv", "data2/no.csv")
    for key in keys:
        cloud.put(bucket, key, b"" if key.endswith("empty") else key.encode())

    def fetch(key: str) -> dict[str, bytes]:
        into = tmp_path / f"into-{next(numbers)}"
        into.mkdir()
        tree = storage.fetch(url(cloud, bucket, key), cache, into, credentials=cloud.credentials)
        found = read(into)
        assert {name: size for name, (_, size, _) in tree.items()} == {name: len(found[name]) for name in found}
        return found

    assert fetch("data/a.csv") == {"a.csv": b"data/a.csv"}
    below = {"data/a.csv", "data/b c.csv", "data/empty", "data/deep/é.csv"}
    assert fetch("data").keys() == fetch("data/").keys() == below
    assert fetch("data/*.csv") == {"a.csv": b"data/a.csv", "b c.csv": b"data/b c.csv"}
    assert fetch("data/**/*.csv").keys() >= {"deep/é.csv"}
    assert fetch("*.txt") == {"top.txt": b"top.txt"}
    assert fetch("").keys() == {f"{bucket}/{key}" for key in keys}


def test_only_what_changed_is_fetched_again(cloud: Cloud, bucket: str, cache: BlobStore, tmp_path: Path) -> None:
    for name in "abc":
        cloud.put(bucket, f"d/{name}", name.encode() * 1000)
    place = url(cloud, bucket, "d/")
    storage.fetch(place, cache, tmp_path / "x", credentials=cloud.credentials)

    cloud.front.reset()
    storage.fetch(place, cache, tmp_path / "y", credentials=cloud.credentials)
    listing = len(cloud.front.requests)
    assert listing <= (1 if cloud.scheme == "s3" else 3)  # adlfs looks first whether it is an object
    assert not any(request.sent == 1000 for request in cloud.front.requests)
    assert read(tmp_path / "y") == {f"d/{name}": name.encode() * 1000 for name in "abc"}

    cloud.put(bucket, "d/b", b"n" * 1000)
    cloud.front.reset()
    storage.fetch(place, cache, tmp_path / "y", credentials=cloud.credentials)
    assert sum(request.sent == 1000 for request in cloud.front.requests) == 1
    assert read(tmp_path / "y")["d/b"] == b"n" * 1000


def test_a_broken_object_is_gone_on_with(
    cloud: Cloud, bucket: str, cache: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PIECE", MB)
    monkeypatch.setattr(reading, "AHEAD", 2)
    data = os.urandom(6 * MB + 17)
    cloud.put(bucket, "model.bin", data)
    place = url(cloud, bucket, "model.bin")
    asked: list[str] = []

    def deny(method: str, path: str) -> tuple[int, bytes] | None:
        asked.append(path)
        return (403, b"<Error><Code>AccessDenied</Code></Error>") if cloud.front.sent() >= 4 * MB else None

    cloud.front.reset()
    cloud.front.answer = deny
    with pytest.raises(StorageError, match="access denied"):
        storage.fetch(place, cache, tmp_path / "x", credentials=cloud.credentials)
    assert not (tmp_path / "x").exists()

    cloud.front.reset()
    progress: list[tuple[int, int]] = []
    note = lambda done, total: progress.append((done, total))  # noqa: E731
    storage.fetch(place, cache, tmp_path / "x", credentials=cloud.credentials, progress=note)
    assert read(tmp_path / "x") == {"model.bin": data}
    assert cloud.front.sent("model.bin") < 4 * MB  # at least three of six were there; two may have been on their way
    assert progress[0][0] >= 3 * MB and progress[-1] == (len(data), len(data))
    assert os.listdir(cache.folder + "/parts") == []


def test_a_cut_answer_is_asked_for_again(cloud: Cloud, bucket: str, cache: BlobStore, tmp_path: Path) -> None:
    data = os.urandom(300_000)
    cloud.put(bucket, "x", data)
    cuts = iter([100_000])
    cloud.front.cut = lambda method, path: next(cuts, None) if method == "GET" and "prefix" not in path else None
    storage.fetch(url(cloud, bucket, "x"), cache, tmp_path, credentials=cloud.credentials)
    assert (tmp_path / "x").read_bytes() == data


def test_an_object_replaced_while_it_comes_comes_whole(
    s3: S3, bucket: str, cache: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PIECE", MB)
    monkeypatch.setattr(reading, "AHEAD", 1)
    s3.make(bucket)
    old, new = b"o" * 3 * MB, b"n" * 3 * MB
    s3.put(bucket, "x", old)
    gets = count()

    def replace(method: str, path: str) -> None:
        if method == "GET" and next(gets) == 1:
            s3.put(bucket, "x", new)

    s3.front.before = replace
    storage.fetch(url(s3, bucket, "x"), cache, tmp_path, credentials=s3.credentials)
    assert (tmp_path / "x").read_bytes() == new


def test_a_hundred_small_objects(cloud: Cloud, bucket: str, cache: BlobStore, tmp_path: Path) -> None:
    wanted = {f"many/{number:03}": b"%d" % number for number in range(100)}
    for key, data in wanted.items():
        cloud.put(bucket, key, data)
    cloud.front.reset()
    storage.fetch(url(cloud, bucket, "many/"), cache, tmp_path / "into", credentials=cloud.credentials)
    assert read(tmp_path / "into") == wanted
    assert len(cloud.front.requests) <= 100 + 6  # each once, and two listings


def test_two_jobs_fetch_an_object_once(s3: S3, bucket: str, cache: BlobStore, tmp_path: Path) -> None:
    s3.make(bucket)
    s3.put(bucket, "x", os.urandom(MB))
    s3.front.reset()
    script = "import sys; from lepton_jupyter.blobs import BlobStore; from lepton_jupyter.data import storage; "
    script += "storage.fetch(sys.argv[1], BlobStore(sys.argv[2]), sys.argv[3])"
    commands = [
        [sys.executable, "-c", script, url(s3, bucket, "x"), cache.folder, str(tmp_path / f"into{number}")]
        for number in range(2)
    ]
    both = [subprocess.Popen(command, env={**os.environ, **s3.environ}) for command in commands]
    assert [each.wait(60) for each in both] == [0, 0]
    assert (tmp_path / "into0/x").read_bytes() == (tmp_path / "into1/x").read_bytes()
    assert sum(request.sent == MB for request in s3.front.requests) == 1


def test_written_files_are_read_back(
    cloud: Cloud, bucket: str, cache: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "PART", 5 * MB)
    small, large = tmp_path / "a b.txt", tmp_path / "model.bin"
    small.write_bytes(b"small")
    large.write_bytes(os.urandom(11 * MB))
    place, progress = url(cloud, bucket, "run/"), []

    def write() -> dict[str, str]:
        note = lambda done, total: progress.append((done, total))  # noqa: E731
        files = {"a b.txt": str(small), "deep/model.bin": str(large)}
        return storage.upload_all(files, place, cache, credentials=cloud.credentials, progress=note)

    assert write() == {name: f"{place}{name}" for name in ("a b.txt", "deep/model.bin")}
    assert progress[-1] == (11 * MB + 5, 11 * MB + 5)
    assert cloud.get(bucket, "run/deep/model.bin") == large.read_bytes()

    cloud.front.reset()
    write()
    assert {request.method for request in cloud.front.requests} <= {"HEAD", "GET"}  # unchanged: only looked at

    small.write_bytes(b"other")
    write()
    assert cloud.get(bucket, "run/a b.txt") == b"other"
    cloud.put(bucket, "run/a b.txt", b"by somebody else")
    write()
    assert cloud.get(bucket, "run/a b.txt") == b"other"

    storage.fetch(place, cache, tmp_path / "back", credentials=cloud.credentials)
    assert read(tmp_path / "back") == {"run/a b.txt": b"other", "run/deep/model.bin": large.read_bytes()}
    assert storage.upload(str(small), place, credentials=cloud.credentials) == f"{place}a b.txt"
    assert storage.upload(str(small), f"{place}c", credentials=cloud.credentials) == f"{place}c"


def test_a_bucket_or_object_that_is_not_there(cloud: Cloud, bucket: str, cache: BlobStore, tmp_path: Path) -> None:
    cloud.put(bucket, "there", b"x")
    kind = "container" if cloud.scheme == "az" else "bucket"
    for key in ("nothing", "nothing/", "*.none"):
        with pytest.raises(StorageError, match=r"nothing of this name|nothing there fits"):
            storage.fetch(url(cloud, bucket, key), cache, tmp_path, credentials=cloud.credentials)
    for key in ("nothing", "nothing/"):
        with pytest.raises(StorageError, match=f"there is no {kind} 'no-such-one'"):
            storage.fetch(url(cloud, "no-such-one", key), cache, tmp_path, credentials=cloud.credentials)
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(StorageError, match=f"there is no {kind} 'no-such-one'"):
        storage.upload(str(tmp_path / "file"), url(cloud, "no-such-one", "x"), credentials=cloud.credentials)


def test_wrong_credentials(
    cloud: Cloud, bucket: str, cache: BlobStore, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    cloud.put(bucket, "x", b"x")
    credentials, secret = dict(cloud.credentials), cloud.secrets[0]
    if isinstance(cloud, S3):
        strict = cloud.strict()
        strict.__enter__()
        request.addfinalizer(lambda: strict.__exit__(None, None, None))
    elif isinstance(cloud, Azure):
        secret = "d3Jvbmcta2V5LXdyb25nLWtleS13cm9uZy1rZXktMDEyMzQ1Njc4OQ=="
        credentials["connection_string"] = cloud.connection.replace(cloud.secrets[0], secret)
    else:  # the emulator asks for none; these are Google's words
        denied = b'{"error": {"code": 403, "message": "x does not have storage.objects.get access: %s"}}'
        cloud.front.answer = lambda method, path: (403, denied % secret.encode())
    for key in ("x", "folder/", "*"):
        with pytest.raises(StorageError, match="denied; credentials tried: those handed in for this job") as failed:
            storage.fetch(url(cloud, bucket, key), cache, tmp_path, credentials=credentials)
        assert secret not in str(failed.value) and failed.value.__cause__ is None and failed.value.__suppress_context__


def test_the_hosts_own_credentials(
    cloud: Cloud, bucket: str, cache: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.put(bucket, "x", b"x")
    with pytest.raises((StorageError, ConfigError), match=r"no credentials|which storage account|access denied"):
        if cloud.scheme == "gs":  # Google's is tried without any in the end
            cloud.front.answer = lambda method, path: (401, b'{"error": {"code": 401, "message": "Anonymous caller"}}')
            monkeypatch.setenv("NO_GCE_CHECK", "true")
        endpoint = {} if cloud.scheme == "az" else {"endpoint_url": cloud.endpoint}
        storage.fetch(url(cloud, bucket, "x"), cache, tmp_path, credentials=endpoint)
    cloud.front.reset()
    for name, value in cloud.environ.items():
        monkeypatch.setenv(name, value)
    storage.fetch(url(cloud, bucket, "x"), cache, tmp_path)
    assert (tmp_path / "x").read_bytes() == b"x"
    assert cloud.scheme == "gs" or all(request.signed for request in cloud.front.requests)


def test_credentials_that_are_handed_in_win(
    s3: S3, azure: Azure, cache: BlobStore, tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for cloud in (s3, azure):
        for name, value in cloud.environ.items():
            monkeypatch.setenv(name, value)
    s3.make(bucket)
    s3.put(bucket, "x", b"x")
    s3.front.reset()
    storage.fetch(url(s3, bucket, "x"), cache, tmp_path, credentials={"anon": True})
    assert s3.front.requests and not any(request.signed for request in s3.front.requests)
    for mine in ({"account_key": "b3RoZXI="}, {"sas_token": "sv=1"}, {"anon": True}, None):
        with opened("az://c@other.blob.core.windows.net/x", mine) as place:
            assert place.endpoint == "https://other.blob.core.windows.net/"


def test_secrets_are_nowhere(
    cloud: Cloud, bucket: str, cache: BlobStore, root: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Not on the disk, though the user's cell logs all there is to a file; not in the environment; not in errors."""
    log = logging.FileHandler(root / "debug.log")
    old = logging.root.level
    logging.root.addHandler(log)
    logging.root.setLevel(logging.DEBUG)
    logging.getLogger("botocore.auth").setLevel(logging.DEBUG)
    request.addfinalizer(lambda: (logging.root.removeHandler(log), log.close(), logging.root.setLevel(old)))
    (tmp_path / "file").write_bytes(b"x" * 1000)
    (root / "work").mkdir()
    storage.upload(str(tmp_path / "file"), url(cloud, bucket, "d/x"), cache, credentials=cloud.credentials)
    storage.fetch(url(cloud, bucket, "d/"), cache, root / "work", credentials=cloud.credentials)
    cloud.front.answer = lambda method, path: (400, b"invalid: " + cloud.secrets[0].encode())
    with pytest.raises(StorageError) as failed:
        storage.fetch(url(cloud, bucket, "d/x"), cache, root / "work", credentials=cloud.credentials)
    written = b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file())
    for secret in cloud.secrets:
        assert secret.encode() not in written
        assert secret not in "".join([str(failed.value), *os.environ.values(), *map(str, root.rglob("*"))])
    logging.getLogger("s3fs").debug("logs again")
    assert "logs again" in (root / "debug.log").read_text()


@pytest.mark.parametrize("key", ["../up", "a/../../up", "a//b", "/etc/passwd", "a/./b", "x" * 300])
def test_hostile_keys_are_refused(s3: S3, bucket: str, cache: BlobStore, root: Path, tmp_path: Path, key: str) -> None:
    s3.make(bucket)
    s3.put(bucket, "d/good", b"good")
    listing = f"""<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
        <Name>{bucket}</Name><Prefix>d/</Prefix><KeyCount>1</KeyCount><MaxKeys>9</MaxKeys><IsTruncated>false</IsTruncated>
        <Contents><Key>d/{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>"1"</ETag><Size>4</Size>
        <StorageClass>STANDARD</StorageClass></Contents></ListBucketResult>"""
    s3.front.answer = lambda method, path: (200, listing.encode()) if "list-type=2" in path else None
    with pytest.raises(StorageError, match="was refused"):
        storage.fetch(url(s3, bucket, "d/"), cache, root / "work" / "in", credentials=s3.credentials)
    assert not (root / "work").exists() and not any("d/" in r.path and r.sent == 4 for r in s3.front.requests)


def test_an_object_that_is_a_folder_too_is_refused(cloud: Cloud, bucket: str, cache: BlobStore, tmp_path: Path) -> None:
    cloud.put(bucket, "d/a", b"file")
    cloud.put(bucket, "d/a/b", b"below")
    with pytest.raises(StorageError, match="is no folder"):
        storage.fetch(url(cloud, bucket, "d/"), cache, tmp_path, credentials=cloud.credentials)


def test_no_network(cache: BlobStore, tmp_path: Path) -> None:
    credentials = {**KEYS, "region": "us-east-1", "endpoint_url": "http://127.0.0.1:9"}
    with pytest.raises(StorageUnreachable, match="cannot be reached from the host"):
        storage.fetch("s3://bucket/x", cache, tmp_path, credentials=credentials)


def test_wrong_region(s3: S3, bucket: str, cache: BlobStore, tmp_path: Path) -> None:
    words = b"<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region 'x' is wrong</Message></Error>"
    s3.front.answer = lambda method, path: (400, words)
    with pytest.raises(StorageError, match="another region"):
        storage.fetch(f"s3://{bucket}/d/", cache, tmp_path, credentials=s3.credentials)


def test_a_missing_library_says_what_installs_it(
    cache: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for scheme, module in (("s3", "s3fs"), ("gs", "gcsfs"), ("abfs", "adlfs")):
        monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "me")
        with pytest.raises(MissingDependency, match=f"-m pip install {module}"):
            storage.fetch(f"{scheme}://bucket/x", cache, tmp_path)


def test_the_web(s3: S3, bucket: str, cache: BlobStore, tmp_path: Path) -> None:
    s3.make(bucket)
    s3.put(bucket, "a b.txt", b"public")
    place = f"http://127.0.0.1:{s3.front.port}/{bucket}/a%20b.txt?signature=very-secret-signature"
    storage.fetch(place, cache, tmp_path)
    assert (tmp_path / "a b.txt").read_bytes() == b"public"
    s3.front.reset()
    storage.fetch(place, cache, tmp_path)
    assert not any(request.method == "GET" for request in s3.front.requests)
    s3.front.answer = lambda method, path: (403, b"no")
    with pytest.raises(StorageError, match="access denied") as failed:
        storage.fetch(place, cache, tmp_path)
    assert "very-secret" not in str(failed.value)


def test_other_storages_of_fsspec(cache: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/x").write_bytes(b"x")
    storage.fetch(f"file://{tmp_path}/shared", cache, tmp_path / "into")
    assert read(tmp_path / "into") == {"shared/x": b"x"}
    with pytest.raises(ConfigError, match="cannot be written"):
        storage.upload(str(tmp_path / "shared/x"), f"file://{tmp_path}/y")


def test_cells_may_fetch_side_by_side(s3: S3, bucket: str, cache: BlobStore, tmp_path: Path) -> None:
    s3.make(bucket)
    s3.put(bucket, "x", b"x")

    def fetch(number: int) -> bytes:
        into = tmp_path / str(number)
        storage.fetch(url(s3, bucket, "x"), cache, into, credentials=s3.credentials)
        return (into / "x").read_bytes()

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(fetch, range(4))) == [b"x"] * 4
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lepton-fetch")]
