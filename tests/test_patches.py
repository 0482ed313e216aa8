"""The project's own patches: complete headers, pinned versions in range, and they apply."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from simdinstall import kernels, tree
from simdinstall.tree import Patch, PatchError, read_patch, read_series

#: What the patches are pinned to. A release leaves its range here before it fails for users.
PILLOW = ("12.1.1", "12.2.0", "12.3.0", "13.0.0")
PILLOW_SIMD = "12.1.1.post0"

SERIES = tree.patches_dir(PILLOW_SIMD)
PATCHES = read_series(SERIES)
ROOT = Path(__file__).parents[1]

HEADER = """\
Why: a reason
  on two lines
Kind: fix
Applies: pillow >=12.1,<14; pillow-simd ==12.1.1.post0
Upstream: none
Drop-when: never
Test: tests/test_patches.py
"""
DIFF = """
--- a/src/libImaging/A.c
+++ b/src/libImaging/A.c
@@ -2,2 +2,3 @@
 two
+new
 three
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "p.patch"
    path.write_text(text)
    return path


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.slug)
def test_header(patch: Patch) -> None:
    for release in PILLOW:
        assert patch.pillow.contains(release), f"{release} has left the range of {patch.slug}"
    assert patch.pillow_simd.contains(PILLOW_SIMD), f"{PILLOW_SIMD} has left the range of {patch.slug}"
    assert patch.header["Upstream"] == "none" or patch.header["Upstream"].startswith("https://")
    file, _, test = patch.header["Test"].partition("::")
    assert f"def {test}(" in (ROOT / file).read_text(), f"{patch.slug} names a test that is not there"


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.slug)
def test_no_new_code(patch: Patch) -> None:
    """New code lives in kernels/; a patch changes a few lines of one file."""
    assert len(patch.changes) == 1
    added = sum(len(hunk.new) - len(hunk.old) for hunks in patch.changes.values() for hunk in hunks)
    assert added <= 12


def test_series_names_every_patch() -> None:
    assert sorted(patch.slug for patch in PATCHES) == sorted(path.stem for path in SERIES.glob("*.patch"))


def test_kernels_are_pinned_to_what_the_patches_are_for() -> None:
    for kernel in kernels.load().kernels:
        if kernel.origin == "pillow-simd":
            assert SpecifierSet(kernel.pillow_simd).contains(PILLOW_SIMD)
            assert all(SpecifierSet(kernel.pillow).contains(release) for release in PILLOW)


def test_a_patch_is_read(tmp_path: Path) -> None:
    patch = read_patch(written(tmp_path, HEADER + DIFF))
    assert patch.header["Why"] == "a reason on two lines"
    ((path, (hunk,)),) = patch.changes.items()
    assert (path, hunk.line, hunk.old, hunk.new) == (
        "src/libImaging/A.c",
        2,
        ("two", "three"),
        ("two", "new", "three"),
    )


def test_a_patch_applies_exactly(tmp_path: Path) -> None:
    patch = read_patch(written(tmp_path, HEADER + DIFF))
    path = "src/libImaging/A.c"
    assert tree.apply(patch, {path: "one\ntwo\nthree\nfour\n"}) == {path: "one\ntwo\nnew\nthree\nfour\n"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("zero\none\ntwo\nthree\n", "line 2"),  # shifted by one: GNU patch would take it
        ("one\ntwo \nthree\n", "line 2"),  # white space
        ("one\ntwo\nthre\n", "line 3"),  # context
        ("one\ntwo", "line 3"),  # too short
    ],
)
def test_a_patch_that_does_not_fit_is_refused(tmp_path: Path, text: str, line: str) -> None:
    patch = read_patch(written(tmp_path, HEADER + DIFF))
    with pytest.raises(PatchError) as caught:
        tree.apply(patch, {"src/libImaging/A.c": text})
    assert line in caught.value.why


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PatchError, match="does not apply") as caught:
        tree.apply(read_patch(written(tmp_path, HEADER + DIFF)), {})
    assert "there is no src/libImaging/A.c" in caught.value.why


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (HEADER, "there is no diff"),
        (HEADER.replace("Kind: fix\n", "") + DIFF, "lacks Kind"),
        (HEADER.replace("Kind: fix", "Kind: hack") + DIFF, "hack is no kind"),
        (HEADER + "Kind: fix\n" + DIFF, "Kind occurs twice"),
        (HEADER.replace("Why: a", "Whence: a") + DIFF, "strange line"),
        (HEADER.replace("pillow >=12.1,<14; ", "") + DIFF, "must give a range"),
        (HEADER.replace(">=12.1,<14", ">=twelve") + DIFF, "no range of versions"),
        (HEADER + DIFF.replace("b/src", "b/elsewhere/src"), "one file in place"),
        (HEADER + DIFF.replace("src/lib", "../lib"), "one file in place"),
        (HEADER + DIFF.replace("a/src", "/dev/null"), "one file in place"),
        (HEADER + DIFF.replace("-2,2 +2,3", "-2,2 +5,3"), "contradicts itself"),
        (HEADER + DIFF.replace("-2,2 +2,3", "-2,3 +2,3"), "ends too early"),
        (HEADER + DIFF.replace("-2,2 +2,3", "-2,1 +2,2"), "does not begin a change"),
        (HEADER + DIFF.replace("+new\n", ""), "ends too early"),
        (HEADER + DIFF + DIFF.lstrip("\n"), "occurs twice"),
        (HEADER + DIFF + "@@ -1,1 +2,2 @@\n one\n+x\n", "not in order"),
    ],
)
def test_a_malformed_patch_is_refused(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(PatchError) as caught:
        read_patch(written(tmp_path, text))
    assert why in caught.value.why


def test_a_series_that_names_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "series").write_text("# nothing yet\nghost  # gone\n")
    with pytest.raises(PatchError) as caught:
        read_series(tmp_path)
    assert "no such file" in caught.value.why
