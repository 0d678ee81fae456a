"""Azure Blob Storage: Azurite on loopback, as .ci/azurite installs it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes._front import Front, program, served

#: Azurite's own account, which everybody knows.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class Azure:
    scheme = "az"

    def __init__(self, front: Front) -> None:
        self.front = front
        self._service: Any = None

    @property
    def connection(self) -> str:
        blobs = f"http://127.0.0.1:{self.front.port}/{ACCOUNT}"
        return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={blobs};"

    @property
    def credentials(self) -> dict[str, Any]:
        return {"connection_string": self.connection}

    @property
    def environ(self) -> dict[str, str]:
        """What the user of a host has set, for the library to find."""
        return {"AZURE_STORAGE_CONNECTION_STRING": self.connection}

    @property
    def secrets(self) -> list[str]:
        return [KEY]

    def _container(self, name: str) -> Any:
        from azure.storage.blob import BlobServiceClient

        if self._service is None:
            self._service = BlobServiceClient.from_connection_string(self.connection)
        return self._service.get_container_client(name)

    def make(self, bucket: str) -> None:
        self._container(bucket).create_container()

    def put(self, bucket: str, key: str, data: bytes) -> None:
        self._container(bucket).upload_blob(key, data, overwrite=True)

    def get(self, bucket: str, key: str) -> bytes:
        return bytes(self._container(bucket).download_blob(key).readall())

    def close(self) -> None:
        if self._service is not None:
            self._service.close()


@pytest.fixture(scope="session")
def _azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    command = [program("azurite-blob"), "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
    command += ["--silent", "--blobHost", "127.0.0.1", "--blobPort"]
    with served(lambda port: [*command, str(port)], tmp_path_factory.mktemp("azurite") / "log") as front:
        azure = Azure(front)
        yield azure
        azure.close()


@pytest.fixture
def azure(_azure: Azure) -> Azure:
    """Azure with nothing counted yet."""
    _azure.front.reset()
    return _azure
