"""Who we are to a host: agent keys, key files, passwords. Runs in the notebook's kernel; needs paramiko.

The order is OpenSSH's, with one difference: keys that need a passphrase come after those that need none, because
paramiko cannot ask a host whether it would take a key before the key is unlocked. Passphrases and passwords are asked
through `Prompt` and live in `Secrets` only: in memory, for the reconnects of one host object.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import paramiko

from ..errors import AuthenticationFailed, HostUnreachable, LeptonError
from ._ssh_config import HostConfig
from ._ssh_keys import agent, fits, load, public_blob
from ._ssh_link import Link

#: (question, secret) -> answer; raises LeptonError when nobody can be asked.
Prompt = Callable[[str, bool], str]

TRIES = 3


class HungUp(Exception):
    """The host closed the connection during the login, as it does after too many attempts; another may go on."""


@dataclass
class Secrets:
    """Answers that the user gave, by question; kept once they proved right."""

    prompt: Prompt
    known: dict[str, str] = field(default_factory=dict)

    def attempts(self, question: str, tries: int = TRIES) -> Iterator[str]:
        """Up to `tries` answers; the remembered one comes first, and is forgotten when another is asked for."""
        for attempt in range(tries):
            if attempt == 0 and question in self.known:
                yield self.known[question]
                continue
            self.known.pop(question, None)
            yield self.prompt(question if attempt == 0 else f"{question.rstrip(': ')} (attempt {attempt + 1}): ", True)


class Login:
    """One login to one host. It may span several connections, when the host hangs up on too many attempts."""

    def __init__(self, config: HostConfig, secrets: Secrets) -> None:
        self._config = config
        self._secrets = secrets
        self._tried: list[str] = []
        self._refused: set[bytes] = set()
        self._hung: set[bytes] = set()  # keys over which the connection ended, once
        self._answered = False  # whether the host ever said no
        self._hung_up = False  # whether a connection ended in the middle
        self._put_aside = False  # whether a key never had its answer
        self._accepts: list[str] = ["publickey", "keyboard-interactive", "password"]
        self._tries = TRIES  # wrong answers left to the user, over all methods

    def run(self, link: Link) -> None:
        """On return the connection is logged in.

        Raises AuthenticationFailed, HostUnreachable when the host gave no answer, or HungUp: try again on another link.
        """
        with agent(self._config.identity_agent) as agent_keys:
            for key, name in self._keys(link, agent_keys):
                if "publickey" not in self._accepts:
                    break
                if self._try_key(link, key, name):
                    return
        methods = {"keyboard-interactive": self._interactive, "password": self._password}
        while self._tries and (todo := [name for name in methods if name in self._accepts]):
            if methods.pop(todo[0])(link):
                return
        raise self.failed()

    def failed(self) -> LeptonError:
        """Why there is no login: the host refused it, or the connection broke before the host could say anything."""
        user, alias = self._config.user, self._config.alias
        if self._put_aside or (self._hung_up and not self._answered):
            return HostUnreachable(
                f"the connection to {alias} broke during the login; tried: {'; '.join(self._tried)}",
                hint="Try again. If it breaks each time, its sshd_config may allow one attempt only (MaxAuthTries).",
            )
        return AuthenticationFailed(
            f"{alias} refused to log {user!r} in; tried: {'; '.join(self._tried) or 'nothing (no key, no password)'}",
            hint=f"The host accepts: {', '.join(self._accepts)}. Check the user name (user@host, or User in "
            f"~/.ssh/config); bring your public key there with `ssh-copy-id {user}@{alias}`, or name another key by "
            "IdentityFile; `ssh-add` unlocks a key for all programs.",
        )

    def _attempt(self, link: Link, name: str, method: Callable[[], list[str]]) -> bool:
        """Run one method of authentication. True: logged in. False: refused, or the host wants one more factor."""
        try:
            more = method()
        except paramiko.BadAuthenticationType as error:
            self._answered = True
            self._accepts = list(error.allowed_types)
            return False
        except paramiko.AuthenticationException as error:
            if not link.transport.is_active() or "timeout" in str(error):
                self._tried.append(f"{name} ({'no answer' if link.transport.is_active() else 'the host hung up'})")
                self._hung_up = True
                raise HungUp(str(error)) from error
            self._answered = True
            self._tried.append(f"{name} (refused)")
            return False
        except (paramiko.SSHException, EOFError, OSError) as error:
            self._tried.append(f"{name} ({error or 'the host hung up'})")
            self._hung_up = True
            raise HungUp(str(error)) from error
        if more:
            self._tried.append(f"{name} (accepted, but more is asked for)")
            self._accepts = list(more)
        return not more and link.transport.is_authenticated()

    # keys

    def _try_key(self, link: Link, key: paramiko.PKey, name: str) -> bool:
        user = self._config.user
        blob = key.asbytes()
        try:
            if self._attempt(link, name, lambda: link.transport.auth_publickey(user, key)):
                return True
        except HungUp:
            # Over too many attempts, or a cut: the key comes first on the next connection, and has its answer then.
            if blob in self._hung:
                self._refused.add(blob)
                self._put_aside = True
            self._hung.add(blob)
            raise
        self._refused.add(blob)
        return False

    def _keys(self, link: Link, agent_keys: list[paramiko.AgentKey]) -> Iterator[tuple[paramiko.PKey, str]]:
        """Keys to offer: named ones that the agent holds, other agent keys, open files, then locked files."""
        files = [path for path in self._config.identity_files if path.exists()]
        public = {blob: path for path in self._config.identity_files if (blob := public_blob(path))}
        held = sorted(agent_keys, key=lambda key: key.asbytes() not in public)
        for key in held:
            if self._config.identities_only and key.asbytes() not in public:
                continue
            if key.asbytes() not in self._refused:
                yield key, f"agent key {key.comment or key.fingerprint}"
        offered = {key.asbytes() for key in held}
        locked = []
        for path in files:
            if public_blob(path) in offered:
                continue
            try:
                yield from self._loaded(path, None)
            except TypeError:  # cryptography's word for "a passphrase is needed"
                locked.append(path)
        if locked:  # never ask for a passphrase that the host has no use for
            self._attempt(link, "no proof", lambda: link.transport.auth_none(self._config.user))
        for path in locked:
            if "publickey" in self._accepts:
                yield from self._unlocked(path)

    def _loaded(self, path: Path, passphrase: str | None) -> Iterator[tuple[paramiko.PKey, str]]:
        """The key in `path`, and its certificate where there is one. Raises TypeError when it is locked."""
        try:
            data = path.read_bytes()
        except OSError as error:
            self._tried.append(f"{path} ({error.strerror})")
            return
        try:
            key = load(data, passphrase)
        except ValueError as error:
            if passphrase is not None:
                raise
            self._tried.append(f"{path} (not a private key that we can read: {error})")
            return
        if key.asbytes() in self._refused:
            return
        certificates = [*self._config.certificate_files, path.with_name(path.name + "-cert.pub")]
        for certificate in certificates:
            if certificate.exists() and fits(key, certificate):
                yield key, f"certificate {certificate}"
                key = load(data, passphrase)
        yield key, str(path)

    def _unlocked(self, path: Path) -> Iterator[tuple[paramiko.PKey, str]]:
        question = f"Passphrase for the key {path}: "
        try:
            for passphrase in self._secrets.attempts(question):
                try:
                    keys = list(self._loaded(path, passphrase))
                except (ValueError, TypeError):  # TypeError: an empty answer
                    continue
                self._secrets.known[question] = passphrase
                yield from keys
                return
        except LeptonError as error:  # nobody can be asked: another way in may remain
            self._tried.append(f"{path} (locked by a passphrase: {error.message})")
            return
        self._tried.append(f"{path} (wrong passphrase, {TRIES} times)")

    # passwords

    def _password(self, link: Link) -> bool:
        user = self._config.user
        question = f"Password for {user}@{self._config.alias}: "
        try:
            for password in self._secrets.attempts(question, self._tries):
                method = partial(link.transport.auth_password, user, password, fallback=False)
                if self._attempt(link, "password", method):
                    self._secrets.known[question] = password
                    return True
                if "password" not in self._accepts:
                    return False
                self._tries -= 1
        except LeptonError as error:
            self._tried.append(f"password ({error.message})")
        return False

    def _interactive(self, link: Link) -> bool:
        """Questions that the host words itself. Only answers to "Password:" are remembered: codes work once."""
        user = self._config.user
        asked: dict[str, str] = {}

        def answer(text: str, echo: bool) -> str:
            question = f"{user}@{self._config.alias}: {text.strip() or 'answer'} "
            known = self._secrets.known.pop(question, None)
            asked[question] = self._secrets.prompt(question, not echo) if known is None else known
            return asked[question]

        try:
            while self._tries:
                asked.clear()
                if self._attempt(link, "keyboard-interactive", lambda: _converse(link, user, answer)):
                    self._secrets.known.update({q: text for q, text in asked.items() if "password" in q.lower()})
                    return True
                if "keyboard-interactive" not in self._accepts or not asked:
                    return False
                self._tries -= 1
        except LeptonError as error:
            self._tried.append(f"keyboard-interactive ({error.message})")
            self._tries = 0
        return False


def _converse(link: Link, user: str, answer: Callable[[str, bool], str]) -> list[str]:
    """Keyboard-interactive login with `answer` called in this thread: a notebook can only be asked from its own."""
    asked: queue.SimpleQueue[Any] = queue.SimpleQueue()
    replies: queue.SimpleQueue[list[str]] = queue.SimpleQueue()

    def handler(title: str, instructions: str, fields: list[tuple[str, bool]]) -> list[str]:
        asked.put(list(fields))
        return replies.get()

    def run() -> None:
        try:
            asked.put((link.transport.auth_interactive(user, handler), None))
        except Exception as error:  # noqa: BLE001 - raised again in the thread that waits
            asked.put(([], error))

    link.transport.auth_timeout = 3600  # a person types
    threading.Thread(target=run, name="keyboard-interactive", daemon=True).start()
    while True:
        item = asked.get()
        if isinstance(item, tuple):
            more, error = item
            if error is not None:
                raise error
            return cast("list[str]", more)
        try:
            replies.put([answer(text, echo) for text, echo in item])
        except BaseException:
            replies.put([""] * len(item))  # lets paramiko's thread go on
            raise
