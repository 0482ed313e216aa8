"""headers.py: found where compilers look, never mixed, or fetched without installing anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from simdinstall import headers
from simdinstall.errors import BuildError
from simdinstall.headers import CORE, INSTALL_COMMANDS
from simdinstall.run import CommandFailed, Completed


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"/* {folder} */")


def done(argv: object, *, status: int = 0, stdout: str = "", stderr: str = "") -> Completed:
    words = tuple(str(word) for word in argv)  # type: ignore[attr-defined]
    return Completed(argv=words, returncode=status, stdout=stdout, stderr=stderr, cpu_seconds=0.0)


def test_every_library_names_a_package_for_every_manager() -> None:
    for needed in CORE.values():
        assert set(needed.packages) == set(INSTALL_COMMANDS), needed.library


def test_headers_are_collected_from_the_multiarch_folder_too(tmp_path: Path) -> None:
    include = tmp_path / "usr" / "include"
    put(include, "jpeglib.h", "jmorecfg.h", "jerror.h", "xcb/xcb.h", "openjpeg-2.5/openjpeg.h")
    put(include / "x86_64-linux-gnu", "jconfig.h")
    put(include / "openjpeg-2.5", "opj_config.h")
    found = tmp_path / "found"
    folders = headers.search_folders(tmp_path, environ={})
    lacking = headers.collect(CORE.values(), folders, found)
    assert {needed.library for needed in lacking} == {"tiff", "z", "xcb"}
    names = {path.relative_to(found).as_posix() for path in found.rglob("*.h")}
    assert names == {"jpeglib.h", "jmorecfg.h", "jerror.h", "jconfig.h", "openjpeg.h", "opj_config.h"}


def test_headers_for_one_size_of_words_are_collected_with_those_that_include_them(tmp_path: Path) -> None:
    put(tmp_path / "usr/include", "jpeglib.h", "jmorecfg.h", "jerror.h", "jconfig.h", "jconfig-64.h")
    put(tmp_path / "usr/include", "tiff-64.h")
    found = tmp_path / "found"
    assert not headers.collect([CORE["jpeg"]], headers.search_folders(tmp_path, environ={}), found)
    assert (found / "jconfig-64.h").is_file()
    assert not (found / "tiff-64.h").exists()


def test_headers_of_two_versions_are_not_mixed(tmp_path: Path) -> None:
    put(tmp_path / "usr/local/include", "zlib.h")
    put(tmp_path / "usr/include", "zlib.h", "zconf.h")
    found = tmp_path / "found"
    headers.collect([CORE["z"]], headers.search_folders(tmp_path, environ={}), found)
    assert "local" not in (found / "zlib.h").read_text()
    put(tmp_path / "mine", "zlib.h", "zconf.h")
    folders = headers.search_folders(tmp_path, environ={"CPATH": str(tmp_path / "mine")})
    headers.collect([CORE["z"]], folders, found)
    assert "mine" in (found / "zconf.h").read_text()


def test_the_digest_sees_content_and_names(tmp_path: Path) -> None:
    put(tmp_path / "a", "zlib.h")
    first = headers.digest(tmp_path / "a")
    (tmp_path / "a" / "zlib.h").rename(tmp_path / "a" / "other.h")
    second = headers.digest(tmp_path / "a")
    (tmp_path / "a" / "other.h").write_text("changed")
    assert len({first, second, headers.digest(tmp_path / "a")}) == 3


def test_apt_updates_private_lists_when_the_systems_are_missing(tmp_path: Path) -> None:
    calls: list[list[str]] = []

    def run(argv: object, *, cwd: Path | None = None, **_: object) -> Completed:
        words = [str(word) for word in argv]  # type: ignore[attr-defined]
        calls.append(words)
        if words[0] == "apt-cache":
            return done(words, stdout="Candidate: 1" if words[-1] == "libjpeg-turbo8-dev" else "")
        if words[:2] == ["apt-get", "download"]:
            raise CommandFailed(done(words, status=100, stderr="E: Unable to locate package"))
        if "download" in words:
            assert cwd is not None
            (cwd / "libjpeg-turbo8-dev_1_amd64.deb").write_bytes(b"")
        return done(words)

    root = headers.download(["libjpeg-dev"], "apt", tmp_path / "w", run=run)
    assert root.is_dir()
    update, fetch, unpack = calls[-3:]
    assert "update" in update
    assert any(word.startswith("Dir::State::lists=") for word in update)
    assert "libjpeg-turbo8-dev" in fetch
    assert unpack[:2] == ["dpkg-deb", "--extract"]
    assert not any("install" in word or "sudo" in word for call in calls for word in call)


def test_what_cannot_be_downloaded_names_the_command(tmp_path: Path) -> None:
    def run(argv: object, **_: object) -> Completed:
        raise CommandFailed(done(argv, status=1, stderr="no network"))

    with pytest.raises(BuildError) as refusal:
        headers.download(["libtiff-dev"], "apt", tmp_path / "w", run=run)
    assert "no network" in refusal.value.why
    assert "apt-get install libtiff-dev" in refusal.value.hint
    with pytest.raises(BuildError) as refusal:
        headers.download(["libtiff"], "pacman", tmp_path / "p", run=run)
    assert "pacman -S libtiff" in refusal.value.hint


def test_a_manager_that_is_not_known_gets_plain_words() -> None:
    assert headers.manager_of("dpkg") == "apt"
    assert headers.manager_of("portage") is None
    assert "development packages" in headers.missing_error(["tiff.h"], None).hint
