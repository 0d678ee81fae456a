"""Google Cloud Storage: gcp-storage-emulator on loopback. It asks for no credentials; its front gives it ranges."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.fakes._front import Front, asked, served

TOKEN = "ya29.gcs-token-of-the-test-0123456789"


class Gcs:
    scheme = "gs"

    def __init__(self, front: Front) -> None:
        self.front = front
        # Google takes either for the parts of an upload, the emulator one.
        front.method = lambda method, path: "PUT" if "upload_id=" in path else method

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.front.port}"

    @property
    def credentials(self) -> dict[str, Any]:
        return {"token": TOKEN, "endpoint_url": self.endpoint}

    @property
    def environ(self) -> dict[str, str]:
        """What the user of a host has set, for the library to find: here, that there is nobody to ask for a token."""
        return {"STORAGE_EMULATOR_HOST": self.endpoint, "NO_GCE_CHECK": "true"}

    @property
    def secrets(self) -> list[str]:
        return [TOKEN]

    def make(self, bucket: str) -> None:
        data = json.dumps({"name": bucket}).encode()
        asked(self.front.port, "POST", "/storage/v1/b?project=p", data, **{"Content-Type": "application/json"})

    def put(self, bucket: str, key: str, data: bytes) -> None:
        path = f"/upload/storage/v1/b/{bucket}/o?uploadType=multipart&name={quote(key, safe='')}"
        parts = b"--B\r\nContent-Type: application/json\r\n\r\n{}\r\n--B\r\nContent-Type: text/plain\r\n\r\n%s\r\n--B--"
        asked(self.front.port, "POST", path, parts % data, **{"Content-Type": "multipart/related; boundary=B"})

    def get(self, bucket: str, key: str) -> bytes:
        return asked(self.front.port, "GET", f"/storage/v1/b/{bucket}/o/{quote(key, safe='')}?alt=media")


@pytest.fixture(scope="session")
def _gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gcs]:
    command = [sys.executable, "-m", "gcp_storage_emulator", "start", "--in-memory", "--host", "127.0.0.1", "--port"]
    with served(lambda port: [*command, str(port)], tmp_path_factory.mktemp("gcs") / "log") as front:
        yield Gcs(front)


@pytest.fixture
def gcs(_gcs: Gcs) -> Gcs:
    """Google's, with nothing counted yet."""
    _gcs.front.reset()
    return _gcs
