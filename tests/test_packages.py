"""The tables of packages, held against what each distribution's packages have in them (packages.json)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simdinstall import headers, system_libs
from simdinstall.system_libs import FEATURES

SYSTEMS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "packages.json").read_text())
SYSTEM = pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system["system"])


def installed(system: dict[str, Any], root: Path, *without: str) -> Path:
    """A root folder with the files of all packages in the list, but for some."""
    gone = {system["provides"].get(name, name) for name in without}
    assert gone <= system["files"].keys()
    for package in system["files"].keys() - gone:
        for name in system["files"][package]:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(f"#define AVIF_VERSION_MAJOR {int('avif' not in system['old'])}\n")
    return root


def rows() -> Iterator[Any]:
    """Each feature of each system, and the package that the table has for it."""
    for system in SYSTEMS:
        for feature in FEATURES:
            if package := feature.packages[system["manager"]]:
                yield pytest.param(system, feature, package, id=f"{system['system']}-{feature.name}")


@SYSTEM
def test_where_all_is_installed_no_feature_is_lacking(system: dict[str, Any], tmp_path: Path) -> None:
    found = system_libs.lacking(FEATURES, installed(system, tmp_path))
    assert [item.feature.name for item in found] == system["old"]
    assert all(item.problem == "old" for item in found)


@pytest.mark.parametrize(("system", "feature", "package"), [*rows()])
def test_the_package_that_is_not_installed_is_named_and_no_other(
    system: dict[str, Any], feature: system_libs.Feature, package: str, tmp_path: Path
) -> None:
    apart = [item.packages[system["manager"]] for item in feature.carried]
    found = system_libs.lacking(FEATURES, installed(system, tmp_path, package, *apart))
    missing = [item for item in found if item.problem != "old"]
    assert [item.feature for item in missing] == [feature]
    assert system_libs.packages(missing, system["manager"]) == (package,)


@SYSTEM
def test_pillows_own_raqm_takes_the_place_of_one_that_is_not_there(
    system: dict[str, Any], tmp_path: Path
) -> None:
    [raqm] = (feature for feature in FEATURES if feature.name == "raqm")
    manager = system["manager"]
    package = raqm.packages[manager]
    own = [package] if package else []
    without = system_libs.lacking([raqm], installed(system, tmp_path / "complete", *own))
    assert not without
    assert system_libs.carried(FEATURES, tmp_path / "complete") == {"raqm"}
    for part in raqm.carried:
        name = part.packages[manager]
        found = system_libs.lacking([raqm], installed(system, tmp_path / name, name, *own))
        assert system_libs.packages(found, manager) == ((package,) if package else (name,))
        assert part.header in str(found[0])


@SYSTEM
def test_the_headers_of_the_core_are_in_the_packages_that_are_named(
    system: dict[str, Any], tmp_path: Path
) -> None:
    named = {needed.packages[system["manager"]] for needed in headers.CORE.values()}
    files = {system["provides"].get(name, name) for name in named}
    root = installed(system, tmp_path / "root", *(system["files"].keys() - files))
    folders = headers.search_folders(root, environ={})
    assert not headers.collect(headers.CORE.values(), folders, tmp_path / "found")
    listed = {Path(path).name for name in files for path in system["files"][name] if path.endswith(".h")}
    assert listed == {path.name for path in (tmp_path / "found").rglob("*.h")}
