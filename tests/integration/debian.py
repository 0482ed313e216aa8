"""Whole Debian systems, with the Pillow that dpkg owns, an ordinary user, and simdinstall put beside.

Made by debootstrap, once, in a folder that is kept; every test run works on a copy. Commands run
in namespaces of their own, so that nothing stays mounted whatever happens.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import ssl
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from uv import find_uv_bin

import simdinstall
from simdinstall.run import Completed, run

PACKAGES = "python3,python3-venv,python3-pip,python3-pil,ca-certificates,rpm,pacman-package-manager"
ROOT, NEWCOMER = "0:0", "1000:1000"
HOMES = {ROOT: "/root", NEWCOMER: "/home/newcomer"}

#: Where a Pillow, or a record of one, may be.
WATCHED = ("usr/lib/python3", "usr/lib/python3.*", "usr/local", "home", "root", "var/lib/dpkg")

#: Byte code, our own records, and a database that rpm writes to when it is asked.
UNWATCHED = ("__pycache__", ".simdinstall", ".rpmdb")

CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"

SPEC = """\
%global debug_package %{{nil}}
%global __os_install_post %{{nil}}
Name: python3-pillow
Version: 12.3.0
Release: 1
Summary: Pillow
License: MIT
AutoReqProv: no
%description
Pillow
%install
cp -a /mnt/package/. %{{buildroot}}
%files
/{site}/*
"""

PKGINFO = """\
pkgname = python-pillow
pkgbase = python-pillow
pkgver = 12.3.0-1
pkgdesc = Pillow
arch = any
license = MIT
size = 1
"""
PACMAN = ("--noconfirm", "--nodeps", "--nodeps", "--config", "/mnt/pacman.conf")

ENTER = (
    'mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && root=$1 user=$2 && shift 2'
    ' && exec chroot --userspec="$user" "$root" "$@"'
)


def mirror() -> str:
    """The mirror that this machine uses, if it is a Debian itself."""
    lists = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    text = "\n".join(path.read_text(errors="replace") for path in lists if path.is_file())
    found = re.search(r"https?://\S+/debian/?(?=\s|$)", text)
    return found[0] if found else "http://deb.debian.org/debian"


def make(folder: Path, suite: str) -> Path:
    """A system of a suite: about a minute, the first time."""
    system, mark = folder / suite, folder / f"{suite}.made"
    if not (mark.exists() and mark.read_text() == PACKAGES):
        shutil.rmtree(system, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        words = ("debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite, system, mirror())
        run(words, timeout=900)
        run(["chroot", system, "useradd", "-m", "-u", "1000", "newcomer"])
        mark.write_text(PACKAGES)
    return system


class System:
    """A copy of a system that tests may do anything to."""

    def __init__(self, made: Path, root: Path) -> None:
        self.root = root
        run(["cp", "-a", "--reflink=auto", made, root], timeout=900)
        (self.library,) = (path for path in root.glob("usr/lib/python3.*") if (path / "os.py").exists())
        self.series = self.library.name.removeprefix("python")
        # As pipx would have it: an environment for simdinstall alone.
        self.run("python3", "-m", "venv", "--without-pip", "/opt/simdinstall")
        self._put_simdinstall(root / f"opt/simdinstall/lib/{self.library.name}/site-packages")

    def _put_simdinstall(self, site: Path) -> None:
        needed = [Requirement(text) for text in importlib.metadata.requires("simdinstall") or ()]
        plain = [str(need) for need in needed if need.marker is None]
        words = ("pip", "install", "-q", "--python-version", self.series, "--target", site)
        run([find_uv_bin(), *words, *plain], timeout=900)
        shutil.copytree(
            Path(simdinstall.__file__).parent,
            site / "simdinstall",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        patches = importlib.util.find_spec("simdinstall.patches")
        assert patches is not None
        # In a checkout it lies elsewhere.
        (folder,) = patches.submodule_search_locations or ()
        shutil.copytree(folder, site / "simdinstall" / "patches", dirs_exist_ok=True)

    def connect(self) -> None:
        """Let those inside reach what this machine reaches."""
        for name in ("etc/resolv.conf", "etc/hosts"):
            shutil.copy(Path("/", name), self.root / name)
        own = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
        shutil.copy(os.environ.get("SSL_CERT_FILE", own), self.root / CERTIFICATES[1:])

    def run(self, *words: str, user: str = ROOT, check: bool = True) -> Completed:
        """Run something inside, as root or as the ordinary user."""
        inside = (
            "/usr/bin/env",
            "-i",
            "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            f"HOME={HOMES[user]}",
            "LC_ALL=C.UTF-8",
            "COLUMNS=200",
            f"SSL_CERT_FILE={CERTIFICATES}",
        )
        enter = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, "sh")
        return run([*enter, self.root, user, *inside, *words], timeout=900, check=check)

    def simdinstall(self, *words: str, user: str = ROOT) -> Completed:
        """Run simdinstall inside."""
        return self.run("/opt/simdinstall/bin/python", "-m", "simdinstall", *words, user=user, check=False)

    def pip(self, *words: str, user: str = ROOT) -> Completed:
        """Run the system's pip, as somebody does who will not be told.

        Without --ignore-installed, Debian 13's pip would delete the files of dpkg's Pillow first.
        """
        more = ("--break-system-packages", "--no-index", "--no-deps", "--root-user-action=ignore")
        more += ("--ignore-installed",)
        return self.run("python3", "-m", "pip", "install", "-q", *more, *words, user=user)

    @contextlib.contextmanager
    def packaged(self, manager: str, wheel: Path) -> Iterator[None]:
        """A Pillow for everybody, by another system's package manager, for as long as the block lasts."""
        self._package(manager, wheel)
        try:
            yield
        finally:
            self._remove_package(manager)

    def _package(self, manager: str, wheel: Path) -> None:
        site = f"usr/local/lib/{self.library.name}/dist-packages"
        laid = self.root / "mnt/package"
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(laid / site)
        (info,) = (laid / site).glob("*.dist-info")
        (info / "INSTALLER").write_text(f"{manager}\n")
        if manager == "rpm":
            self.write("pillow.spec", SPEC.format(site=site).encode())
            self.run("rpmbuild", "-bb", "--quiet", "--define", "_topdir /mnt/rpmbuild", "/mnt/pillow.spec")
            (made,) = self.root.glob("mnt/rpmbuild/RPMS/*/*.rpm")
            self.run("rpm", "--install", "--nodeps", f"/{made.relative_to(self.root)}")
        elif manager == "apk":
            # There is no apk in Debian: its database, written as apk does, and the files.
            shutil.copytree(laid, self.root, dirs_exist_ok=True)
            self._apk(laid)
        else:
            made = self.root / "mnt/python-pillow-12.3.0-1-any.pkg.tar.gz"
            (laid / ".PKGINFO").write_text(PKGINFO)
            with tarfile.open(made, "w:gz", compresslevel=1) as archive:
                archive.add(laid / ".PKGINFO", ".PKGINFO")
                archive.add(laid / "usr", "usr")
            self.write("pacman.conf", b"[options]\nArchitecture = auto\nLocalFileSigLevel = Never\n")
            self.run("pacman", *PACMAN, "--upgrade", f"/{made.relative_to(self.root)}")
        shutil.rmtree(laid)

    def _apk(self, laid: Path) -> None:
        lines = [
            "C:Q1hYHyh2dbpJUi1VaQsOiBpkjTVWw=",
            "P:musl",
            "V:1.2.5-r9",
            "F:lib",
            "R:ld-musl-x86_64.so.1",
            "",
        ]
        lines += ["C:Q1pN5mSmYRSxGkRCTuoVWOuvGMpYo=", "P:py3-pillow", "V:12.3.0-r0", "A:x86_64", "L:MIT-CMU"]
        for folder, _, names in os.walk(laid):
            lines.append(f"F:{Path(folder).relative_to(laid)}")
            lines += [text for name in names for text in (f"R:{name}", "Z:Q1lCAFxHh4rrXXP0dP2UuYlzHUbXc=")]
        database = self.root / "lib/apk/db/installed"
        database.parent.mkdir(parents=True)
        database.write_text("\n".join(lines) + "\n\n")

    def _remove_package(self, manager: str) -> None:
        if manager == "rpm":
            self.run("rpm", "--erase", "--nodeps", "python3-pillow")
        elif manager == "apk":
            shutil.rmtree(self.root / "lib/apk")
            for path in self.root.glob(f"usr/local/lib/{self.library.name}/dist-packages/[Pp]*"):
                shutil.rmtree(path)
        else:
            self.run("pacman", *PACMAN, "--remove", "python-pillow")

    def write(self, name: str, data: bytes) -> str:
        """Put a file into /mnt; its path inside."""
        (self.root / "mnt" / name).write_bytes(data)
        return f"/mnt/{name}"

    def snapshot(self) -> dict[str, tuple[int, int, str]]:
        """Owner, mode and hash of every file where a Pillow may be."""
        found = {}
        for top in (path for pattern in WATCHED for path in self.root.glob(pattern)):
            for folder, folders, names in os.walk(top):
                folders[:] = [name for name in folders if name not in UNWATCHED]
                for path in (Path(folder, name) for name in names):
                    status = path.lstat()
                    if stat.S_ISREG(status.st_mode):
                        digest = hashlib.sha256(path.read_bytes()).hexdigest()
                    else:
                        digest = str(path.readlink()) if path.is_symlink() else ""
                    found[str(path)] = (status.st_uid, status.st_mode, digest)
        return found
