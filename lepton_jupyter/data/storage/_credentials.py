"""Credentials for a storage, handed in or the host's own, and how to speak of them untold. On the host."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from ...errors import ConfigError
from ._urls import Url

#: What may be handed in, for each cloud; those in the second line of each are secret.
CREDENTIALS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "s3": (("anon", "region", "endpoint_url"), ("key", "secret", "token")),
    "gs": (("anon", "project", "endpoint_url"), ("token",)),
    "az": (
        ("anon", "account_name", "tenant_id", "client_id"),
        ("account_key", "sas_token", "connection_string", "client_secret"),
    ),
}
#: Where the host's own credentials can come from, in words.
_OWN = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "~/.aws/credentials", "~/.aws/config"),
    "gs": ("GOOGLE_APPLICATION_CREDENTIALS", "~/.config/gcloud/application_default_credentials.json"),
    "az": (
        "AZURE_STORAGE_CONNECTION_STRING",
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_STORAGE_SAS_TOKEN",
        "AZURE_CLIENT_ID",
        "~/.azure",
    ),
}


def of_scheme(scheme: str, credentials: Mapping[str, Any]) -> dict[str, Any]:
    """What of `credentials` is for this storage: they may be for one, or for several by their schemes."""
    return dict(credentials.get(scheme, {}) if set(credentials) <= set(CREDENTIALS) else credentials)


def handed(scheme: str, credentials: Mapping[str, Any]) -> bool:
    """Whether any secret was handed in."""
    return any(credentials.get(name) for name in CREDENTIALS.get(scheme, ((), ()))[1])


def tried(scheme: str, credentials: Mapping[str, Any]) -> str:
    """Which credentials were used, in words."""
    if credentials.get("anon"):
        return "none, as asked"
    if handed(scheme, credentials):
        return "those handed in for this job"
    found = [
        name
        for name in _OWN.get(scheme, ())
        if (os.path.exists(os.path.expanduser(name)) if name.startswith("~") else os.environ.get(name))
    ]
    return ", ".join([*found, "the role of this machine"]) if scheme in _OWN else "none"


def secrets(credentials: Mapping[str, Any], url: str = "") -> list[str]:
    """All that must not be in a message, longest first."""
    found: set[str] = set()

    def collect(value: Any) -> None:
        if isinstance(value, str):
            found.add(value)
            found.update(part.partition("=")[2] for part in re.split("[;&]", value))
        elif isinstance(value, Mapping):
            for part in value.values():
                collect(part)

    for _, names in CREDENTIALS.values():
        for name in names:
            collect(credentials.get(name))
    for name in os.environ:
        if any(word in name for word in ("SECRET", "TOKEN", "ACCOUNT_KEY", "SAS", "CONNECTION_STRING")):
            collect(os.environ[name])
    collect(url.partition("?")[2])
    return sorted((secret for secret in found if len(secret) >= 6), key=len, reverse=True)


def check(url: Url, credentials: Mapping[str, Any]) -> None:
    """Raises ConfigError for what cannot be meant."""
    plain, secret = CREDENTIALS.get(url.scheme, ((), ()))
    unknown = sorted(set(credentials) - {*plain, *secret})
    if unknown:
        choices = ", ".join((*plain, *secret)) or "none"
        words = f"credentials for {url.scheme}:// cannot have {', '.join(map(repr, unknown))}"
        raise ConfigError(words, hint=f"They may have: {choices}")
    if url.scheme == "s3" and bool(credentials.get("key")) != bool(credentials.get("secret")):
        raise ConfigError("credentials for s3:// need both key and secret")
    if url.scheme == "az" and not (account(url, credentials) or _connection_string(credentials)):
        hint = "Write az://CONTAINER@ACCOUNT.blob.core.windows.net/…, or set AZURE_STORAGE_ACCOUNT_NAME on the host."
        raise ConfigError(f"{url.shown}: which storage account is it in?", hint=hint)


def account(url: Url, credentials: Mapping[str, Any]) -> str:
    """Azure's account that is meant, or nothing."""
    return str(credentials.get("account_name") or url.account or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME", ""))


def own_account() -> str:
    """The account that the host's environment has a key for, if it has one."""
    parts = dict(part.split("=", 1) for part in _connection_string({}).split(";") if "=" in part)
    return parts.get("AccountName") or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME", "")


def _connection_string(credentials: Mapping[str, Any]) -> str:
    return str(credentials.get("connection_string") or os.environ.get("AZURE_STORAGE_CONNECTION_STRING", ""))
