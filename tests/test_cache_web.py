from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from simdinstall.cache import web
from simdinstall.errors import FetchError


class Server(ThreadingHTTPServer):
    """Answers what it was told to, in turn, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.asked: list[tuple[str, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server: Any = self.server
        server.asked.append((self.path, dict(self.headers)))
        status, headers, body = server.answers.pop(0)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


def place(url: str, waits: list[float] | None = None, **environ: str) -> web.WebPlace:
    given = {"HOME": "/nonexistent", "PIP_CONFIG_FILE": "/dev/null", "UV_NO_CONFIG": "1"} | environ
    return web.WebPlace(url, environ=given, sleep=(waits if waits is not None else []).append)


def test_what_is_busy_is_asked_again(server: Server) -> None:
    server.answers = [(503, {}, b"later"), (429, {}, b""), (200, {}, b"wheel")]
    waits: list[float] = []
    assert place(server.url, waits).get("wheels/a+b.whl") == b"wheel"
    assert waits == [0.25, 0.5]
    assert [path for path, _ in server.asked] == ["/wheels/a%2Bb.whl"] * 3


def test_what_is_not_there_is_asked_for_once(server: Server) -> None:
    server.answers = [(404, {}, b"")]
    with pytest.raises(FetchError, match=r"catalogue\.json cannot be read") as caught:
        place(server.url).get("catalogue.json")
    assert "404" in caught.value.why


def test_nobody_answers() -> None:
    waits: list[float] = []
    with pytest.raises(FetchError, match="cannot be read from the cache") as caught:
        place("http://127.0.0.1:9/wh", waits).get("catalogue.json")
    assert "refused" in caught.value.why
    assert len(waits) == 1


def test_an_answer_that_is_cut_off(server: Server) -> None:
    server.answers = [(200, {"Content-Length": "10"}, b"half"), (200, {}, b"whole")]
    assert place(server.url).get("catalogue.json") == b"whole"


def test_an_answer_without_end(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "LIMIT", 100)
    server.answers = [(200, {}, bytes(101))]
    with pytest.raises(FetchError) as caught:
        place(server.url).get("catalogue.json")
    assert "more than 100 bytes" in caught.value.why


def test_credentials_go_to_the_server_and_to_nobody_else(server: Server, tmp_path: Path) -> None:
    other = Server()
    thread = threading.Thread(target=other.serve_forever, daemon=True)
    thread.start()
    expected = "Basic " + base64.b64encode(b"me:p@ss").decode()
    try:
        server.answers = [(302, {"Location": f"{other.url}/there"}, b"")] * 2
        other.answers = [(200, {}, b"wheel")] * 2
        given = place(server.url.replace("//", "//me:p%40ss@"))
        assert given.get("a.whl") == b"wheel"
        assert given.address == server.url
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login me password p@ss\n")
        assert place(server.url, NETRC=str(netrc)).get("a.whl") == b"wheel"
        assert [headers.get("Authorization") for _, headers in server.asked] == [expected] * 2
        assert [headers.get("Authorization") for _, headers in other.asked] == [None] * 2
    finally:
        other.shutdown()
        other.server_close()


def test_a_server_cannot_lead_to_a_file(server: Server) -> None:
    server.answers = [(302, {"Location": "file:///etc/passwd"}, b"")]
    with pytest.raises(FetchError):
        place(server.url).get("catalogue.json")


def test_a_configured_proxy_is_used(server: Server) -> None:
    server.answers = [(200, {}, b"by proxy")]
    assert place("http://cache.example/wh", PIP_PROXY=server.url).get("x") == b"by proxy"
    assert server.asked[0][0] == "http://cache.example/wh/x"


def test_certificates_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="cannot be used"):
        place("https://127.0.0.1:9", PIP_CERT=str(tmp_path / "none.pem"))
