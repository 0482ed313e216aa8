"""conda's records: what clobbers what, and what goes when Pillow is taken out."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

import small_pillow
from simdinstall import conda
from simdinstall.environment import Environment, State, inspect, require_supported
from simdinstall.errors import TargetError


def record(prefix: Path, name: str, version: str, files: list[str]) -> Path:
    """What conda writes of a package whose files are there."""
    paths = [
        {"_path": file, "sha256": hashlib.sha256((prefix / file).read_bytes()).hexdigest()} for file in files
    ]
    content = {
        "name": name,
        "version": version,
        "build": "h0_0",
        "files": files,
        "paths_data": {"paths": paths},
    }
    path = prefix / "conda-meta" / f"{name}-{version}-h0_0.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def below(prefix: Path, folder: Path) -> list[str]:
    return sorted(str(path.relative_to(prefix)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A conda environment with its Pillow."""
    prefix = tmp_path / "env"
    site = small_pillow.make_venv(prefix)
    info = small_pillow.install(site, installer="conda")
    (prefix / "share").mkdir()
    (prefix / "share" / "pillow.txt").write_text("of the package")
    files = [*below(prefix, site / "PIL"), *below(prefix, info), "share/pillow.txt"]
    record(prefix, "pillow", "12.3.0", files)
    return site


def look(site: Path) -> Environment:
    return inspect(site.parents[2], environ={}, proc=Path("/nowhere"))


def test_condas_own_is_whole(site: Path) -> None:
    env = look(site)
    assert env.state == State.CONDA
    assert conda.findings(env) == ()
    (package,) = conda.packages(env.prefix)
    assert (str(package), package.build) == ("pillow 12.3.0", "h0_0")
    with pytest.raises(TargetError, match="conda environment"):
        require_supported(env)


def test_pip_over_conda(site: Path) -> None:
    for path in (site / "pillow-12.3.0.dist-info").iterdir():
        path.unlink()
    (site / "pillow-12.3.0.dist-info").rmdir()
    small_pillow.install(site, version="13.0.0")
    (finding,) = conda.findings(look(site))
    assert finding.code == "conda-clobber"
    assert "were overwritten by pillow 13.0.0 from pip" in finding.text


def test_pip_took_condas_files_away(site: Path) -> None:
    (site / "PIL" / "Image.py").unlink()
    (finding,) = conda.findings(look(site))
    assert "1 files of conda's pillow 12.3.0 are gone" in finding.text


def test_jpeg_and_libjpeg_turbo(site: Path) -> None:
    prefix = site.parents[2]
    library = prefix / "lib" / "libjpeg.so"
    library.write_bytes(b"x")
    record(prefix, "jpeg", "9e", ["lib/libjpeg.so"])
    assert conda.findings(look(site)) == ()
    record(prefix, "libjpeg-turbo", "3.1.0", ["lib/libjpeg.so"])
    (finding,) = conda.findings(look(site))
    assert finding.code == "conda-libraries"
    assert "jpeg 9e and libjpeg-turbo 3.1.0 both own 1 files (lib/libjpeg.so)" in finding.text
    assert "whichever was linked last" in finding.text


def test_what_rattler_put_aside(site: Path) -> None:
    """As py-rattler 0.28 records a file that another package's was already in the place of."""
    prefix = site.parents[2]
    aside = prefix / "__clobbers__" / "libjpeg-turbo" / "lib"
    aside.mkdir(parents=True)
    for library in (prefix / "lib" / "libjpeg.so", aside / "libjpeg.so"):
        library.write_bytes(b"x")
    record(prefix, "jpeg", "9e", ["lib/libjpeg.so"])
    path = record(prefix, "libjpeg-turbo", "3.1.0", ["__clobbers__/libjpeg-turbo/lib/libjpeg.so"])
    content = json.loads(path.read_text())
    content["paths_data"] = {"paths": [{"_path": content["files"][0], "original_path": "lib/libjpeg.so"}]}
    path.write_text(json.dumps(content))
    (finding,) = conda.findings(look(site))
    assert "(lib/libjpeg.so): that of jpeg 9e is there" in finding.text


def test_pips_jpeg_matters_only_with_files_of_pillows(site: Path) -> None:
    small_pillow.install(site, "jpeg", "9", content={"jpeg.py": b""})
    assert conda.findings(look(site)) == ()
    small_pillow.install(site, "libtiff", "4", content={"pillow.libs/libtiff.so": b"x"})
    assert "libtiff 4 from pip owns files of Pillow's" in conda.findings(look(site))[-1].text


def test_taking_condas_pillow_out(site: Path) -> None:
    prefix = site.parents[2]
    shared = prefix / "lib" / "libtiff.so"
    shared.write_bytes(b"x")
    record(prefix, "libtiff", "4.7", ["lib/libtiff.so"])
    env = conda.released(look(site))
    require_supported(env)
    assert env.state == State.STOCK
    assert prefix / "conda-meta" / "pillow-12.3.0-h0_0.json" in env.leftovers
    assert prefix / "share" / "pillow.txt" in env.leftovers
    assert shared not in env.leftovers
    assert conda.removed(env) == ("pillow 12.3.0 (h0_0)",)


def test_damaged_records_are_passed_over(site: Path) -> None:
    (site.parents[2] / "conda-meta" / "jpeg-1-0.json").write_text("{")
    assert len(conda.packages(site.parents[2])) == 1
