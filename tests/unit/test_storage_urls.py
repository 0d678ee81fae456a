"""What a URL of cloud storage names, and what is refused before anything is asked."""

from __future__ import annotations

import pytest

from lepton_jupyter.data.storage._access import opened
from lepton_jupyter.data.storage._credentials import of_scheme, secrets, tried
from lepton_jupyter.data.storage._failures import failure, redacted
from lepton_jupyter.data.storage._listing import check_names
from lepton_jupyter.data.storage._urls import parse
from lepton_jupyter.errors import ConfigError, StorageError, StorageUnreachable


@pytest.mark.parametrize(
    ("url", "scheme", "path", "account"),
    [
        ("s3://bucket/a/b.csv", "s3", "bucket/a/b.csv", ""),
        ("S3A://bucket", "s3", "bucket", ""),
        ("gcs://bucket/a b/", "gs", "bucket/a b/", ""),
        ("az://container/x", "az", "container/x", ""),
        ("abfs://container@me.dfs.core.windows.net/x/y", "az", "container/x/y", "me"),
        ("az://me.blob.core.windows.net/container/x", "az", "container/x", "me"),
        ("https://host/a%20b?q=1", "https", "https://host/a%20b?q=1", ""),
        ("sftp://host/data", "sftp", "sftp://host/data", ""),
    ],
)
def test_urls(url: str, scheme: str, path: str, account: str) -> None:
    found = parse(url)
    assert (found.scheme, found.path, found.account) == (scheme, path, account)


@pytest.mark.parametrize(
    "url",
    ["", "data/x", "s3://", "s3:///x", "s3://b/\0", "zip://x::s3://b/y", "az://me.blob.core.windows.net", "https://"],
)
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ConfigError):
        parse(url)


@pytest.mark.parametrize("url", ["s3://AKIA:sesame@bucket/x", "https://me:sesame@host/x", "sftp://me:sesame@host/x"])
def test_a_login_in_the_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigError, match="login in the URL") as failed:
        parse(url)
    assert "sesame" not in str(failed.value)


def test_a_signature_is_not_shown() -> None:
    assert parse("https://host/x?sig=sesame").shown == "https://host/x"


def test_the_base_of_a_pattern() -> None:
    assert parse("s3://b/data/*.csv").base == "b/data"
    assert parse("s3://b/data/y=202[0-4]/part*").base == "b/data"
    assert not parse("https://host/x?y").pattern
    assert parse("s3://b").folder and parse("s3://b/x/").folder and not parse("s3://b/x").folder


@pytest.mark.parametrize("name", ["../x", "a/../x", "/x", "a//b", "a/./b", "a\0b", "y" * 256, ".lepton-placed", ""])
def test_names_that_cannot_be_files(name: str) -> None:
    with pytest.raises(StorageError, match=r"s3://b: .* was refused"):
        check_names(["good", name], "s3://b")


def test_names_that_can() -> None:
    check_names(["A", "a", "a b", "é/\n", "..x", "-rf", "con"], "s3://b")
    with pytest.raises(StorageError, match="is no folder"):
        check_names(["a", "a/b"], "s3://b")


def test_credentials_are_checked() -> None:
    for url, credentials, words in (
        ("s3://b/x", {"password": "sesame"}, "cannot have 'password'"),
        ("s3://b/x", {"key": "AKIA"}, "both key and secret"),
        ("az://c/x", {"account_key": "sesame"}, "which storage account"),
        ("https://host/x", {"token": "sesame"}, "cannot have 'token'"),
    ):
        with pytest.raises(ConfigError, match=words) as failed, opened(url, credentials):
            pass
        assert "sesame" not in str(failed.value)


def test_credentials_may_be_for_several_storages() -> None:
    mine = {"key": "k", "secret": "s"}
    assert of_scheme("s3", mine) == of_scheme("s3", {"s3": mine, "gs": {"token": "t"}}) == mine
    assert of_scheme("az", {"s3": mine}) == of_scheme("https", {"s3": mine}) == of_scheme("s3", {}) == {}


def test_secrets_leave_no_trace_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-the-environment")
    handed = {
        "connection_string": "AccountName=me;AccountKey=c2VzYW1l;X=y",
        "token": {"private_key": "-----BEGIN", "n": {"refresh_token": "refresh!"}},
    }
    found = secrets(handed, "https://host/x?sig=signature")
    text = "c2VzYW1l -----BEGIN refresh! of-the-environment sig=signature"
    assert redacted(text, found) == "… … … … …"
    assert len(redacted("x" * 5000, found)) < 600


def test_which_credentials_were_tried(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.delenv("AWS_WEB_IDENTITY_TOKEN_FILE", raising=False)
    assert tried("s3", {}) == "AWS_ACCESS_KEY_ID, the role of this machine"
    assert tried("s3", {"key": "k", "secret": "s"}) == "those handed in for this job"
    assert tried("gs", {"anon": True}) == "none, as asked"


class _Answered(Exception):
    def __init__(self, code: str, status: int = 400) -> None:
        super().__init__("the request had sesame in it")
        self.response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}


@pytest.mark.parametrize(
    ("error", "words", "transient"),
    [
        (_Answered("ExpiredToken"), "credentials have expired; credentials tried: none", False),
        (_Answered("InvalidAccessKeyId", 403), "access denied", False),
        (_Answered("AuthorizationHeaderMalformed"), "another region", False),
        (_Answered("NoSuchBucket", 404), "there is no bucket 'b'", False),
        (_Answered("SlowDown", 503), "cannot be reached", True),
        (ConnectionResetError(104, "reset"), "cannot be reached", True),
        (TimeoutError(), "cannot be reached", True),
        (type("NoCredentialsError", (Exception,), {})(), "no credentials", False),
        (type("SSLError", (OSError,), {})(), "certificate is not trusted", True),
        (_Answered("SomethingNew"), "_Answered: the request had … in it", False),
    ],
)
def test_failures_in_words(error: Exception, words: str, transient: bool) -> None:
    found = failure(error, parse("s3://b/x"), None, "none", ["sesame"])
    assert words in str(found) and "sesame" not in str(found)
    assert isinstance(found, StorageUnreachable) is transient
