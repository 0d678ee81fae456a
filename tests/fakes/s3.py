"""Amazon S3: moto's server on loopback, in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import pytest

from tests.fakes._front import Front, asked, served

#: Real Amazon would give them out; moto takes any until `strict`.
KEYS = {"key": "AKIAIOSFODNN7EXAMPLE", "secret": "s3-secret-of-the-test-0123456789", "token": "s3-token-of-the-test"}
ANYBODY = {"Authorization": "AWS anybody:anything"}


class S3:
    scheme = "s3"

    def __init__(self, front: Front) -> None:
        self.front = front

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.front.port}"

    @property
    def credentials(self) -> dict[str, Any]:
        return {**KEYS, "region": "us-east-1", "endpoint_url": self.endpoint}

    @property
    def environ(self) -> dict[str, str]:
        """What the user of a host has set, for the library to find."""
        names = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "token"}
        return {**{name: KEYS[of] for name, of in names.items()}, "AWS_ENDPOINT_URL": self.endpoint}

    @property
    def secrets(self) -> list[str]:
        return [KEYS["secret"], KEYS["token"]]

    def make(self, bucket: str) -> None:
        asked(self.front.port, "PUT", f"/{bucket}")

    def put(self, bucket: str, key: str, data: bytes) -> None:
        asked(self.front.port, "PUT", f"/{bucket}/{quote(key)}", data, **ANYBODY, **{"x-amz-acl": "public-read"})

    def get(self, bucket: str, key: str) -> bytes:
        return asked(self.front.port, "GET", f"/{bucket}/{quote(key)}", **ANYBODY)

    @contextmanager
    def strict(self) -> Iterator[None]:
        """Until left, only keys that moto gave out itself are good: those of the test are not."""
        asked(self.front.port, "POST", "/moto-api/reset-auth", b"0")
        try:
            yield
        finally:
            asked(self.front.port, "POST", "/moto-api/reset-auth", b"inf")


@pytest.fixture(scope="session")
def _s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p"]
    with served(lambda port: [*command, str(port)], tmp_path_factory.mktemp("moto") / "log") as front:
        yield S3(front)


@pytest.fixture
def s3(_s3: S3) -> S3:
    """S3 with nothing counted yet."""
    _s3.front.reset()
    return _s3
