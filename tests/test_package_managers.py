"""What package managers have installed, read from databases as they are, and the commands for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from simdinstall.errors import TargetError
from simdinstall.ownership import Package, apk_owner
from simdinstall.package_managers import (
    COMPILER,
    INSTALL,
    compiler_command,
    conflicts,
    elevated,
    installed,
    lists_command,
)
from simdinstall.run import Completed

DPKG = """\
Package: libjpeg62-turbo
Status: install ok installed
Version: 1:2.1.5-2

Package: libjpeg9
Status: deinstall ok config-files
Version: 1:9e-1

Package: libtiff-dev
Status: install ok installed
Version: 4.4.0-1

Package: libtiff6
Status: install ok installed
Version: 4.5.0-6+deb12u1

Package: zsh
Status: install ok installed
Version: 5.9
"""
APK = """\
C:Q1abc=
P:py3-pillow
V:11.1.0-r0
F:usr/lib/python3.12/site-packages/PIL
R:Image.py
Z:Q1x=
R:_version.py
F:usr/lib/python3.12/site-packages/PIL/other
R:Nested.py

P:libjpeg-turbo
V:3.0.4-r0
F:usr/lib
R:libjpeg.so.8
"""


def silent(*_: object, **__: object) -> Completed:
    raise AssertionError("nothing should be run")


def lay(root: Path, name: str, text: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_dpkg(tmp_path: Path) -> None:
    lay(tmp_path, "var/lib/dpkg/status", DPKG)
    found = installed("apt", run=silent, root=tmp_path)
    assert found == {
        "libjpeg62-turbo": "1:2.1.5-2",
        "libtiff-dev": "4.4.0-1",
        "libtiff6": "4.5.0-6+deb12u1",
    }
    (conflict,) = conflicts("apt", found)
    assert "libtiff-dev" in conflict.what
    assert conflict.command == "apt-get install -y --no-install-recommends libtiff-dev=4.5.0-6+deb12u1"


def test_apk_owns_a_file(tmp_path: Path) -> None:
    database = lay(tmp_path, "installed", APK)
    site = Path("/usr/lib/python3.12/site-packages/PIL")
    assert apk_owner(site / "Image.py", database=database) == Package(manager="apk", name="py3-pillow")
    assert apk_owner(site / "Nested.py", database=database) is None
    assert apk_owner(site / "Other.py", database=database) is None
    assert apk_owner(site / "Image.py", database=tmp_path / "none") is None
    lay(tmp_path, "lib/apk/db/installed", APK)
    assert installed("apk", run=silent, root=tmp_path) == {"libjpeg-turbo": "3.0.4-r0"}


def test_pacman(tmp_path: Path) -> None:
    for entry in ("libjpeg-turbo-3.0.4-1", "libtiff-4.7.0-1", "zsh-5.9-5"):
        (tmp_path / "var/lib/pacman/local" / entry).mkdir(parents=True)
    found = installed("pacman", run=silent, root=tmp_path)
    assert found == {"libjpeg-turbo": "3.0.4-1", "libtiff": "4.7.0-1"}
    assert conflicts("pacman", found) == ()


def test_rpm_is_asked() -> None:
    said = "libjpeg-turbo 3.0.2-1.fc40\nlibjpeg-turbo-devel 2.1.0-1.fc40\nbash 5.2-1\n"

    def run(argv: object, **_: object) -> Completed:
        return Completed(argv=("rpm",), returncode=0, stdout=said, stderr="", cpu_seconds=0.0)

    found = installed("dnf", run=run, which=lambda name: name)
    assert set(found) == {"libjpeg-turbo", "libjpeg-turbo-devel"}
    (conflict,) = conflicts("zypper", found)
    assert conflict.command == "zypper --non-interactive install libjpeg-turbo-devel"


def test_two_jpeg_libraries() -> None:
    (conflict,) = conflicts("apt", {"libjpeg62-turbo": "1:2.1.5-2", "libjpeg9": "1:9e-1"})
    assert conflict.command == "apt-get remove libjpeg9"
    assert conflicts("apt", {"libjpeg62-turbo": "1:2.1.5-2", "libjpeg62-turbo-dev": "1:2.1.5-2"}) == ()
    assert conflicts(None, {"libjpeg62-turbo": "1", "libjpeg9": "9"}) == ()


def test_commands() -> None:
    assert compiler_command("apt") == (*INSTALL["apt"], "gcc", "libc6-dev")
    assert compiler_command(None) == compiler_command("emerge") == ()
    assert COMPILER.keys() == INSTALL.keys()


def test_lists_of_packages_are_fetched_where_there_are_none(tmp_path: Path) -> None:
    assert lists_command("apt-get", root=tmp_path) == ("apt-get", "update")
    lay(tmp_path, "var/lib/apt/lists/deb.debian.org_debian_dists_trixie_main_binary-amd64_Packages", "")
    assert lists_command("apt-get", root=tmp_path) == lists_command("dnf", root=tmp_path) == ()


def test_sudo_only_where_it_is_needed() -> None:
    command = ("apk", "add", "gcc")
    assert elevated(command, uid=0, which=lambda name: name) == command
    assert elevated(command, uid=7, which=lambda name: name) == ("sudo", *command)
    with pytest.raises(TargetError, match="no sudo") as caught:
        elevated(command, uid=7, which=lambda name: name if name == "apk" else None)
    assert caught.value.hint == "as root: apk add gcc"
    with pytest.raises(TargetError, match="no apk here"):
        elevated(command, uid=0, which=lambda name: None)
