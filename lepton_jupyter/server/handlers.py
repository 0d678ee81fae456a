"""What all our HTTP handlers have in common: who may call them, and how they say that something is wrong.

Runs in the Jupyter server, on its event loop. Every verb is authenticated and authorised for the resource ``lepton``,
and passes Jupyter Server's own checks of XSRF and origin. An error is JSON: ``{"message", "hint"}``, in words for the
person; of an error that is not ours, the answer tells nothing and the server's log everything.
"""

from __future__ import annotations

import http
import json
import re
from collections.abc import Mapping
from typing import Any

from jupyter_server.base.handlers import APIHandler
from tornado.web import HTTPError

from ..errors import (
    AuthenticationFailed,
    BlobDamaged,
    BlobMissing,
    ConfigError,
    JobError,
    LeptonError,
    LinkLost,
    MissingDependency,
    TargetError,
    UnknownJob,
    WireError,
)
from .encoding import encode
from .parts import Parts

AUTH_RESOURCE = "lepton"
#: Key of `Parts` in the web application's settings.
SETTING = "lepton_parts"
_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
#: Class of an error -> HTTP status; the first that fits.
_STATUS: tuple[tuple[type[LeptonError], int], ...] = (
    (UnknownJob, 404),
    (JobError, 409),
    (ConfigError, 400),
    (MissingDependency, 501),
    (AuthenticationFailed, 502),
    (TargetError, 502),
    (BlobDamaged, 502),
    (BlobMissing, 410),
    (WireError, 502),
    (LinkLost, 504),
)


class LeptonHandler(APIHandler):
    """A handler of ``<base_url>lepton/api/…``. Each verb of a subclass carries @authenticated and @authorized."""

    auth_resource = AUTH_RESOURCE

    @property
    def parts(self) -> Parts:
        """Everything behind the routes."""
        parts: Parts = self.settings[SETTING]
        return parts

    @property
    def content_security_policy(self) -> str:
        """Whatever we answer is data: no browser shall run it, frame it or take it for a page."""
        return "; ".join(("default-src 'none'", "sandbox", "frame-ancestors 'none'"))

    def set_default_headers(self) -> None:
        super().set_default_headers()
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cache-Control", "no-store")

    def compute_etag(self) -> None:
        """None: nothing of ours is cached, and a digest of megabytes would hold the loop."""

    def answer(self, value: Mapping[str, Any]) -> None:
        """Finish with `value` as JSON."""
        self.answer_json(encode(value))

    def answer_json(self, text: str) -> None:
        self.finish(text, set_content_type="application/json")

    def job_id(self, given: str) -> str:
        """The id in the address. Raises HTTPError when none of our ids looks so."""
        if not _JOB_ID.fullmatch(given):
            raise HTTPError(400, reason="Bad Request", log_message="no job has such an id")
        return given

    def body(self) -> dict[str, Any]:
        """The request's body, a JSON object; {} when there is none. Raises ConfigError."""
        if not self.request.body.strip():
            return {}
        try:
            value = json.loads(self.request.body)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise ConfigError("the request's body is no JSON object", hint='Send for example {"name": "gpu1"}.')
        return value

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Say what is wrong, in words, and nothing of how we are made."""
        error = (kwargs.get("exc_info") or (None, None))[1]
        hint = ""
        if isinstance(error, LeptonError):
            status_code, message, hint = status_of(error), error.message, error.hint
            self.set_status(status_code)
        elif isinstance(error, HTTPError) and error.log_message:
            message = error.log_message % error.args if error.args else error.log_message
        elif status_code >= 500:
            message, hint = "something went wrong in the Lepton extension", "The Jupyter server's log has the details."
        else:
            message = http.HTTPStatus(status_code).phrase if status_code in set(http.HTTPStatus) else "not possible"
        self.answer({"message": message, "hint": hint})

    def log_exception(self, *exc_info: Any) -> None:
        """An error of ours is the answer, not an event for the log."""
        if not isinstance(exc_info[1], LeptonError):
            super().log_exception(*exc_info)


def status_of(error: LeptonError) -> int:
    """The HTTP status that says whose matter it is."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
