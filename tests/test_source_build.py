from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from simdinstall import pipeline, source_build, system_libs
from simdinstall.cpu import March
from simdinstall.environment import Environment
from simdinstall.errors import BuildError, FetchError, NoSpaceError, TargetError, UsageError
from simdinstall.fetch import Download, Fetcher
from simdinstall.plan import Request
from simdinstall.run import CommandFailed, Completed
from simdinstall.store import Store
from simdinstall.system_libs import FEATURES
from simdinstall.toolchain import Toolchain

TARGET = cast(
    "Environment",
    SimpleNamespace(python=Path("/py/bin/python"), version=(3, 11, 2), release="3.11.2", tags=("any",)),
)


def sdist(folder: Path, pyproject: str) -> Download:
    path = folder / "pillow-13.0.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("pillow-13.0.0/pyproject.toml")
        member.size = len(pyproject)
        archive.addfile(member, io.BytesIO(pyproject.encode()))
    return Download(name="pillow", version="13.0.0", filename=path.name, url="", sha256="0" * 64, path=path)


class Index:
    """A fetcher that has setuptools 76 to 78 and one pybind11."""

    def versions(self, project: str) -> tuple[str, ...]:
        return {"setuptools": ("78.0", "77.0", "76.0"), "pybind11": ("3.0",)}.get(project, ())

    def wheel(self, project: str, version: str, tags: Any, *, python: str) -> Download:
        filename = f"{project}-{version}-py3-none-any.whl"
        return Download(
            name=project, version=version, filename=filename, url="", sha256="1" * 64, path=Path(filename)
        )


def needs(folder: Path, *lines: str) -> list[str]:
    text = f"[build-system]\nrequires = {json.dumps(lines)}\n"
    found = source_build._build_requirements(sdist(folder, text), TARGET, cast("Fetcher", Index()))
    return [f"{item.name} {item.version}" for item in found]


def test_what_the_build_needs_is_fetched_beforehand(tmp_path: Path) -> None:
    assert needs(tmp_path, "setuptools>=77", "pybind11") == ["setuptools 78.0", "pybind11 3.0"]
    assert needs(tmp_path, "setuptools<77") == ["setuptools 76.0"]
    assert needs(tmp_path, "tomli; python_version<'3.11'") == []


def test_what_cannot_be_had_is_said(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="meson"):
        needs(tmp_path, "meson")


@pytest.mark.parametrize("text", ["", "[build-system]\n", '[build-system]\nrequires = ["a=="]\n', "["])
def test_an_unknown_build_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(BuildError, match="cannot be compiled here"):
        source_build._build_requirements(sdist(tmp_path, text), TARGET, cast("Fetcher", Index()))


def test_each_feature_is_required_or_forbidden(tmp_path: Path) -> None:
    (tmp_path / "usr/include").mkdir(parents=True)
    (tmp_path / "usr/include/raqm.h").touch()
    (tmp_path / "usr/lib").mkdir()
    (tmp_path / "usr/lib/libraqm.so").touch()
    settings = source_build._settings(system_libs.wanted(["avif"]), tmp_path)
    assert settings[::2] == ["--config-settings"] * (len(FEATURES) + 1)
    assert "raqm=vendor" not in settings
    assert "avif=disable" in settings
    assert "imagequant=disable" in settings
    assert {"zlib=enable", "webp=enable"} < set(settings)


def test_pillows_own_raqm_is_asked_for_where_the_system_has_none(tmp_path: Path) -> None:
    assert {"raqm=enable", "raqm=vendor"} < set(source_build._settings(FEATURES, tmp_path))
    assert "raqm=vendor" not in source_build._settings(system_libs.wanted(["raqm"]), tmp_path)


def test_zig_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="zig"):
        source_build.build(
            sdist(tmp_path, ""),
            features=FEATURES,
            march=cast("March", None),
            toolchain=cast("Toolchain", SimpleNamespace(kind="zig")),
            target=TARGET,
            user_flags=(),
            fetcher=cast("Fetcher", Index()),
            store=Store(tmp_path),
        )


@pytest.mark.parametrize(
    ("said", "error"), [("cc1: No space left on device", NoSpaceError), ("error: x", BuildError)]
)
def test_a_build_that_fails_says_why(tmp_path: Path, said: str, error: type[Exception]) -> None:
    def fail(argv: Any, **options: Any) -> Completed:
        raise CommandFailed(Completed(argv=("pip",), returncode=1, stdout=said, stderr="", cpu_seconds=0))

    with pytest.raises(error):
        source_build._compile(
            sdist(tmp_path, ""),
            settings=[],
            environ={},
            links=tmp_path,
            target=TARGET,
            into=tmp_path / "out",
            log=tmp_path / "logs" / "x.log",
            run=fail,
        )


def test_pip_gets_no_index_and_no_settings_of_the_user(tmp_path: Path) -> None:
    seen: list[Any] = []

    def note(argv: Any, **options: Any) -> Completed:
        seen.append((argv, options["env"]))
        return Completed(argv=(), returncode=0, stdout="", stderr="", cpu_seconds=0)

    source_build._compile(
        sdist(tmp_path, ""),
        settings=["--config-settings", "jpeg=enable"],
        environ={"PIP_INDEX_URL": "x", "CC": "gcc"},
        links=tmp_path,
        target=TARGET,
        into=tmp_path / "out",
        log=tmp_path / "logs" / "x.log",
        run=note,
    )
    [(argv, environ)] = seen
    assert "--no-index" in argv
    assert argv[argv.index("--python") + 1] == "/py/bin/python"
    assert environ == {"CC": "gcc"}


def test_a_target_that_does_not_answer_is_named() -> None:
    def nonsense(argv: Any, **options: Any) -> Completed:
        return Completed(argv=(), returncode=0, stdout="no json", stderr="", cpu_seconds=0)

    with pytest.raises(TargetError, match="headers"):
        source_build.includes(TARGET, nonsense)


@pytest.mark.parametrize(
    ("request_", "word"),
    [
        (Request(libs="system"), "--libs system"),
        (Request(machine="aarch64"), "--target"),
        (Request(machine="aarch64", rebuild=True, libs="system"), "--target"),
        (Request(verify_with=Path("python")), "--verify-with"),
        (Request(rebuild=True, without=("avif",)), "--without"),
        (Request(rebuild=True, libs="system", without=("png",)), "png"),
    ],
)
def test_options_that_do_not_go_together(request_: Request, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        pipeline._require_consistent(request_)
