"""A package index on 127.0.0.1 that can misbehave in every way that matters."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class File:
    """One file of a project. ``hashes`` None: its sha256; a dict: these, even if wrong."""

    name: str
    content: bytes
    hashes: dict[str, str] | None = None
    yanked: str | None = None
    requires_python: str | None = None
    url: str | None = None

    def shown_hashes(self) -> dict[str, str]:
        if self.hashes is not None:
            return self.hashes
        return {"sha256": hashlib.sha256(self.content).hexdigest()}


@dataclass
class Index:
    """What the server serves, and what it was asked."""

    projects: dict[str, list[File]] = field(default_factory=dict)
    #: "html" or "json", whatever the client prefers: some indexes are like that.
    style: str = "json"
    etag: bool = True
    ranges: bool = True
    user: tuple[str, str] | None = None
    #: Per path: what the next requests get instead, one after the other.
    faults: dict[str, list[str]] = field(default_factory=dict)
    #: Per path, or "*": always this.
    always: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/simple/"

    def with_credentials(self, user: str, password: str) -> str:
        return f"http://{user}:{password}@127.0.0.1:{self.port}/simple/"

    def asked(self, prefix: str = "/") -> list[str]:
        return [path for _, path, _ in self.requests if path.startswith(prefix)]

    def headers_of(self, prefix: str) -> list[dict[str, str]]:
        return [headers for _, path, headers in self.requests if path.startswith(prefix)]

    def page(self, project: str) -> tuple[bytes, str]:
        files = self.projects[project]
        if self.style == "json":
            data: dict[str, Any] = {"meta": {"api-version": "1.1"}, "name": project, "files": []}
            for file in files:
                data["files"].append(
                    {
                        "filename": file.name,
                        "url": file.url or f"../../files/{file.name}",
                        "hashes": file.shown_hashes(),
                        "requires-python": file.requires_python,
                        "yanked": file.yanked if file.yanked else False,
                    }
                )
            return json.dumps(data).encode(), "application/vnd.pypi.simple.v1+json"
        lines = ["<!DOCTYPE html><html><body>"]
        for file in files:
            shown = file.shown_hashes()
            fragment = "".join(f"#{name}={value}" for name, value in list(shown.items())[:1])
            extra = f' data-yanked="{file.yanked}"' if file.yanked is not None else ""
            if file.requires_python:
                extra += f' data-requires-python="{file.requires_python.replace(">", "&gt;")}"'
            lines.append(
                f'<a href="{file.url or f"../../files/{file.name}"}{fragment}"{extra}>{file.name}</a><br>'
            )
        return "\n".join([*lines, "</body></html>"]).encode(), "text/html"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None: ...

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        index = self.server.index
        path = self.path
        index.requests.append((self.command, path, dict(self.headers.items())))
        if path.startswith("http://"):  # as a proxy is asked
            path = "/" + path.split("/", 3)[3]
        queue = index.faults.get(path, [])
        fault = queue.pop(0) if queue else index.always.get(path, index.always.get("*", ""))
        if (
            index.user
            and self.headers.get("Authorization")
            != "Basic " + base64.b64encode(":".join(index.user).encode()).decode()
        ):
            self.answer(401, b"who are you?", {"WWW-Authenticate": 'Basic realm="index"'})
        elif fault.isdigit():
            self.answer(int(fault), b"trouble", {"Retry-After": "0"})
        elif fault.startswith("redirect "):
            self.answer(302, b"", {"Location": fault.removeprefix("redirect ")})
        elif fault == "login":
            self.answer(200, b"please log in", {"Content-Type": "text/plain"})
        elif fault == "garbage":
            self.answer(200, b"{not json", {"Content-Type": "application/vnd.pypi.simple.v1+json"})
        elif fault == "hang up":
            self.close_connection = True
        elif path.startswith("/simple/"):
            self.simple(index, path)
        elif path.startswith("/files/"):
            self.file(index, path.removeprefix("/files/"), fault)
        else:
            self.answer(404, b"not here")

    def simple(self, index: Index, path: str) -> None:
        project = path.split("/")[2]
        if project not in index.projects:
            self.answer(404, b"no such project")
            return
        body, kind = index.page(project)
        headers = {"Content-Type": kind}
        if index.etag:
            headers["ETag"] = f'"{hashlib.md5(body).hexdigest()}"'
            if self.headers.get("If-None-Match") == headers["ETag"]:
                self.answer(304, b"", {"ETag": headers["ETag"]})
                return
        self.answer(200, body, headers)

    def file(self, index: Index, name: str, fault: str) -> None:
        found = [f for files in index.projects.values() for f in files if f.name == name]
        if not found:
            self.answer(404, b"no such file")
            return
        body = found[0].content
        headers = {"Content-Type": "application/octet-stream"}
        if index.etag:
            headers["ETag"] = f'"{hashlib.md5(body).hexdigest()}"'
        if fault == "altered":
            body = bytes([body[0] ^ 1]) + body[1:]
        status, start = 200, 0
        wanted = self.headers.get("Range", "")
        fresh = self.headers.get("If-Range", headers.get("ETag", "")) == headers.get("ETag", "")
        if index.ranges and fresh and wanted.startswith("bytes="):
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(body):
                self.answer(416, b"", {"Content-Range": f"bytes */{len(body)}"})
                return
            status = 206
            shown = start - 1 if fault == "wrong range" else start
            headers["Content-Range"] = f"bytes {shown}-{len(body) - 1}/{len(body)}"
        rest = body[start:]
        if fault.startswith("cut "):
            rest = rest[: int(fault.removeprefix("cut "))]
            self.close_connection = True
        elif fault == "endless":
            rest = rest * 100
        length = len(rest) if fault == "endless" else len(body) - start
        self.answer(status, rest, headers, length=length)

    def answer(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, length: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD" and status != 304:
            self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    index: Index

    def handle_error(self, request: Any, client_address: Any) -> None: ...


@contextmanager
def serving(index: Index, tls: ssl.SSLContext | None = None) -> Iterator[Index]:
    """Serve ``index`` until the end of the block."""
    server = _Server(("127.0.0.1", 0), _Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    server.index = index
    index.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
