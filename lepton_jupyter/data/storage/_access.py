"""Opens the storage that a URL names, with the host's own credentials or with those handed in. On the host.

While a place is open its libraries log nothing: at debug level they would write down tokens.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import logging
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from ...errors import MissingDependency
from ._credentials import account, check, handed, of_scheme, own_account, secrets, tried
from ._failures import failure
from ._urls import BUCKETS, Url, parse

#: Modules by scheme, what to install for them, and the extra of ours.
_LIBRARIES = {
    "s3": ("s3fs", "s3fs", "s3"),
    "gs": ("gcsfs", "gcsfs", "gcs"),
    "az": ("adlfs", "adlfs", "azure"),
    "https": ("aiohttp", "aiohttp", "s3"),
}
#: Loggers that would say too much: those of the libraries, and of what they stand on.
_LOUD = {"adlfs", "aiobotocore", "aiohttp", "asyncio", "azure", "botocore", "fsspec", "gcsfs", "google", "msal"}
_LOUD |= {"s3fs", "urllib3"}
_alone = threading.Lock()


class Place:
    """A storage that is open, as long as `opened` lasts: `fs` is fsspec's."""

    def __init__(self, url: Url, fs: Any) -> None:
        if url.scheme not in (*BUCKETS, "https"):
            url = dataclasses.replace(url, path=fs._strip_protocol(url.path))
        self.url, self.fs = url, fs

    @property
    def endpoint(self) -> str:
        """What tells this storage from others whose buckets have the same names."""
        if self.url.scheme == "s3":
            self.fs.connect()
            return str(self.fs.s3.meta.endpoint_url)
        if self.url.scheme == "gs":
            return str(self.fs.base)
        return str(self.fs.service_client.url).split("?")[0] if self.url.scheme == "az" else self.url.scheme


@contextlib.contextmanager
def opened(url: str, credentials: Mapping[str, Any] | None) -> Iterator[Place]:
    """The storage of `url`; what fails inside is said in words, without secrets.

    `credentials` are for this storage, ``{"key": …, "secret": …}``, or for several, ``{"s3": {…}, "gs": {…}}``.

    Raises ConfigError for a URL or credentials that cannot be meant, MissingDependency with the command that helps,
    StorageError for all that the storage refuses, StorageUnreachable when it does not answer.
    """
    where = parse(url)
    given = of_scheme(where.scheme, credentials or {})
    check(where, given)
    fsspec = _library(where.scheme)
    with _quiet():
        place: Place | None = None
        try:
            place = Place(where, _filesystem(fsspec, where, dict(given)))
            yield place
        except Exception as error:
            words = failure(error, where, place.fs if place else None, tried(where.scheme, given), secrets(given, url))
            if words is error:
                raise
        else:
            return
        finally:
            if place and where.scheme == "az":
                _close_azure(place.fs)
    raise words from None  # the chain of causes would show requests, and what is in them


def _library(scheme: str) -> Any:
    module, package, extra = _LIBRARIES.get(scheme, ("fsspec", "fsspec", "s3"))
    for name in ("fsspec", module):
        try:
            importlib.import_module(name)
        except ImportError:
            words = f"to read {scheme}:// this host needs {package}, which {sys.executable} does not have"
            hint = f"{sys.executable} -m pip install {package}    (or, with this package: 'lepton-jupyter[{extra}]')"
            raise MissingDependency(words, hint=hint) from None
    return importlib.import_module("fsspec")


def _filesystem(fsspec: Any, url: Url, credentials: dict[str, Any]) -> Any:
    """A file system of its own: fsspec would keep a shared one, with its credentials, and its listings."""
    options: dict[str, Any] = {"skip_instance_cache": True, "use_listings_cache": False}
    if url.scheme == "s3":
        region = credentials.pop("region", None)
        options["client_kwargs"] = {"region_name": region} if region else {}
        options["session"] = importlib.import_module("aiobotocore.session").AioSession()
        options["session"].register_component("data_loader", _models())
        return importlib.import_module("s3fs").S3FileSystem(**options, **credentials)
    if url.scheme == "gs":
        anonymous, token = credentials.pop("anon", False), credentials.pop("token", None)
        options["token"] = "anon" if anonymous else _google(token)
        return importlib.import_module("gcsfs.core").GCSFileSystem(**options, **credentials)
    if url.scheme == "az":
        credentials["account_name"] = account(url, credentials) or None
        fs = importlib.import_module("adlfs").AzureBlobFileSystem(**options, **credentials, **_azure(credentials))
        mine = handed("az", credentials)
        others = not mine and bool(url.account) and url.account != own_account()
        if mine or others or credentials.get("anon"):  # adlfs prefers what is in the environment
            for name in ("connection_string", "account_key", "sas_token"):
                setattr(fs, name, credentials.get(name))
            if others and not credentials.get("anon"):
                fs.credential, fs.sync_credential = fs._get_default_azure_credential()
            fs.do_connect()
        return fs
    try:
        return fsspec.filesystem(url.path.partition("://")[0], **options)
    except (ImportError, ValueError) as error:
        raise MissingDependency(f"{url.scheme}:// cannot be read on this host: {error}") from None


@functools.lru_cache(maxsize=1)
def _models() -> Any:
    """What botocore knows of Amazon's services: read once, since that takes longer than all else."""
    return importlib.import_module("botocore.loaders").create_loader()


def _google(token: Any) -> Any:
    """gcsfs would take a text for a path, and ask Google about it."""
    if isinstance(token, str):
        return importlib.import_module("google.oauth2.credentials").Credentials(token)
    if isinstance(token, Mapping):
        scopes = ["https://www.googleapis.com/auth/devstorage.read_write"]
        return importlib.import_module("google.auth").load_credentials_from_dict(dict(token), scopes=scopes)[0]
    return None


def _azure(credentials: Mapping[str, Any]) -> dict[str, Any]:
    if not credentials.get("client_secret"):
        return {}
    identity = importlib.import_module("azure.identity.aio")
    names = ("tenant_id", "client_id", "client_secret")
    return {"credential": identity.ClientSecretCredential(*(credentials.get(name) for name in names))}


def _close_azure(fs: Any) -> None:
    """adlfs keeps what it opened, and so its credentials, for as long as the process lives."""
    sync = importlib.import_module("fsspec.asyn").sync
    with contextlib.suppress(Exception):
        sync(fs.loop, importlib.import_module("adlfs.utils").close_credential, fs)
        sync(fs.loop, fs.service_client.close)
    vars(fs).clear()
    fs.service_client, fs.credential = _Closed(), None  # adlfs closes them once more in the end


class _Closed:
    async def close(self) -> None:
        pass


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Let the libraries log nothing. One place is open at a time, so that each restores what it found."""
    with _alone:
        tops = {logging.getLogger(name): logging.getLogger(name).level for name in _LOUD}
        known = [logging.getLogger(name) for name in list(logging.root.manager.loggerDict)]
        loud = {logger: logger.disabled for logger in known if logger.name.partition(".")[0] in _LOUD}
        try:
            for logger in tops:
                logger.setLevel(logging.CRITICAL + 1)
            for logger in loud:
                logger.disabled = True
            yield
        finally:
            for logger, level in tops.items():
                logger.setLevel(level)
            for logger, disabled in loud.items():
                logger.disabled = disabled
