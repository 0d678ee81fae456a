"""An HTTP front before an emulator: counts what is asked and sent, cuts answers short, answers by itself when told to.

Runs in the test process. Also gives the ranges that some emulators do not know.
"""

from __future__ import annotations

import http.client
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


@dataclass(frozen=True)
class Request:
    """What was asked, how many bytes of a body were sent for it, and whether it carried credentials."""

    method: str
    path: str
    range: str
    sent: int
    signed: bool


class Front:
    """Forwards to `port`; its own is `self.port`."""

    def __init__(self, port: int) -> None:
        self.requests: list[Request] = []
        self.answer: Callable[[str, str], tuple[int, bytes] | None] = lambda method, path: None
        self.cut: Callable[[str, str], int | None] = lambda method, path: None
        self.before: Callable[[str, str], None] = lambda method, path: None
        self.method: Callable[[str, str], str] = lambda method, path: method
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None:
                pass

            def handle_all(self) -> None:
                front._handle(self, port)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = handle_all  # noqa: N815

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # a client that went away

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def reset(self) -> None:
        """Count from nothing, and only forward."""
        self.requests.clear()
        self.answer = self.cut = lambda method, path: None
        self.before = lambda method, path: None

    def sent(self, part: str = "") -> int:
        """Bytes of bodies sent to clients for paths with `part` in them."""
        return sum(request.sent for request in self.requests if part in request.path)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handle(self, asked: BaseHTTPRequestHandler, port: int) -> None:
        body = _body(asked)
        self.before(asked.command, asked.path)
        own = self.answer(asked.command, asked.path)
        wanted = asked.headers.get("Range") or asked.headers.get("x-ms-range") or ""
        if own is not None:
            status, headers, data = own[0], [("Content-Type", "application/xml")], own[1]
            length = len(data)
        else:
            link = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            link.putrequest(
                self.method(asked.command, asked.path), asked.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in asked.headers.items():
                if name.lower() not in ("connection", "transfer-encoding", "expect"):
                    link.putheader(name, value)
            if "Transfer-Encoding" in asked.headers:
                link.putheader("Content-Length", str(len(body)))
            link.endheaders(body or None)
            reply = link.getresponse()
            data = reply.read()
            status, headers = reply.status, [(k, v) for k, v in reply.getheaders() if k.lower() not in HOP]
            length = int(reply.getheader("Content-Length") or 0) if asked.command == "HEAD" else len(data)
            link.close()
            found = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted)
            if found and status == 200 and asked.command == "GET":
                start, end = int(found[1]), min(int(found[2] or len(data) - 1), len(data) - 1)
                headers.append(("Content-Range", f"bytes {start}-{end}/{len(data)}"))
                status, data = 206, data[start : end + 1]
                length = len(data)
        cut = self.cut(asked.command, asked.path)
        sent = data if cut is None else data[:cut]
        signed = "Authorization" in asked.headers
        self.requests.append(Request(asked.command, asked.path, wanted, len(sent), signed))
        asked.send_response(status)
        for name, value in headers:
            asked.send_header(name, value)
        asked.send_header("Content-Length", str(length))
        asked.end_headers()
        if asked.command != "HEAD":
            asked.wfile.write(sent)
        if cut is not None:
            asked.close_connection = True


def _body(asked: BaseHTTPRequestHandler) -> bytes:
    if asked.headers.get("Transfer-Encoding", "").lower() == "chunked":
        body = b""
        while size := int(asked.rfile.readline().split(b";")[0], 16):
            body += asked.rfile.read(size)
            asked.rfile.readline()
        asked.rfile.readline()
        return body
    return asked.rfile.read(int(asked.headers.get("Content-Length") or 0))


@contextmanager
def served(start: Callable[[int], list[str]], log: Path) -> Iterator[Front]:
    """A front before the server that the command `start(port)` starts, until left."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = start(port)
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=log.parent)
    try:
        for _ in range(600):
            if process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", port), 5).close()
                break
            except OSError:
                time.sleep(0.05)
        else:
            raise TimeoutError(f"{command} does not listen")
        if process.poll() is not None:
            raise RuntimeError(f"{command} ended:\n{log.read_text()}")
        front = Front(port)
        yield front
        front.close()
    finally:
        process.kill()
        process.wait()


def asked(port: int, method: str, path: str, data: bytes = b"", **headers: str) -> bytes:
    """Ask a server on this machine; the body of its answer, which is a success."""
    url, headers = f"http://127.0.0.1:{port}{path}", {"Content-Type": "application/octet-stream", **headers}
    request = urllib.request.Request(url, data if method != "GET" else None, headers, method=method)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as reply:
        return bytes(reply.read())


def program(name: str) -> str:
    """A program of this environment. Raises FileNotFoundError with what installs it."""
    path = Path(sys.executable).parent / name
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: run .ci/azurite")
    return str(path)
