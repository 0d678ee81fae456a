"""`lepton/api/targets…` and live samples, with this machine and a real sshd."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lepton_jupyter.server import targets as targets_module
from lepton_jupyter.server.parts import Parts
from tests.fakes.sshd import Sshd, keygen
from tests.server.http._stream import Stream

Ask = Callable[..., Awaitable[tuple[int, Any]]]
Open = Callable[..., Awaitable[Stream]]


@pytest.fixture
def options(sshd: Sshd, tmp_path: Path) -> dict[str, Any]:
    """What the add-target form sends for the sshd of these tests."""
    (tmp_path / "ssh").mkdir()
    return {
        "ssh_config": str(sshd.config_for(tmp_path / "ssh")),
        "python": sys.executable,
        "root": str(tmp_path / "host"),
    }


def add(ask: Ask, **body: Any) -> Awaitable[tuple[int, Any]]:
    return ask("targets", method="POST", body=body, request_timeout=90)


async def test_a_target_is_tested_before_it_is_added(ask: Ask, sshd: Sshd, options: dict[str, Any]) -> None:
    status, answer = await add(ask, name="gpu1", url=f"ssh://{sshd.alias}", options=options, test=True)
    assert (status, answer["added"]) == (200, True), answer
    assert answer["findings"][0]["subject"] == "reachable"
    _, listed = await ask("targets")
    assert [target["name"] for target in listed["targets"]] == ["local", "gpu1"]
    status, answer = await ask("targets", "gpu1", "test", method="POST", request_timeout=90)
    assert (status, answer["findings"][0]["ok"]) == (200, True)
    status, answer = await ask("targets", "default", method="PUT", body={"name": "gpu1"})
    assert (status, answer["default"]) == (200, "gpu1")
    assert (await ask("targets"))[1]["default"] == "gpu1"
    assert (await ask("targets", "gpu1", method="DELETE"))[0] == 204
    _, listed = await ask("targets")
    assert ([target["name"] for target in listed["targets"]], listed["default"]) == (["local"], "local")


async def test_a_target_that_does_not_work_is_not_added_unless_no_test_is_wanted(ask: Ask, tmp_path: Path) -> None:
    status, answer = await add(ask, name="gone", url="ssh://ann@127.0.0.1:1", options={}, test=True)
    assert (status, answer["added"], answer["findings"][0]["ok"]) == (200, False, False)
    assert not (tmp_path / "lepton.toml").exists()
    status, answer = await add(ask, name="gone", url="ssh://ann@127.0.0.1:1", options={"price-per-hour": 2}, test=False)
    assert (answer["added"], answer["findings"]) == (True, [])
    _, listed = await ask("targets")
    assert (listed["targets"][1]["where"], listed["targets"][1]["price_per_hour"]) == ("ann@127.0.0.1:1", 2)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"name": "<script>", "url": "ssh://x"}, "cannot name a target"),
        ({"name": "a\nb", "url": "ssh://x"}, "cannot name a target"),
        ({"name": "../x", "url": "ssh://x"}, "cannot name a target"),
        ({"name": "x", "url": "gopher://x"}, "no target is of the kind"),
        ({"name": "x", "url": "ssh://ann:secret@x"}, "password has no place"),
        ({"name": "x", "url": "ssh://x", "options": {"passwrd": "1"}}, "unknown key"),
        ({"name": "x", "url": "ssh://x", "options": {"python": {"a": 1}}}, "options must be"),
        ({"name": "x", "url": "ssh://x", "options": ["python"]}, "options must be"),
        ({"name": "x"}, "'url' is missing"),
        ({"url": "ssh://x"}, "'name' is missing"),
        ({"name": 3, "url": "ssh://x"}, "'name' is missing"),
    ],
)
async def test_what_is_no_target_is_refused_in_words(ask: Ask, body: dict[str, Any], word: str) -> None:
    status, answer = await add(ask, **body)
    assert status == 400, answer
    assert word in answer["message"]


async def test_names_that_nobody_has_are_not_found(ask: Ask) -> None:
    for path, method in ((("targets", "nope", "test"), "POST"), (("targets", "<b>"), "DELETE")):
        status, answer = await ask(*path, method=method)
        assert (status, "there is no target" in answer["message"]) == (404, True)
    assert (await ask("targets", "default", method="PUT", body={"name": "nope"}))[0] == 404
    assert (await ask("targets", "local", method="DELETE"))[0] == 400
    assert (await ask("targets", "local", method="PUT", body={"name": "local"}))[0] == 404


async def test_this_machine_is_sampled_while_somebody_looks(stream: Open, parts: Parts, ask: Ask) -> None:
    page, other = await stream(), await stream()
    await page.say(type="look", targets=["local"], jobs=[])
    link = await page.of("link")
    assert (link["target"], link["link"], link["words"]) == ("local", "connected", "")
    samples = [await page.of("sample") for _ in range(3)]
    assert all(abs(told["sample"]["time"] - time.time()) < 10 for told in samples)
    assert samples[-1]["sample"]["memory"]["total"] > 0
    assert samples[-1]["target"] == "local"
    _, listed = await ask("targets")
    local = listed["targets"][0]
    assert (local["link"], len(local["samples"]) >= 3, local["sample"]["cpu"]["count"] > 0) == ("connected", True, True)
    assert not [heard for heard in await other.silence(1.0) if heard["type"] == "sample"]
    await page.say(type="look", targets=[], jobs=[])
    await page.silence(1.0)  # what was on its way
    heard = await page.silence(2.5)
    assert not [message for message in heard if message["type"] == "sample"]
    page.close()
    other.close()


async def test_nobody_looks_any_more_and_the_link_is_let_go(
    stream: Open, parts: Parts, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets_module, "_GRACE", 0.5)
    page = await stream()
    await page.say(type="look", targets=["local"], jobs=[])
    await page.of("sample")
    page.close()
    deadline = time.monotonic() + 10
    while (local := (await ask("targets"))[1]["targets"][0])["link"] != "unknown":
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
    assert len(local["samples"]) >= 1  # what was seen stays, with its time


async def test_a_target_that_needs_an_answer_says_so_in_words(
    stream: Open, ask: Ask, sshd: Sshd, options: dict[str, Any], tmp_path: Path
) -> None:
    locked = keygen(tmp_path / "locked", passphrase="secret")
    sshd.authorized_keys.write_text(sshd.authorized_keys.read_text() + locked.with_suffix(".pub").read_text())
    config = Path(options["ssh_config"])
    config.write_text(config.read_text().replace(str(sshd.client_key), str(locked)))
    status, answer = await add(ask, name="gpu1", url=f"ssh://{sshd.alias}", options=options, test=True)
    assert (status, answer["added"], answer["findings"][0]["ok"]) == (200, False, False)
    assert "the server cannot ask you" in answer["findings"][0]["value"]
    assert "a notebook can" in answer["findings"][0]["value"]
    await add(ask, name="gpu1", url=f"ssh://{sshd.alias}", options=options, test=False)
    page = await stream()
    await page.say(type="look", targets=["gpu1"], jobs=[])
    link = await page.of("link")
    assert (link["link"], "the server cannot ask you" in link["words"]) == ("lost", True)
    page.close()


async def test_what_is_wrong_with_a_target_is_said_in_sentences(stream: Open, ask: Ask) -> None:
    await add(ask, name="gpu1", url="ssh://127.0.0.1:1", options={}, test=False)
    page = await stream()
    await page.say(type="look", targets=["gpu1"], jobs=[])
    link = await page.of("link")
    assert "127.0.0.1:1 refuses connections. Is an SSH server running there" in link["words"]
    page.close()


async def test_a_host_that_is_gone_and_returns_is_told_in_words(
    stream: Open, ask: Ask, make_sshd: Callable[..., Sshd], tmp_path: Path
) -> None:
    sshd = make_sshd()
    (tmp_path / "ssh").mkdir()
    config = sshd.config_for(tmp_path / "ssh")
    options = {"ssh_config": str(config), "python": sys.executable, "root": str(tmp_path / "host")}
    await add(ask, name="gpu1", url=f"ssh://{sshd.alias}", options=options, test=False)
    page = await stream()
    await page.say(type="look", targets=["gpu1"], jobs=[])
    await page.until(lambda message: message["type"] == "sample", patience=40)
    sshd.kill_connections()
    sshd.stop()
    await page.until(lambda message: message["type"] == "link" and message["link"] == "reconnecting", patience=40)
    sshd.start()
    await page.until(lambda message: message["type"] == "link" and message["link"] == "connected", patience=60)
    await page.until(lambda message: message["type"] == "sample", patience=40)
    page.close()
