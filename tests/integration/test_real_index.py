"""The real index, as pip and uv are configured here: the files that simdinstall lives on."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from simdinstall import archive, cpu
from simdinstall.errors import FetchError
from simdinstall.fetch import Fetcher
from simdinstall.run import run

pytestmark = pytest.mark.network

TAGS = [f"cp311-cp311-manylinux_2_{minor}_x86_64" for minor in range(36, 16, -1)]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_pillow_and_pillow_simd(cache: Path, tmp_path: Path) -> None:
    online = Fetcher(cache=cache)
    newest = online.newest("pillow", tags=TAGS, python="3.11.7")
    wheel = online.wheel("pillow", newest, TAGS, python="3.11.7")
    assert wheel.checked
    assert wheel.path.stat().st_size < 10_000_000
    with zipfile.ZipFile(wheel.path) as content:
        assert any(name.startswith("PIL/_imaging.") for name in content.namelist())
    sdist = online.sdist("pillow-simd", "12.1.1.post0")
    assert sdist.checked
    assert sdist.path.stat().st_size < 2_000_000
    paths = archive.extract(sdist.path, tmp_path / "src", keep=lambda name: "/src/libImaging/" in name)
    assert any("immintrin" in p.read_text(errors="replace") for p in paths)
    online.close()

    offline = Fetcher(cache=cache, offline=True)
    assert offline.wheel("pillow", newest, TAGS).sha256 == wheel.sha256
    assert offline.sdist("pillow-simd", "12.1.1.post0").path == sdist.path


@pytest.mark.parametrize("version", ["12.1.1", "12.2.0", "12.3.0", "13.0.0"])
def test_releases_that_the_patches_know_are_there(version: str, cache: Path) -> None:
    assert version in Fetcher(cache=cache).versions("pillow")


def test_release_that_does_not_exist(cache: Path) -> None:
    with pytest.raises(FetchError) as caught:
        Fetcher(cache=cache).wheel("pillow", "12.9.9", TAGS)
    assert "12.3.0" in caught.value.why


@pytest.mark.integration
def test_zig_compiles_for_every_march(cache: Path, tmp_path: Path) -> None:
    zig = Fetcher(cache=cache).ziglang()
    version = run([zig, "version"]).stdout.strip()
    source = tmp_path / "empty.c"
    source.write_text("int answer(void) { return 42; }\n")
    own = cpu.detect()
    flags = {isa: cpu.isa_flags(isa, "zig", version) for isa in cpu.ISA_FEATURES}
    for name in ("portable", "v3", "v4", "haswell", "skylake-avx512", "znver4", "rocketlake", "k8"):
        flags[name] = cpu.compiler_flags(cpu.resolve_march(name, own), "zig", version)
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "ZIG_GLOBAL_CACHE_DIR": str(tmp_path / "zig")}
    for name, given in flags.items():
        target = tmp_path / f"{name}.o"
        run([zig, "cc", "-target", "x86_64-linux-gnu.2.17", *given, "-c", source, "-o", target], env=env)
        assert target.stat().st_size > 0
