from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from simdinstall import system_libs
from simdinstall.environment import Environment
from simdinstall.errors import BuildError, UsageError
from simdinstall.system_libs import FEATURES, REQUIRED


def target(manager: str | None = "apt", minor: int = 11) -> Environment:
    found = SimpleNamespace(package_manager=manager, version=(3, minor, 2), distro="Debian 12")
    return cast("Environment", found)


def system(root: Path, *, without_header: str = "", without_library: str = "", avif: int = 1) -> Path:
    """A root folder with every header and library, as Debian lays them out."""
    include, libraries = root / "usr/include", root / "usr/lib/x86_64-linux-gnu"
    libraries.mkdir(parents=True)
    for feature in FEATURES:
        folder = include / "openjpeg-2.5" if feature.name == "jpeg2000" else include
        header = folder / feature.header
        header.parent.mkdir(parents=True, exist_ok=True)
        if feature.name != without_header:
            header.write_text(f"#define {feature.macro or 'X'} {avif}\n")
        if feature.name != without_library:
            (libraries / f"lib{feature.library}.so").touch()
    return root


def test_nothing_is_lacking_on_a_complete_system(tmp_path: Path) -> None:
    assert system_libs.lacking(FEATURES, system(tmp_path)) == ()


@pytest.mark.parametrize("name", [feature.name for feature in FEATURES])
def test_a_missing_header_is_named_with_its_feature(tmp_path: Path, name: str) -> None:
    [found] = system_libs.lacking(FEATURES, system(tmp_path, without_header=name))
    assert (found.feature.name, found.problem) == (name, "header")
    assert found.feature.header in str(found)


def test_a_header_without_its_library_is_named(tmp_path: Path) -> None:
    [found] = system_libs.lacking(FEATURES, system(tmp_path, without_library="webp"))
    assert found.problem == "library"
    assert "libwebpmux.so is not" in str(found)


def test_a_library_that_pillow_would_pass_over_is_too_old(tmp_path: Path) -> None:
    [found] = system_libs.lacking(FEATURES, system(tmp_path, avif=0))
    assert (found.feature.name, found.problem) == ("avif", "old")
    assert system_libs.packages([found], "apt") == ()


def test_the_command_is_the_managers_own(tmp_path: Path) -> None:
    missing = system_libs.lacking(FEATURES, system(tmp_path, without_header="webp"))
    assert system_libs.install_command(missing, target("apk")) == ("apk", "add", "--no-cache", "libwebp-dev")
    assert system_libs.install_command(missing, target("rpm"))[:2] == ("dnf", "install")
    assert system_libs.install_command(missing, target(None)) == ()
    assert system_libs.install_command((), target("apt")) == ()


@pytest.mark.parametrize(
    ("manager", "package"),
    [
        ("apt", "python3.12-dev"),
        ("dnf", "python3.12-devel"),
        ("zypper", "python312-devel"),
        ("pacman", "python"),
        ("apk", "python3-dev"),
    ],
)
def test_pythons_own_headers_count(tmp_path: Path, manager: str, package: str) -> None:
    assert system_libs.python_package([tmp_path], target(manager, 12), manager) == (package,)
    (tmp_path / "Python.h").touch()
    assert system_libs.python_package([tmp_path], target(manager, 12), manager) == ()


def said(missing_in: Path, manager: str | None) -> BuildError:
    with pytest.raises(BuildError) as caught:
        system_libs.require(FEATURES, target(manager), root=missing_in)
    return caught.value


def test_the_error_has_the_table_and_the_command(tmp_path: Path) -> None:
    error = said(system(tmp_path, without_header="lcms"), "apt")
    assert "lcms (colour profiles): no lcms2.h" in error.why
    assert "`apt-get install -y --no-install-recommends liblcms2-dev`" in (error.hint or "")
    assert "--without lcms" in (error.hint or "")


def test_outside_of_fedora_it_is_said_where_the_packages_are(tmp_path: Path) -> None:
    lacks = system(tmp_path, without_header="raqm")
    for distro, told in (("fedora 44", False), ("rocky 10", True)):
        environment = cast(
            "Environment", SimpleNamespace(package_manager="dnf", version=(3, 12, 2), distro=distro)
        )
        with pytest.raises(BuildError) as caught:
            system_libs.require(FEATURES, environment, root=lacks)
        assert ("EPEL" in (caught.value.hint or "")) is told
        assert "no raqm.h, nor harfbuzz/hb.h, nor fribidi/fribidi.h" in caught.value.why


def test_what_no_package_mends_can_only_be_done_without(tmp_path: Path) -> None:
    error = said(system(tmp_path, avif=0), "apt")
    assert "install" not in (error.hint or "")
    assert "--without avif" in (error.hint or "")


def test_features_can_be_given_up_but_not_what_pillow_needs() -> None:
    names = {feature.name for feature in system_libs.wanted(["freetype"])}
    assert {feature.name for feature in FEATURES} - names == {"freetype", "raqm"}
    for wrong in ("png", *REQUIRED):
        with pytest.raises(UsageError, match=wrong):
            system_libs.wanted([wrong])
