from __future__ import annotations

import pytest

import cache_parts
from simdinstall.cache import cells
from simdinstall.errors import CpuError, UsageError


def test_pythons_are_versions_ranges_and_paths() -> None:
    found = cells.parse_pythons("3.11, 3.13-3.15,3.14t,cp312,python3.12,/usr/bin/python3")
    assert found == (
        (3, 11, False),
        (3, 13, False),
        (3, 14, False),
        (3, 15, False),
        (3, 14, True),
        (3, 12, False),
        "/usr/bin/python3",
    )


@pytest.mark.parametrize("text", ["", "snake", "3", "3.15-3.11", "2.7"])
def test_what_is_no_python_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        cells.parse_pythons(text)


def test_releases() -> None:
    assert cells.parse_releases("13.0.0, 12.3.0,13.0.0") == ("13.0.0", "12.3.0")
    with pytest.raises(UsageError, match="newest"):
        cells.parse_releases("newest")


def test_levels_that_mean_the_same_count_once() -> None:
    found = cells.parse_marches("v3,x86-64-v3,portable,haswell", cache_parts.BEST)
    assert [march.name for march in found] == ["v3", "portable", "haswell"]
    with pytest.raises(CpuError, match="v9"):
        cells.parse_marches("v9", cache_parts.BEST)


def test_the_matrix_has_every_combination_once() -> None:
    marches = [cache_parts.march(name) for name in ("portable", "v3")]
    pythons = [cache_parts.python(name) for name in ("3.11", "3.14t")]
    found = cells.matrix(["13.0.0", "12.3.0"], pythons, marches)
    assert len({cell.key for cell in found}) == len(found) == 8


def test_what_compiles_different_libraries_comes_first() -> None:
    marches = [cache_parts.march(name) for name in ("portable", "v3")]
    pythons = [cache_parts.python(name) for name in ("3.11", "3.12", "3.13")]
    ordered = cells.spread(cells.matrix(["13.0.0"], pythons, marches))
    assert {cell.level for cell in ordered[:2]} == {"portable", "v3"}
    assert len(ordered) == 6


def test_a_wheel_for_the_oldest_glibc_is_preferred() -> None:
    tags = cells.tags(cache_parts.python("3.14t"), "manylinux_x86_64")
    assert tags.index("cp314-cp314t-manylinux2014_x86_64") < tags.index("cp314-cp314t-manylinux_2_28_x86_64")
    assert not any("none" in tag for tag in tags)
    assert (
        cells.tags(cache_parts.python("3.12"), "musllinux_aarch64")[0] == "cp312-cp312-musllinux_1_1_aarch64"
    )
    with pytest.raises(UsageError, match="windows"):
        cells.platform_tags("windows")


def test_cells_survive_json() -> None:
    for cell in (cache_parts.cell(), cache_parts.cell(py="3.14t", level="haswell", fidelity="bounded")):
        assert cells.from_json(cells.to_json(cell)) == cell


def test_platforms() -> None:
    both = ("manylinux_x86_64", "musllinux_x86_64")
    assert cells.parse_platforms(", ".join(both)) == both
    refused = {"win_amd64": "no platform", "manylinux_aarch64": "nothing can be built", ",": "no platform"}
    for text, said in refused.items():
        with pytest.raises(UsageError, match=said):
            cells.parse_platforms(text)
