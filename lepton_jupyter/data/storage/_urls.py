"""What a URL names. On the host."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...errors import ConfigError

_ALIASES = {"s3a": "s3", "gcs": "gs", "abfs": "az", "abfss": "az", "http": "https"}
#: Those that have buckets and objects, to which whole objects can be written.
BUCKETS = ("s3", "gs", "az")
_AZURE = re.compile(r"(?P<account>[^.]+)\.(dfs|blob)\.core\.windows\.net")
_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Url:
    """A place in some storage."""

    scheme: str  # s3, gs, az, https, or another that fsspec knows
    path: str  # as fsspec calls it: bucket/key; of https and others the URL
    shown: str  # for messages: without what may be a secret
    account: str = ""  # Azure's, when the URL names it

    @property
    def bucket(self) -> str:
        return self.path.partition("/")[0] if self.scheme in BUCKETS else ""

    @property
    def pattern(self) -> bool:
        return self.scheme != "https" and bool(_MAGIC.search(self.path))

    @property
    def folder(self) -> bool:
        """Whether it can be nothing but a folder."""
        return self.scheme != "https" and (self.path.endswith("/") or self.path == self.bucket)

    @property
    def base(self) -> str:
        """The folder of which a pattern's names are given."""
        return _MAGIC.split(self.path, 1)[0].rpartition("/")[0]


def parse(url: str) -> Url:
    """Raises ConfigError for what is no URL, or one that carries a password."""
    scheme, found, rest = url.partition("://")
    scheme = _ALIASES.get(scheme.lower(), scheme.lower())
    host, slash, path = rest.partition("/")
    if not found or not rest.strip("/") or (not host and scheme in (*BUCKETS, "https")) or "\0" in url or "::" in url:
        raise ConfigError("this is not the URL of a file or folder", hint="Write for example s3://bucket/folder/.")
    login, at, account = host.rpartition("@")
    if at and scheme == "az":
        host = login
    elif at and (":" in login or scheme in (*BUCKETS, "https")):
        hint = "Let the host's own credentials be used, or hand some in for the job."
        raise ConfigError(f"{scheme}://…@{account}/… has a login in the URL, where it could be seen", hint=hint)
    if scheme not in BUCKETS:
        return Url(scheme, url, url.split("?")[0] if scheme == "https" else url)
    named = _AZURE.fullmatch(account if at else host) if scheme == "az" else None
    path = path if named and not at else host + slash + path
    if not path.strip("/"):
        raise ConfigError(f"{scheme}://{host} names no container", hint="Write for example az://container/folder/.")
    return Url(scheme, path, f"{scheme}://{path}", named["account"] if named else "")
