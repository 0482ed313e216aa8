"""Laying out sources from real archives, good, foreign and damaged."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from simdinstall import kernels, tree
from simdinstall.errors import FetchError
from simdinstall.fetch import Download
from simdinstall.kernels import ISAS, Catalogue, Fidelity, Kernel
from simdinstall.tree import Tree

VERSION = "12.1.1.post0"

SIMD = "#include <immintrin.h>\none\nreturn _mm_add_epi32(a, b);\nlast\n"
PATCH = """\
Why: a reason
Kind: adapt
Applies: pillow >=12.1,<14; pillow-simd ==12.1.1.post0
Upstream: none
Drop-when: never
Test: tests/test_tree.py

--- a/src/libImaging/A.c
+++ b/src/libImaging/A.c
@@ -2,1 +2,1 @@
-one
+uno
"""


def sdist(folder: Path, files: dict[str, str | bytes], version: str = VERSION) -> Download:
    path = folder / f"pillow_simd-{version}.tar.gz"
    with tarfile.open(path, "w:gz") as packed:
        for name, text in files.items():
            content = text.encode() if isinstance(text, str) else text
            info = tarfile.TarInfo(name if name.startswith((".", "/")) else f"pillow_simd-{version}/{name}")
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return Download(
        name="pillow-simd",
        version=version,
        filename=path.name,
        url="",
        sha256=sha256(path.read_bytes()).hexdigest(),
        path=path,
    )


def kernel(name: str, *needs: str, **changes: object) -> Kernel:
    base = Kernel(
        name=name,
        functions=("ImagingResample",),
        origin="pillow-simd",
        isas=("sse4", "avx2"),
        fidelity="bounded",
        largest_difference=1,
        sources=(f"pillow_simd/{name}.c",),
        needs=needs,
        cflags=(),
        pillow=">=12.1,<14",
        pillow_simd=f"=={VERSION}",
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def lay_out(
    folder: Path,
    download: Download | None,
    *wanted: Kernel,
    release: str = "13.0.0",
    fidelity: Fidelity = "bounded",
    isas: tuple[str, ...] = ISAS,
    patches: dict[str, str] | None = None,
) -> Tree:
    own = kernels.load()
    catalogue = Catalogue(functions=own.functions, kernels=wanted, callbacks=own.callbacks)
    series = folder / "patches" / f"pillow_simd-{VERSION}"
    series.mkdir(parents=True)
    patches = {"a": PATCH} if patches is None else patches
    (series / "series").write_text("\n".join(patches))
    for slug, text in patches.items():
        (series / f"{slug}.patch").write_text(text)
    return tree.lay_out(
        download,
        release=release,
        catalogue=catalogue,
        fidelity=fidelity,
        isas=isas,
        into=folder / "tree",
        patches=folder / "patches",
    )


def names(laid_out: Tree) -> tuple[str, ...]:
    return tuple(kernel.name for kernel in laid_out.kernels)


def reasons(laid_out: Tree) -> dict[str, str]:
    return {left_out.kernel: left_out.reason for left_out in laid_out.left_out}


def test_files_are_unpacked_patched_and_copied(tmp_path: Path) -> None:
    download = sdist(tmp_path, {"src/libImaging/A.c": SIMD, "src/libImaging/B.c": "b", "setup.py": "x"})
    laid_out = lay_out(tmp_path, download, kernel("k", "A.c"))
    assert names(laid_out) == ("k",)
    assert laid_out.left_out == ()
    assert [record.slug for record in laid_out.patches] == ["a"]
    found = {path.name for path in (laid_out.root / "pillow_simd_src").iterdir()}
    assert found == {"A.c"}, "only what kernels need is laid out"
    assert (laid_out.root / "pillow_simd_src" / "A.c").read_text() == SIMD.replace("one", "uno")
    for source in kernels.sources_dir().rglob("*.[ch]"):
        copied = laid_out.kernels_dir / source.relative_to(kernels.sources_dir())
        assert copied.read_bytes() == source.read_bytes()
    assert all(folder.is_dir() for folder in laid_out.include_dirs)


def test_the_digest_knows_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    first = tree.digest(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    second = tree.digest(tmp_path)
    (tmp_path / "b").write_text("y")
    assert len({first, second, tree.digest(tmp_path)}) == 3
    (tmp_path / "b").rename(tmp_path / "a")
    (tmp_path / "a").write_text("x")
    assert tree.digest(tmp_path) == first


def test_without_pillow_simd(tmp_path: Path) -> None:
    own = kernel("own", origin="simdinstall", pillow="")
    laid_out = lay_out(tmp_path, None, kernel("k", "A.c"), own)
    assert names(laid_out) == ("own",)
    assert reasons(laid_out) == {"k": "no sources of Pillow-SIMD"}
    assert not (laid_out.root / "pillow_simd_src").exists()


def test_exact_needs_no_sources_of_bounded_kernels(tmp_path: Path) -> None:
    laid_out = lay_out(tmp_path, None, kernel("k", "A.c"), fidelity="exact")
    assert laid_out.kernels == laid_out.left_out == ()


def test_instruction_sets(tmp_path: Path) -> None:
    download = sdist(tmp_path, {"src/libImaging/A.c": SIMD})
    laid_out = lay_out(tmp_path, download, kernel("k", "A.c"), isas=("avx512",))
    assert laid_out.kernels == laid_out.left_out == ()


def test_a_release_that_kernels_do_not_know(tmp_path: Path) -> None:
    download = sdist(tmp_path, {"src/libImaging/A.c": SIMD})
    own = kernel("own", origin="simdinstall", pillow="")
    laid_out = lay_out(tmp_path, download, kernel("k", "A.c"), own, release="14.0.0")
    assert names(laid_out) == ("own",)
    assert "proven for Pillow" in reasons(laid_out)["k"]
    assert "14.0.0" in reasons(laid_out)["k"]


def test_a_release_that_a_patch_does_not_know(tmp_path: Path) -> None:
    files = {"src/libImaging/A.c": SIMD, "src/libImaging/B.c": SIMD}
    laid_out = lay_out(
        tmp_path,
        sdist(tmp_path, files),
        kernel("a", "A.c", pillow=">=12"),
        kernel("b", "B.c", pillow=">=12"),
        release="14.0.0",
    )
    assert names(laid_out) == ("b",)
    assert reasons(laid_out) == {"a": "patch a is for Pillow <14,>=12.1, not 14.0.0"}
    assert laid_out.patches == ()


def test_a_patch_that_does_not_apply_leaves_out_its_kernels(tmp_path: Path) -> None:
    shifted = SIMD.replace("one", "zero\none")
    files = {"src/libImaging/A.c": shifted, "src/libImaging/B.c": SIMD, "src/libImaging/H.h": "h"}
    laid_out = lay_out(tmp_path, sdist(tmp_path, files), kernel("a", "A.c", "H.h"), kernel("b", "B.c", "H.h"))
    assert names(laid_out) == ("b",)
    assert reasons(laid_out) == {
        "a": "patch a does not apply: src/libImaging/A.c is not what it expects at line 2"
    }
    assert {path.name for path in (laid_out.root / "pillow_simd_src").iterdir()} == {"B.c", "H.h"}


def test_patches_apply_one_upon_the_other(tmp_path: Path) -> None:
    second = PATCH.replace("-one", "-uno").replace("+uno", "+unus")
    download = sdist(tmp_path, {"src/libImaging/A.c": SIMD})
    laid_out = lay_out(tmp_path, download, kernel("k", "A.c"), patches={"z": PATCH, "a": second})
    assert [record.slug for record in laid_out.patches] == ["z", "a"]
    assert "unus" in (laid_out.root / "pillow_simd_src" / "A.c").read_text()


def test_another_release_of_pillow_simd(tmp_path: Path) -> None:
    download = sdist(tmp_path, {"src/libImaging/A.c": SIMD}, version="13.0.0")
    laid_out = lay_out(tmp_path, download, kernel("k", "A.c", pillow_simd=""))
    assert laid_out.kernels == ()
    assert reasons(laid_out) == {"k": "there are no patches for Pillow-SIMD 13.0.0"}


def test_a_file_that_pillow_simd_no_longer_has(tmp_path: Path) -> None:
    download = sdist(tmp_path, {"src/libImaging/A.c": SIMD})
    laid_out = lay_out(tmp_path, download, kernel("a", "A.c"), kernel("gone", "A.c", "Gone.c"))
    assert names(laid_out) == ("a",)
    assert reasons(laid_out) == {"gone": f"Pillow-SIMD {VERSION} has no Gone.c"}


def test_plain_pillow_under_that_name_is_refused(tmp_path: Path) -> None:
    download = sdist(tmp_path, {"src/libImaging/A.c": "one\n/* _mm_ would be nice */\n"})
    with pytest.raises(FetchError, match="holds no SIMD code") as caught:
        lay_out(tmp_path, download, kernel("k", "A.c"))
    assert "plain Pillow" in caught.value.why
    assert caught.value.hint


def test_files_that_are_not_text(tmp_path: Path) -> None:
    download = sdist(tmp_path, {"src/libImaging/A.c": b"\xff\xfe\x00"})
    with pytest.raises(FetchError, match="is not Pillow-SIMD"):
        lay_out(tmp_path, download, kernel("k", "A.c"))


@pytest.mark.parametrize("name", ["../src/libImaging/A.c", "/src/libImaging/A.c"])
def test_an_archive_that_climbs_out(tmp_path: Path, name: str) -> None:
    download = sdist(tmp_path, {"src/libImaging/A.c": SIMD, name: SIMD})
    with pytest.raises(FetchError, match="refused to unpack"):
        lay_out(tmp_path, download, kernel("k", "A.c"))
    assert not list(tmp_path.rglob("A.c"))


def test_a_truncated_archive(tmp_path: Path) -> None:
    download = sdist(tmp_path, {"src/libImaging/A.c": SIMD * 5000})
    download.path.write_bytes(download.path.read_bytes()[:-40])
    with pytest.raises(FetchError):
        lay_out(tmp_path, download, kernel("k", "A.c"))


def test_the_projects_own_patches_are_found() -> None:
    assert (tree.patches_dir(VERSION) / "series").is_file()
    assert not tree.patches_dir("0.1").exists()
