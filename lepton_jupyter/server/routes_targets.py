"""``lepton/api/targets…``: the places to run. Runs in the Jupyter server.

Nobody can be asked here: a target that needs a password says so, in words, as a finding of its test.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado.web import HTTPError, authenticated

from ..config import Config, check_name, nearest
from ..errors import ConfigError
from ..remote import Dispatcher
from ..targets._base import Finding
from ..targets._url import kind_of, new_target
from .backend import no_prompt
from .handlers import LeptonHandler
from .targets import kernels_of

#: Seconds that a test may take: a login, a bootstrap, a look for frameworks.
_TEST = 90.0


class TargetsHandler(LeptonHandler):
    """``targets``: which there are; POST adds one, after a test if that is asked for."""

    @authenticated
    @authorized
    async def get(self) -> None:
        views, default = await self.parts.targets.views(kernels_of(self.parts.hub.board))
        self.answer({"targets": views, "default": default})

    @authenticated
    @authorized
    async def post(self) -> None:
        body = self.body()
        name, url = _text(body, "name"), _text(body, "url")
        options, test = body.get("options") or {}, bool(body.get("test", True))
        if not isinstance(options, Mapping) or not all(_is_value(value) for value in options.values()):
            raise ConfigError("options must be an object of texts, numbers and booleans")
        given = {str(key).replace("-", "_"): value for key, value in options.items() if value != ""}
        check_name(name)

        def probe(_: Dispatcher) -> tuple[str, dict[str, Any], list[Finding]]:
            kind = kind_of(url)
            typed, target = new_target(name, url, given, no_prompt, name)
            try:
                return kind, typed, target.probe() if test else []
            finally:
                target.close()

        # A target of its own, so that a wrong one holds no turn of one that works.
        kind, typed, findings = await self.parts.backend.host(f"test of {name}", probe, _TEST)
        works = all(finding.ok is not False for finding in findings)
        if works:
            await self.parts.backend.config(lambda config: config.add(name, kind, typed))
            self.parts.targets_changed(name)
        self.answer({"findings": _shown(findings), "added": works})


class TestHandler(LeptonHandler):
    """``targets/NAME/test``: ask the place itself."""

    @authenticated
    @authorized
    async def post(self, name: str) -> None:
        await self.parts.backend.config(lambda config: _known(config, name))
        findings = await self.parts.backend.host(
            f"test of {name}", lambda dispatcher: dispatcher.target(name).probe(), _TEST
        )
        self.answer({"findings": _shown(findings)})


class OneTargetHandler(LeptonHandler):
    """``targets/NAME``: DELETE forgets it, what runs there goes on. PUT ``targets/default`` says where cells run."""

    @authenticated
    @authorized
    async def delete(self, name: str) -> None:
        def remove(config: Config) -> None:
            _known(config, name)
            config.remove(name)

        await self.parts.backend.config(remove)
        self.parts.targets_changed(name)
        self.set_status(204)
        self.finish()

    @authenticated
    @authorized
    async def put(self, address: str) -> None:
        if address != "default":
            raise HTTPError(404, log_message="targets are changed by adding them again; PUT sets targets/default only")
        name = _text(self.body(), "name")

        def choose(config: Config) -> str:
            _known(config, name)
            config.set_default(name)
            return config.default

        default = await self.parts.backend.config(choose)
        self.parts.targets_changed()
        self.answer({"default": default})


def _known(config: Config, name: str) -> None:
    """Raise HTTPError for a name that no target has."""
    if name not in config.targets:
        raise HTTPError(404, "there is no target %r. %s", name, nearest(name, config.targets))


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{key!r} is missing", hint='Send {"name": "gpu1", "url": "ssh://ann@gpu1"}.')
    return value.strip()


def _is_value(value: object) -> bool:
    return isinstance(value, (str, int, float, bool))


def _shown(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    return [dataclasses.asdict(finding) for finding in findings]
