"""Real wheels: their binary interface is read, kernels are put in front, and it runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from packaging.tags import sys_tags

import builds
from simdinstall import abi, build, kernels, linked, toolchain, tree, wheel
from simdinstall.abi import Abi
from simdinstall.errors import SimdinstallError
from simdinstall.fetch import Download, Fetcher, Sources
from simdinstall.plan import Plan
from simdinstall.store import Store, file_digest
from small_kernels import march

pytestmark = [pytest.mark.network, pytest.mark.integration]

RELEASES = ("13.0.0", "12.3.0", "12.2.0", "12.1.1")
#: Release, interpreter and platform of official wheels of every kind.
TARGETS = (
    ("10.4.0", "cp311", "manylinux_2_28_x86_64"),
    ("11.3.0", "cp312", "manylinux_2_28_x86_64"),
    ("12.1.1", "cp313", "manylinux_2_28_aarch64"),
    ("12.2.0", "cp311", "manylinux_2_28_x86_64"),
    ("12.3.0", "cp314", "musllinux_1_2_aarch64"),
    ("13.0.0", "cp312", "musllinux_1_2_x86_64"),
    ("13.0.0", "cp314t", "manylinux_2_28_x86_64"),
)


@pytest.fixture(scope="session")
def downloads(request: pytest.FixtureRequest) -> Path:
    """A folder that outlives the session: wheels are fetched once."""
    given = os.environ.get("SIMDINSTALL_TEST_WHEELS")
    if given:
        return Path(given)
    assert request.config.cache is not None
    return Path(request.config.cache.mkdir("pillow"))


@pytest.fixture(scope="session")
def official(downloads: Path) -> Callable[..., Path]:
    def find(release: str, python: str, platform: str) -> Path:
        machine = "aarch64" if platform.endswith("aarch64") else "x86_64"
        libc = platform.partition("linux")[0]
        pattern = f"pillow-{release}-*-{python}-{libc}linux*{machine}.whl"
        version = python.removeprefix("cp").removesuffix("t")
        kind = ["--implementation", "cp", "--python-version", f"{version[0]}.{version[1:]}"]
        kind += ["--abi", python, "--platform", platform]
        return builds.download(downloads, pattern, f"pillow=={release}", *kind)

    return find


@pytest.fixture(scope="session")
def fetcher(tmp_path_factory: pytest.TempPathFactory) -> Fetcher:
    return Fetcher(cache=tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize(("release", "python", "platform"), TARGETS)
def test_every_official_wheel_can_be_read_and_fronted(
    official: Callable[..., Path], tmp_path: Path, release: str, python: str, platform: str
) -> None:
    name, content = wheel.extension(official(release, python, platform))
    found = abi.read(content, name=name)
    abi.frontable(found)
    assert platform.endswith(found.machine)
    assert found.libc == ("musl" if "musl" in platform else "glibc")
    assert found.rpath == "$ORIGIN/../pillow.libs"
    assert len(found.exported & found.plt & set(found.prototypes)) > 200
    assert Abi.from_json(json.loads(json.dumps(found.to_json()))) == found
    fields = {field.name for field in found.struct_fields[abi.IMAGE]}
    assert ("mutex" in fields) == python.endswith("t")
    catalogue = kernels.load()
    reasons = abi.misfits(found, catalogue.functions, catalogue.callbacks)
    if release in RELEASES:
        assert not reasons
        assert found.enums["ModeID"]["IMAGING_MODE_RGB"] > 0
    else:
        assert "not as ModeID" in reasons["ImagingResample"]
    header = abi.header(found, catalogue.functions, release=release)
    if found.machine == os.uname().machine:
        (tmp_path / "pillow_abi.h").write_text(header)
        subprocess.run(["gcc", "-fsyntax-only", "-x", "c", tmp_path / "pillow_abi.h"], check=True)


def plan_for(stock: Path, compiler: str, folder: Path, fetcher: Fetcher, *, level: str = "x86-64-v3") -> Plan:
    """The plan to put every exact kernel in front of a wheel."""
    release = stock.name.split("-")[1]
    name, content = wheel.extension(stock)
    found = abi.read(content, name=name)
    chosen = march(level)
    catalogue = kernels.load()
    simd = fetcher.sdist("pillow-simd", "12.1.1.post0")
    compiler_here = toolchain.find(compiler, zig=fetcher.ziglang, libc=found.libc)
    parts = SimpleNamespace(
        march=chosen,
        release=release,
        fidelity="exact",
        sources=Sources(
            pillow=Download(
                name="pillow",
                version=release,
                filename=stock.name,
                url=f"https://index.example/{stock.name}",
                sha256=file_digest(stock),
                path=stock,
            ),
            pillow_simd=simd,
        ),
        toolchain=compiler_here,
        prebuilt=None,
        rebuild=None,
        source_build=None,
        maker=compiler_here,
        abi=found,
        tree=tree.lay_out(
            simd, release=release, catalogue=catalogue, fidelity="exact", isas=chosen.isas, into=folder
        ),
    )
    return cast("Plan", parts)


_USE = """
import json
from PIL import Image, ImageFilter, _simd, features
import PIL
noise = Image.effect_noise((700, 501), 60)
image = Image.merge("RGB", (noise, noise.transpose(0), noise.transpose(1)))
work = {
    "resize": lambda: image.resize((320, 200), Image.Resampling.LANCZOS),
    "reduce": lambda: image.reduce(2),
    "blur": lambda: image.filter(ImageFilter.GaussianBlur(3)),
    "filter": lambda: image.filter(ImageFilter.SHARPEN),
    "codecs": lambda: image.quantize(16).convert("RGB"),
}
results = {}
for level in ("none", _simd.LEVELS[-1]):
    _simd.set_level(level)
    results[level] = {name: do().tobytes().hex() for name, do in work.items()}
first, second = results.values()
served = sorted({e.kernel for e in _simd.entries() if e.calls and e.level != "none"})
print(json.dumps({
    "version": PIL.__version__, "features": features.get_supported(), "build": _simd.build(),
    "different": [name for name in work if first[name] != second[name]], "served": served,
}))
"""


def use(folder: Path, **environment: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", _USE],
        env={**os.environ, "PYTHONPATH": str(folder), **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    return cast("dict[str, object]", json.loads(done.stdout))


def here() -> tuple[str, str]:
    tag = next(iter(sys_tags()))
    return tag.abi, "manylinux_2_28_x86_64"


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="kernels are for x86-64")
@pytest.mark.parametrize(
    ("release", "compiler"),
    [*((release, "gcc") for release in RELEASES), ("13.0.0", "clang"), ("12.1.1", "zig")],
)
def test_kernels_in_front_of_a_real_wheel(
    official: Callable[..., Path], fetcher: Fetcher, tmp_path: Path, release: str, compiler: str
) -> None:
    stock = official(release, *here())
    try:
        plan = plan_for(stock, compiler, tmp_path / "tree", fetcher)
    except SimdinstallError as error:
        if compiler == "gcc":
            raise
        pytest.skip(f"{compiler}: {error.what}")
    assert not build.left_out(plan.tree, plan.abi, kernels.load())
    store = Store(tmp_path / "cache")
    made = build.build(plan, store=store)
    assert build.build(plan, store=store).cached
    assert {left.kernel for left in made.left_out} == {left.kernel for left in plan.tree.left_out}
    with zipfile.ZipFile(made.path) as archive:
        archive.extractall(tmp_path / "ours")
    with zipfile.ZipFile(stock) as archive:
        archive.extractall(tmp_path / "stock")
    for old, entry in made.provenance["files"].items():
        assert (tmp_path / "ours" / entry["as"]).read_bytes() == (tmp_path / "stock" / old).read_bytes()
    found = linked.shape(tmp_path / "ours" / "PIL" / "libpillow_simd.so")
    assert found.isa & linked.ISA_BITS["x86-64-v3"]
    assert found.glibc == ""
    said = use(tmp_path / "ours")
    assert said["version"] == release
    assert said["different"] == []
    assert {"resample", "box_blur"} <= set(cast("list[str]", said["served"]))
    assert len(cast("list[str]", said["features"])) >= 15
    assert compiler in str(said["build"])
    assert use(tmp_path / "ours", PILLOW_SIMD="sse4")["different"] == []


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="kernels are for x86-64")
def test_a_wheel_is_the_same_when_built_twice(
    official: Callable[..., Path], fetcher: Fetcher, tmp_path: Path
) -> None:
    stock = official("13.0.0", *here())
    made = [
        build.build(
            plan_for(stock, "gcc", tmp_path / name / "tree", fetcher, level="x86-64-v2"),
            store=Store(tmp_path / name / "cache"),
        ).path.read_bytes()
        for name in ("one", "quite another folder")
    ]
    assert made[0] == made[1]


@pytest.mark.emulator
@pytest.mark.skipif(not shutil.which("qemu-x86_64-static"), reason="qemu-user is not here")
def test_a_weaker_cpu_refuses_the_wheel_and_runs_the_portable_one(
    official: Callable[..., Path], fetcher: Fetcher, tmp_path: Path
) -> None:
    stock = official("13.0.0", *here())
    said = {}
    for level in ("x86-64-v3", "portable"):
        plan = plan_for(stock, "gcc", tmp_path / level / "tree", fetcher, level=level)
        with zipfile.ZipFile(build.build(plan, store=Store(tmp_path / "cache")).path) as archive:
            archive.extractall(tmp_path / level / "ours")
        for cpu in ("core2duo", "Nehalem", "Haswell"):
            done = subprocess.run(
                ["qemu-x86_64-static", "-cpu", cpu, os.path.realpath(sys.executable), "-c", _LEVEL],
                env={**os.environ, "PYTHONPATH": str(tmp_path / level / "ours")},
                capture_output=True,
                text=True,
                check=False,
            )
            said[level, cpu] = done.stdout.strip() or done.stderr.strip().splitlines()[-1]
    assert said["portable", "core2duo"] == "none (1, 2, 3)"
    assert said["portable", "Nehalem"] == "sse4 (1, 2, 3)"
    assert said["portable", "Haswell"] == said["x86-64-v3", "Haswell"] == "avx2 (1, 2, 3)"
    for weak in ("core2duo", "Nehalem"):
        assert "CPU ISA level is lower than required" in said["x86-64-v3", weak]


_LEVEL = """
from PIL import Image, _simd
small = Image.new("RGB", (90, 70), (1, 2, 3)).resize((30, 20))
print(_simd.level(), small.getpixel((4, 4)))
"""
