from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from installer.sources import WheelFile
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import small_pillow
from simdinstall import wheel
from simdinstall.errors import BuildError
from simdinstall.wheel import EARLIEST

EXTENSION = "PIL/_imaging.cpython-314t-x86_64-linux-gnu.so"
CONTENT = {
    "PIL/__init__.py": b"",
    "PIL/_version.py": b'__version__ = "13.0.0"\n',
    EXTENSION: bytes(range(256)) * 40,
    "PIL/_imagingft.cpython-314t-x86_64-linux-gnu.so": b"another",
    "PIL/ümlaut.txt": b"u",
    "pillow-13.0.0.dist-info/licenses/LICENSE": b"Version: 13.0.0\n",
    "pillow-13.0.0.dist-info/sboms/auditwheel.cdx.json": b"{}",
}
DOWNLOAD = {"filename": "pillow-13.0.0-cp314-cp314t-manylinux_2_28_x86_64.whl", "sha256": "0" * 64}
PROVENANCE: Mapping[str, Any] = {
    "pillow": {"release": "13.0.0", **DOWNLOAD},
    "pillow_simd": {"version": "12.1.1.post0", "filename": "pillow_simd.tar.gz", "sha256": "1" * 64},
    "patches": [{"slug": "one", "sha256": "2" * 64}],
    "march": {"name": "v3"},
    "fidelity": "exact",
}


def official(folder: Path, content: Mapping[str, bytes] = CONTENT, version: str = "13.0.0") -> Path:
    made = small_pillow.wheel(folder, version=version, content=content)
    return made.rename(
        folder / f"pillow-{version}-cp314-cp314t-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl"
    )


def repack(path: Path, into: Path, **changes: Any) -> Path:
    into.mkdir(parents=True, exist_ok=True)
    parts: dict[str, Any] = {"library": b"kernels", "loader": b"loader", "trace": b"# trace\n", "march": "v3"}
    return wheel.repack(wheel.read_official(path), provenance=PROVENANCE, into=into, **(parts | changes))


def contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def stock(tmp_path: Path) -> Path:
    return official(tmp_path / "official")


@pytest.fixture
def ours(stock: Path, tmp_path: Path) -> Path:
    return repack(stock, tmp_path / "ours")


def test_official_files_keep_their_bytes(stock: Path, ours: Path) -> None:
    before, after = contents(stock), contents(ours)
    provenance = json.loads(after["pillow-13.0.0+simd.v3.dist-info/simdinstall.json"])
    assert set(provenance["files"]) | set(provenance["rewritten"]) == set(before)
    for name, entry in provenance["files"].items():
        assert after[entry["as"]] == before[name]
        assert hashlib.sha256(before[name]).hexdigest() == entry["sha256"]
    assert provenance["files"][EXTENSION]["as"] == "PIL/_imaging_stock.so"


def test_new_files_and_names(ours: Path) -> None:
    after = contents(ours)
    assert after[EXTENSION] == b"loader"
    assert after["PIL/libpillow_simd.so"] == b"kernels"
    assert after["PIL/_simd.py"] == b"# trace\n"
    assert ours.name == "pillow-13.0.0+simd.v3-cp314-cp314t-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl"
    assert {name.partition("/")[0] for name in after} == {"PIL", "pillow-13.0.0+simd.v3.dist-info"}
    added = json.loads(after["pillow-13.0.0+simd.v3.dist-info/simdinstall.json"])["added"]
    assert added["PIL/libpillow_simd.so"] == hashlib.sha256(b"kernels").hexdigest()


def test_zlib_ng_lies_beside_pil_and_is_told_of(stock: Path, tmp_path: Path) -> None:
    sdist = {"version": "1.1.0", "filename": "zlib_ng-1.1.0.tar.gz", "sha256": "3" * 64}
    (tmp_path / "zlib").mkdir()
    made = wheel.repack(
        wheel.read_official(stock),
        provenance={**PROVENANCE, "zlib_ng": {"version": "2.3.3", "sdist": sdist}},
        into=tmp_path / "zlib",
        library=b"kernels",
        loader=b"loader",
        trace=b"",
        march="v3",
        zlib=b"zlib",
    )
    assert "-13.0.0+simd.v3.zlibng-" in made.name
    found = contents(made)
    assert found[wheel.ZLIB] == b"zlib"
    bom = json.loads(found["pillow-13.0.0+simd.v3.zlibng.dist-info/sboms/simdinstall.cdx.json"])
    [compiled] = [c for c in bom["components"] if c["name"] == "zlib-ng" and "purl" not in c]
    assert compiled["hashes"][0]["content"] == hashlib.sha256(b"zlib").hexdigest()
    assert compiled["pedigree"]["ancestors"][0]["version"] == "1.1.0"
    assert compiled["bom-ref"] in bom["dependencies"][0]["dependsOn"]


def test_a_core_compiled_from_source_takes_the_official_ones_place(stock: Path, tmp_path: Path) -> None:
    made = repack(stock, tmp_path / "rebuilt", core=b"compiled")
    after = contents(made)
    assert made.name.startswith("pillow-13.0.0+simd.v3.rebuilt-")
    assert after["PIL/_imaging_stock.so"] == b"compiled"
    provenance = json.loads(after["pillow-13.0.0+simd.v3.rebuilt.dist-info/simdinstall.json"])
    assert EXTENSION not in provenance["files"]
    assert (
        provenance["rewritten"][EXTENSION]["sha256"] == hashlib.sha256(contents(stock)[EXTENSION]).hexdigest()
    )
    assert provenance["added"]["PIL/_imaging_stock.so"] == hashlib.sha256(b"compiled").hexdigest()


def test_metadata_differs_in_the_version_alone(stock: Path, ours: Path) -> None:
    before = contents(stock)["pillow-13.0.0.dist-info/METADATA"]
    after = contents(ours)["pillow-13.0.0+simd.v3.dist-info/METADATA"]
    assert after == before.replace(b"Version: 13.0.0", b"Version: 13.0.0+simd.v3", 1)
    assert after != before


def test_the_version_line_of_the_header_is_meant(tmp_path: Path) -> None:
    path = official(tmp_path)
    parts = contents(path)
    text = b"Metadata-Version: 2.4\nName: pillow\nVersion: 13.0.0\nSummary: x\n\nChanges\n\nVersion: 13.0.0\n"
    rewritten = rewrite(path, parts | {"pillow-13.0.0.dist-info/METADATA": text})
    after = contents(repack(rewritten, tmp_path / "ours"))["pillow-13.0.0+simd.v3.dist-info/METADATA"]
    assert after.count(b"+simd.v3") == 1
    assert after.endswith(b"\n\nVersion: 13.0.0\n")


def rewrite(path: Path, parts: Mapping[str, bytes], *, record: bool = True) -> Path:
    """The archive with other content, and a RECORD that fits."""
    name = next(n for n in parts if n.endswith("RECORD"))
    lines = "".join(small_pillow.record_line(n, data) for n, data in parts.items() if n != name)
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in parts.items():
            archive.writestr(member, lines.encode() if record and member == name else data)
    return path


def test_record_and_wheel_describe_the_wheel(ours: Path) -> None:
    after = contents(ours)
    record = "pillow-13.0.0+simd.v3.dist-info/RECORD"
    rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(after[record].decode()))}
    assert set(rows) == set(after)
    assert rows.pop(record) == ["", ""]
    for name, (digest, size) in rows.items():
        plain = base64.urlsafe_b64encode(hashlib.sha256(after[name]).digest()).rstrip(b"=").decode()
        assert (digest, size) == (f"sha256={plain}", str(len(after[name])))
    described = after["pillow-13.0.0+simd.v3.dist-info/WHEEL"].decode()
    assert "Generator: simdinstall " in described
    assert "Root-Is-Purelib: false\nTag: " in described


def test_an_installer_accepts_it(ours: Path) -> None:
    with WheelFile.open(ours) as source:
        source.validate_record()
        assert source.version == "13.0.0+simd.v3"
        assert "Version: 13.0.0+simd.v3\n" in source.read_dist_info("METADATA")


def test_the_archive_is_in_order(ours: Path) -> None:
    with zipfile.ZipFile(ours) as archive:
        infos = archive.infolist()
    names = [info.filename for info in infos]
    assert names[-1].endswith("/RECORD")
    first = next(i for i, name in enumerate(names) if ".dist-info/" in name)
    assert all(".dist-info/" in name for name in names[first:])
    modes = {info.filename: info.external_attr >> 16 for info in infos}
    assert modes["PIL/libpillow_simd.so"] == 0o100755
    assert modes["PIL/_simd.py"] == 0o100644
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}


def test_the_same_gives_the_same_bytes(stock: Path, ours: Path, tmp_path: Path) -> None:
    assert repack(stock, tmp_path / "elsewhere").read_bytes() == ours.read_bytes()
    assert repack(stock, tmp_path / "x", library=b"other").read_bytes() != ours.read_bytes()


def test_the_time_of_files_can_be_given(stock: Path, ours: Path, tmp_path: Path) -> None:
    later = repack(stock, tmp_path / "later", epoch=EARLIEST + 86400 * 366 + 7 * 3600 + 8 * 60 + 10)
    with zipfile.ZipFile(later) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1981, 1, 1, 7, 8, 10)}
    assert repack(stock, tmp_path / "early", epoch=0).read_bytes() == ours.read_bytes()
    contents(repack(stock, tmp_path / "late", epoch=1 << 40))


def test_the_verdict_goes_into_the_provenance(ours: Path, tmp_path: Path) -> None:
    before = wheel.read(ours, cached=False)
    assert (before.version, before.release, before.march, before.fidelity) == (
        *("13.0.0+simd.v3", "13.0.0", "v3", "exact"),
    )
    assert before.provenance["verdict"] is None
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    after = wheel.with_verdict(before, {"ok": True}, into=tmp_path / "a")
    assert after.provenance["verdict"] == {"ok": True}
    assert wheel.read(after.path, cached=False).sha256 == after.sha256
    assert wheel.with_verdict(before, {"ok": True}, into=tmp_path / "b").sha256 == after.sha256
    again = wheel.with_verdict(after, {"ok": True}, into=tmp_path / "b")
    assert again.sha256 == after.sha256
    old, new = contents(ours), contents(after.path)
    assert {name for name in old if old[name] != new[name]} == {
        "pillow-13.0.0+simd.v3.dist-info/simdinstall.json",
        "pillow-13.0.0+simd.v3.dist-info/RECORD",
    }
    with WheelFile.open(after.path) as source:
        source.validate_record()


def test_the_sbom_names_sources_and_patches(ours: Path) -> None:
    sbom = json.loads(contents(ours)["pillow-13.0.0+simd.v3.dist-info/sboms/simdinstall.cdx.json"])
    assert (sbom["bomFormat"], sbom["specVersion"]) == ("CycloneDX", "1.6")
    components = {component["name"]: component for component in sbom["components"]}
    assert components["pillow-simd"]["hashes"] == [{"alg": "SHA-256", "content": "1" * 64}]
    assert components["pillow"]["version"] == "13.0.0"
    assert "one " + "2" * 64 in components["libpillow_simd"]["pedigree"]["notes"]
    references = {component["bom-ref"] for component in sbom["components"]}
    references.add(sbom["metadata"]["component"]["bom-ref"])
    for dependency in sbom["dependencies"]:
        assert {dependency["ref"], *dependency["dependsOn"]} <= references


def test_without_pillow_simd_the_sbom_does_not_name_it(stock: Path, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    made = wheel.repack(
        wheel.read_official(stock),
        march="portable",
        library=b"",
        loader=b"",
        trace=b"",
        provenance={**PROVENANCE, "pillow_simd": None},
        into=tmp_path / "own",
    )
    sbom = contents(made)["pillow-13.0.0+simd.portable.dist-info/sboms/simdinstall.cdx.json"]
    assert b"pillow-simd" not in sbom


@pytest.mark.parametrize(
    ("march", "version"),
    [
        ("v3", "13.0.0+simd.v3"),
        ("skylake-avx512", "13.0.0+simd.skylake.avx512"),
        ("Zen_4", "13.0.0+simd.zen.4"),
    ],
)
def test_versions_follow_pep_440(march: str, version: str) -> None:
    assert wheel.local_version("13.0.0", march) == version
    assert str(Version(version)) == version
    assert Version(version) in SpecifierSet("==13.0.0")


@pytest.mark.parametrize("suffix", ["cpython-312-x86_64-linux-musl", "cpython-313-aarch64-linux-gnu", "abi3"])
def test_extensions_of_every_target(tmp_path: Path, suffix: str) -> None:
    content = {f"PIL/_imaging.{suffix}.so": b"stock", "PIL/__init__.py": b""}
    after = contents(repack(official(tmp_path, content), tmp_path / "ours"))
    assert after[f"PIL/_imaging.{suffix}.so"] == b"loader"
    assert after["PIL/_imaging_stock.so"] == b"stock"
    assert wheel.extension(official(tmp_path / "again", content)) == (f"PIL/_imaging.{suffix}.so", b"stock")


def test_wheels_that_cannot_be_fronted_are_refused(tmp_path: Path, ours: Path) -> None:
    two = {**CONTENT, "PIL/_imaging.abi3.so": b""}
    none = {name: data for name, data in CONTENT.items() if name != EXTENSION}
    for folder, content, why in (("two", two, "2 files PIL"), ("none", none, "0 files PIL")):
        path = official(tmp_path / folder, content)
        for read in (wheel.read_official, wheel.extension):
            with pytest.raises(BuildError, match="cannot be used") as caught:
                read(path)
            assert why in caught.value.why
    with pytest.raises(BuildError) as caught:
        wheel.read_official(ours)
    assert "already" in caught.value.why
    assert caught.value.hint


def test_a_wheel_that_contradicts_its_record_is_refused(stock: Path) -> None:
    rewrite(stock, contents(stock) | {"PIL/__init__.py": b"import os\n"}, record=False)
    with pytest.raises(BuildError) as caught:
        wheel.read_official(stock)
    assert "PIL/__init__.py is not what its RECORD says" in caught.value.why


@pytest.mark.parametrize("name", ["../evil.py", "/etc/evil", "PIL/../../evil", "PIL\\evil"])
def test_a_wheel_that_climbs_out_is_refused(stock: Path, name: str) -> None:
    rewrite(stock, {**contents(stock), name: b""})
    with pytest.raises(BuildError) as caught:
        wheel.read_official(stock)
    assert "outside" in caught.value.why


def test_damaged_wheels_are_refused(stock: Path, tmp_path: Path) -> None:
    whole = stock.read_bytes()
    flipped = bytearray(whole)
    flipped[200] ^= 0xFF
    lying = bytearray(whole)
    # The size of the first member, as the central directory claims it.
    struct.pack_into("<L", lying, whole.index(b"PK\x01\x02") + 24, 1 << 30)
    for number, content in enumerate(
        [whole[:-40], whole[: len(whole) // 2], b"", bytes(flipped), bytes(lying)]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = folder / stock.name
        path.write_bytes(content)
        with pytest.raises(BuildError):
            wheel.read_official(path)


def test_encrypted_and_strangely_packed_members_are_refused(stock: Path) -> None:
    with zipfile.ZipFile(stock, "a", zipfile.ZIP_LZMA) as archive:
        archive.writestr("PIL/strange", b"x" * 100)
    with pytest.raises(BuildError) as caught:
        wheel.read_official(stock)
    assert "strange" in caught.value.why


def test_only_our_wheels_have_provenance(stock: Path) -> None:
    with pytest.raises(BuildError) as caught:
        wheel.read_provenance(stock)
    assert "no build of simdinstall" in caught.value.why


def test_another_project_is_refused(tmp_path: Path) -> None:
    path = official(tmp_path)
    other = path.rename(path.with_name(path.name.replace("pillow-", "willow-")))
    with pytest.raises(BuildError) as caught:
        wheel.read_official(other)
    assert "wheel of willow" in caught.value.why


def test_metadata_without_that_version_is_refused(stock: Path, tmp_path: Path) -> None:
    other = stock.rename(stock.with_name(stock.name.replace("13.0.0", "13.0.1")))
    with pytest.raises(BuildError, match="cannot be repacked"):
        repack(other, tmp_path / "ours")
