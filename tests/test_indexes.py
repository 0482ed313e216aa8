"""The configuration of pip and uv is read as they read it: files and variables, really there."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from simdinstall.indexes import PYPI, Indexes, read, redact
from simdinstall.run import run


class Machine:
    """A home, an /etc and a current directory of their own."""

    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self.etc = root / "etc"
        self.here = root / "work/project"
        self.prefix = root / "venv"
        for path in (self.home, self.etc, self.here, self.prefix):
            path.mkdir(parents=True)

    def write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def read(self, **environ: str) -> Indexes:
        return read(
            {"HOME": str(self.home), **environ},
            prefixes=[self.prefix],
            directory=self.here,
            etc=self.etc,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_nothing_configured(machine: Machine) -> None:
    assert machine.read() == Indexes()
    assert Indexes().index_urls == (PYPI,)


# --- pip ---


def test_pip_variables(machine: Machine) -> None:
    found = machine.read(
        PIP_INDEX_URL="https://a/simple",
        PIP_EXTRA_INDEX_URL="https://b/simple\n  https://c/simple",
        PIP_FIND_LINKS="/opt/wheels https://d/links.html",
        PIP_CERT="/ca.pem",
        PIP_CLIENT_CERT="/me.pem",
        PIP_PROXY="http://proxy:3128",
        PIP_TRUSTED_HOST="a b:8080",
        PIP_DEFAULT_TIMEOUT="180",
        PIP_RETRIES="2",
        NO_PROXY="localhost, .example.org",
    )
    assert found.index_urls == ("https://a/simple", "https://b/simple", "https://c/simple")
    assert found.find_links == ("file:///opt/wheels", "https://d/links.html")
    assert (found.cert, found.client_cert) == (Path("/ca.pem"), Path("/me.pem"))
    assert found.proxy == "http://proxy:3128"
    assert found.trusted_hosts == ("a", "b:8080")
    assert (found.timeout, found.retries) == (180.0, 2)
    assert found.no_proxy == ("localhost", ".example.org")


def test_pip_no_index(machine: Machine) -> None:
    for text in ("1", "true", "yes"):
        found = machine.read(PIP_NO_INDEX=text, PIP_FIND_LINKS="/w", PIP_EXTRA_INDEX_URL="https://b/simple")
        assert (found.index_urls, found.find_links) == ((), ("file:///w",))
    assert machine.read(PIP_NO_INDEX="0").index_urls == (PYPI,)


def test_pip_files_and_their_order(machine: Machine) -> None:
    def says(host: str, section: str = "global") -> str:
        return f"[{section}]\nindex-url = https://{host}/simple\n"

    places = [
        machine.etc / "xdg/pip/pip.conf",
        machine.etc / "pip.conf",
        machine.home / ".pip/pip.conf",
        machine.home / ".config/pip/pip.conf",
        machine.prefix / "pip.conf",
    ]
    for number, place in enumerate(places):
        machine.write(place, says(f"h{number}"))
        assert machine.read().index_urls == (f"https://h{number}/simple",)
    machine.write(places[0], says("section", "install"))
    assert machine.read().index_urls == ("https://section/simple",)
    assert machine.read(PIP_INDEX_URL="https://var/simple").index_urls == ("https://var/simple",)
    # An empty variable says nothing.
    assert machine.read(PIP_INDEX_URL="").index_urls == ("https://section/simple",)


def test_pip_config_file(machine: Machine, tmp_path: Path) -> None:
    machine.write(machine.etc / "pip.conf", "[global]\nindex-url = https://etc/simple\n")
    machine.write(machine.home / ".config/pip/pip.conf", "[global]\nextra-index-url = https://user/simple\n")
    own = tmp_path / "own.conf"
    machine.write(own, "[global]\nfind-links =\n    wheels\n    /opt/wheels\n")
    found = machine.read(PIP_CONFIG_FILE=str(own))
    assert found.index_urls == ("https://etc/simple",)  # the user's file is left out
    assert found.find_links == ((machine.here / "wheels").as_uri(), "file:///opt/wheels")
    assert machine.read(PIP_CONFIG_FILE=os.devnull) == Indexes()


def test_pip_file_that_cannot_be_read(machine: Machine) -> None:
    machine.write(machine.etc / "pip.conf", "no section\n")
    machine.write(machine.home / ".config/pip/pip.conf", "[global]\ntimeout = soon\n")
    found = machine.read()
    assert found.index_urls == (PYPI,)
    assert found.timeout == 15.0
    assert any("pip.conf is not used" in note for note in found.notes)
    assert any("'soon'" in note for note in found.notes)


@pytest.mark.parametrize(
    ("files", "environ"),
    [
        ({"etc": "[global]\nfind-links = /a\nindex-url = https://x/simple\n"}, {}),
        ({"etc": "[global]\nfind-links = /a\n", "user": "[global]\nfind-links = /b\n"}, {}),
        ({"user": "[install]\nindex_url = https://u/simple\n[global]\nindex-url=https://g/simple"}, {}),
        (
            {"user": "[global]\nextra-index-url = https://u/simple\n"},
            {"PIP_EXTRA_INDEX_URL": "https://e/simple"},
        ),
        ({"user": "[global]\ntrusted-host = a\n"}, {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/z"}),
    ],
)
def test_pip_itself_agrees(
    files: dict[str, str], environ: dict[str, str], machine: Machine, tmp_path: Path
) -> None:
    """Run the real pip with the same files, and compare what it lists."""
    places = {"etc": machine.etc / "xdg/pip/pip.conf", "user": machine.home / ".config/pip/pip.conf"}
    for place, text in files.items():
        machine.write(places[place], text)
    all_of_it = {**environ, "XDG_CONFIG_DIRS": str(machine.etc / "xdg"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    listed = run(
        [sys.executable, "-m", "pip", "config", "list"],
        env={"HOME": str(machine.home), "PATH": os.environ["PATH"], **all_of_it},
    ).stdout
    options: dict[str, str] = {}
    for section in ("global", "install", ":env:"):
        for line in listed.splitlines():
            name, _, value = line.partition("=")
            if name.startswith(f"{section}."):
                options[name.removeprefix(f"{section}.")] = value.strip("'\"")
    # With the real /etc, because the machine's own pip.conf cannot be hidden from pip.
    found = read({"HOME": str(machine.home), **all_of_it}, directory=machine.here)
    urls = [options.get("index-url", PYPI), *options.get("extra-index-url", "").replace("\\n", " ").split()]
    assert found.index_urls == (() if options.get("no-index") else tuple(urls))
    assert found.find_links == tuple(
        link if "://" in link else Path(link).as_uri()
        for link in options.get("find-links", "").replace("\\n", " ").split()
    )
    assert found.trusted_hosts == tuple(options.get("trusted-host", "").split())


# --- uv ---


def test_uv_variables(machine: Machine) -> None:
    found = machine.read(
        UV_DEFAULT_INDEX="https://a/simple",
        UV_INDEX="corp=https://b/simple https://c/simple",
        UV_EXTRA_INDEX_URL="https://d/simple",
        UV_FIND_LINKS="/w,https://e/links",
        UV_INSECURE_HOST="h",
        UV_HTTP_TIMEOUT="99",
        UV_INDEX_CORP_USERNAME="me@x",
        UV_INDEX_CORP_PASSWORD="p:w/d",
    )
    assert found.index_urls == (
        "https://a/simple",
        "https://me%40x:p%3Aw%2Fd@b/simple",
        "https://c/simple",
        "https://d/simple",
    )
    assert found.find_links == ("file:///w", "https://e/links")
    assert found.trusted_hosts == ("h",)
    assert found.timeout == 99.0
    assert machine.read(UV_INDEX_URL="https://old/simple").index_urls == ("https://old/simple",)
    assert machine.read(UV_NO_INDEX="1").index_urls == ()


UV = """
find-links = ["links", "https://f/links"]
[[index]]
name = "corp"
url = "https://corp/simple"
[[index]]
name = "pinned-only"
url = "https://explicit/simple"
explicit = true
[[index]]
name = "flat"
url = "../flat"
format = "flat"
[[index]]
name = "main"
url = "https://main/simple"
default = true
"""


def test_uv_file(machine: Machine) -> None:
    machine.write(machine.here / "uv.toml", UV)
    found = machine.read()
    assert found.index_urls == ("https://main/simple", "https://corp/simple")
    assert set(found.find_links) == {
        (machine.here / "links").as_uri(),
        "https://f/links",
        (machine.here / "../flat").absolute().as_uri(),
    }
    assert machine.read(UV_NO_CONFIG="1") == Indexes()
    assert machine.read(UV_DEFAULT_INDEX="https://var/simple").index_urls == (
        "https://var/simple",
        "https://corp/simple",
    )


def test_uv_project_is_looked_for_upwards(machine: Machine) -> None:
    table = UV.replace("find-links", "[tool.uv]\nfind-links").replace("[[index]]", "[[tool.uv.index]]")
    machine.write(machine.here.parent / "pyproject.toml", table)
    assert machine.read().index_urls == ("https://main/simple", "https://corp/simple")
    # uv.toml beside a pyproject.toml silences it.
    machine.write(machine.here.parent / "uv.toml", "")
    assert machine.read() == Indexes()


def test_uv_user_and_system_files(machine: Machine, tmp_path: Path) -> None:
    machine.write(machine.etc / "uv/uv.toml", 'index-url = "https://system/simple"')
    assert machine.read().index_urls == ("https://system/simple",)
    machine.write(
        machine.home / ".config/uv/uv.toml",
        'index-url = "https://user/simple"\n[pip]\nextra-index-url = ["https://more/simple"]',
    )
    assert machine.read().index_urls == ("https://user/simple", "https://more/simple")
    own = tmp_path / "own.toml"
    machine.write(own, 'no-index = true\nfind-links = ["/w"]')
    found = machine.read(UV_CONFIG_FILE=str(own))
    assert (found.index_urls, found.find_links) == ((), ("file:///w",))


@pytest.mark.parametrize("text", ["not toml", "index = 3", 'index = ["x"]', "[index]\nurl = 1", "pip = 1"])
def test_uv_file_that_makes_no_sense(text: str, machine: Machine) -> None:
    machine.write(machine.here / "uv.toml", text)
    found = machine.read()
    assert found.index_urls == (PYPI,)
    assert any("uv.toml is not used" in note for note in found.notes) == (text == "not toml")


def test_pip_and_uv_together(machine: Machine) -> None:
    found = machine.read(
        PIP_INDEX_URL="https://a/simple",
        PIP_EXTRA_INDEX_URL="https://x/simple",
        UV_DEFAULT_INDEX="https://b/simple",
        UV_INDEX="https://x/simple",
    )
    assert found.index_urls == ("https://a/simple", "https://b/simple", "https://x/simple")


# --- credentials ---


def test_credentials_are_not_shown() -> None:
    secret = "https://me:hunter2@host:8443/simple#sha256=x"
    assert redact(secret) == "https://host:8443/simple"
    assert redact("https://host/p") == "https://host/p"
    assert "hunter2" not in redact("https://me:hunter2@[broken/")
    shown = repr(Indexes(index_urls=(secret,), find_links=(secret,), proxy="http://me:hunter2@proxy:1"))
    assert "hunter2" not in shown
    assert "host:8443" in shown
