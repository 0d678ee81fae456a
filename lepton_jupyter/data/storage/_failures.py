"""What a storage library raises, in words: each has its own errors, and some say only a number. On the host."""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterator
from typing import Any

from ...errors import LeptonError, StorageError, StorageMissing, StorageUnreachable
from ._urls import Url

_BUCKET = {"s3": "bucket", "gs": "bucket", "az": "container"}
#: Names of exceptions (they or their bases), codes and statuses that tell what happened.
_NO_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "CredentialUnavailableError", "ProfileNotFound"}
_NO_CREDENTIALS |= {"DefaultCredentialsError", "TokenRetrievalError", "UnauthorizedSSOTokenError"}
_DENIED = {"PermissionError", "ClientAuthenticationError", "RefreshError", "AccessDenied", "InvalidAccessKeyId"}
_DENIED |= {"SignatureDoesNotMatch", "AllAccessDisabled", "ExpiredToken", "InvalidToken", "401", "403"}
_DENIED |= {"AuthenticationFailed", "AuthorizationFailure", "NoAuthenticationInformation", "PublicAccessNotPermitted"}
_REGION = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301"}
_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound"}
_MISSING = {"FileNotFoundError", "ResourceNotFoundError", "NoSuchKey", "BlobNotFound", "404"} | _NO_BUCKET
_NETWORK = {"ConnectionError", "TimeoutError", "ServiceRequestError", "ServiceResponseError", "TransportError"}
_NETWORK |= {"ClientConnectionError", "ClientPayloadError", "HTTPClientError", "FSTimeoutError", "gaierror"}
_NETWORK |= {"EndpointConnectionError", "IncompleteRead", "ResponseStreamingError", "429", "500", "502", "503", "504"}
_CERTIFICATE = {"SSLError", "SSLCertVerificationError", "ClientConnectorCertificateError"}


def failure(error: Exception, url: Url, fs: Any, tried: str, secrets: Collection[str]) -> LeptonError:
    """The error to raise instead of `error`; `error` itself when its words are ours."""
    if isinstance(error, LeptonError):
        return error
    marks = list(_marks(error))
    where, kind = url.shown, _BUCKET.get(url.scheme, "")
    if _any(marks, _NO_CREDENTIALS):
        hint = "Log in on the host as you do for the cloud's own command there, or hand in credentials for the job."
        return StorageError(f"{where}: the host has no credentials for it; tried: {tried}", hint=hint)
    if _any(marks, _REGION):
        hint = "Set AWS_DEFAULT_REGION on the host, or the region in its ~/.aws/config or in the credentials handed in."
        return StorageError(f"{where}: the bucket is in another region than the one that was asked", hint=hint)
    if _any(marks, _DENIED):
        expired = _any(marks, {"ExpiredToken", "ExpiredTokenException"})
        words = "the credentials have expired" if expired else "access denied"
        hint = f"May they read this {kind}? They may be old, or for another account." if kind else ""
        return StorageError(f"{where}: {words}; credentials tried: {tried}", hint=hint)
    if _any(marks, _MISSING):
        if kind and (_any(marks, _NO_BUCKET) or _lacks_bucket(fs, url)):
            return StorageError(f"{where}: there is no {kind} {url.bucket!r}", hint="Is it spelled like that?")
        return missing(url)
    if _any(marks, _CERTIFICATE):
        hint = "Name your authorities' file in AWS_CA_BUNDLE (S3) or SSL_CERT_FILE (others) on the host."
        return StorageUnreachable(f"{where}: the service's certificate is not trusted on this host", hint=hint)
    if _any(marks, _NETWORK) or (isinstance(error, OSError) and error.errno in _NO_WAY):
        hint = "Has the host a way out to the network, and the right endpoint? What arrived is kept; try again."
        return StorageUnreachable(f"{where}: its service cannot be reached from the host, or broke off", hint=hint)
    return StorageError(f"{where}: {type(error).__name__}: {redacted(str(error), secrets)}")


_NO_WAY = (errno.ECONNREFUSED, errno.ECONNRESET, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.EPIPE)


def missing(url: Url) -> StorageMissing:
    """Nothing lies where the URL points."""
    if url.pattern:
        return StorageMissing(f"{url.shown}: nothing there fits this pattern")
    hint = "Keys are exact, upper and lower case too; a folder's URL may end with a slash."
    return StorageMissing(f"{url.shown}: there is nothing of this name", hint=hint)


def redacted(text: str, secrets: Collection[str]) -> str:
    """The text without any of the secrets, and not too long."""
    for secret in secrets:
        text = text.replace(secret, "…")
    return text if len(text) <= 500 else text[:500] + "…"


def _any(marks: list[str], names: set[str]) -> bool:
    return any(mark in names for mark in marks)


def _marks(error: BaseException) -> Iterator[str]:
    """Names, codes and statuses of an error and of what caused it."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield from (cls.__name__ for cls in type(cause).__mro__ if cls.__name__ != "OSError")
        response = getattr(cause, "response", None)
        if isinstance(response, dict):
            yield str(response.get("Error", {}).get("Code", ""))
            yield str(response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
        yield str(getattr(cause, "status", 0) or getattr(cause, "status_code", 0) or getattr(cause, "code", ""))
        code = getattr(cause, "error_code", "")
        yield str(getattr(code, "value", code))
        if str(cause).startswith("Forbidden"):  # gcsfs
            yield "403"
        cause = cause.__cause__ or cause.__context__


def _lacks_bucket(fs: Any, url: Url) -> bool:
    try:
        fs.info(url.bucket)
    except FileNotFoundError:
        return True
    except Exception:  # noqa: BLE001 - it is only to word another error
        return False
    return False
