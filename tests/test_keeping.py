"""The commands that look and keep, as a shell sees them: doctor, status --check, hold, upgrade, docker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import small_pillow
from test_cli import simdinstall


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    """A cache of its own, and indexes that are not there."""
    return {
        "SIMDINSTALL_CACHE_DIR": str(tmp_path / "cache"),
        "SIMDINSTALL_OFFLINE": "1",
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_NO_INDEX": "1",
        "COLUMNS": "200",
    }


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return small_pillow.make_venv(tmp_path / "env")


def ours(site: Path) -> None:
    provenance = json.dumps({"march": {"name": "v3", "level": "x86-64-v3"}, "fidelity": "exact"})
    extra = {"simdinstall.json": provenance.encode(), "WHEEL": b"Tag: py3-none-any\n"}
    small_pillow.install(site, version="13.0.0+simd.v3", extra=extra, installer="simdinstall")


def test_doctor(site: Path, variables: dict[str, str]) -> None:
    empty = simdinstall("doctor", "--python", site.parents[2], variables=variables)
    assert (empty.returncode, empty.stderr) == (1, "")
    assert "there is no Pillow here" in empty.stdout
    small_pillow.install(site)
    small_pillow.install(site, "pillow-simd", "12.1.1.post0")
    done = simdinstall("doctor", "--json", "--python", site.parents[2], variables=variables)
    document = json.loads(done.stdout)
    assert done.returncode == document["exit_code"] == 2
    assert [finding["code"] for finding in document["findings"] if finding["severity"] == "broken"]
    refused = simdinstall("doctor", "--fix", "--python", site.parents[2], variables=variables)
    assert refused.returncode == 2
    assert "--yes" in refused.stderr


def test_doctor_asks_for_a_cpu_that_is_one(site: Path, variables: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "node.json").write_text("{}")
    words = ("doctor", "--python", site.parents[2], "--cpu", tmp_path / "node.json")
    assert simdinstall(*words, variables=variables).returncode == 3


def test_doctor_says_whether_another_machine_could_run_it(
    site: Path, variables: dict[str, str], tmp_path: Path
) -> None:
    """The build names the flags that it was compiled with; the files are what `cpu --json` prints."""
    flags = b"GNU C17 14.2.1 -mavx2 -mtune=generic -march=x86-64 -O3\0"
    core = f"PIL/_imaging{small_pillow.SUFFIX}"
    files = small_pillow.files("13.0.0")
    small_pillow.install(site, version="13.0.0", content={**files, core: files[core] + flags})
    paths = []
    for name, level in (("old", "x86-64-v2"), ("new", "x86-64-v4")):
        seen = simdinstall("cpu", "--json", "--cpu", level, variables=variables)
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(seen.stdout)
    words = [word for path in paths for word in ("--cpu", path)]
    done = simdinstall("doctor", "--json", *words, "--python", site.parents[2], variables=variables)
    found = [f for f in json.loads(done.stdout)["findings"] if f["code"] == "cpu-other"]
    assert [finding["what"] for finding in found] == ["this build cannot run on old"]


def test_report(site: Path, variables: dict[str, str]) -> None:
    small_pillow.install(site)
    index = {"PIP_EXTRA_INDEX_URL": "https://me:secret@index.example/"}
    done = simdinstall("report", "--python", site.parents[2], variables=variables | index)
    assert done.returncode == 0
    assert "[import-fails]" in done.stdout or "[no-kernels]" in done.stdout
    assert "secret" not in done.stdout


def test_status_check(site: Path, variables: dict[str, str]) -> None:
    words = ("status", "--check", "--json", "--python", site.parents[2])
    small_pillow.install(site)
    done = simdinstall(*words, variables=variables)
    assert done.returncode == 1
    assert json.loads(done.stdout)["amiss"] == "pillow 12.3.0 is there"
    assert simdinstall(*words[:1], *words[2:], variables=variables).returncode == 0


def test_hold(site: Path, variables: dict[str, str]) -> None:
    small_pillow.install(site)
    refused = simdinstall("hold", "--python", site.parents[2], variables=variables)
    assert refused.returncode == 4
    assert "not a build of simdinstall" in refused.stderr
    for path in (site / "pillow-12.3.0.dist-info").iterdir():
        path.unlink()
    (site / "pillow-12.3.0.dist-info").rmdir()
    ours(site)
    words = ("hold", "--json", "--python", site.parents[2])
    held = json.loads(simdinstall(*words, variables=variables).stdout)
    assert [one["tool"] for one in held["held"]] == ["pip"]
    assert (site.parents[2] / "pip.conf").is_file()
    removed = json.loads(simdinstall(*words, "--remove", variables=variables).stdout)
    assert len(removed["removed"]) == 2
    assert not (site.parents[2] / "pip.conf").exists()


def test_upgrade_is_for_builds_of_ours(site: Path, variables: dict[str, str]) -> None:
    small_pillow.install(site)
    done = simdinstall("upgrade", "--check", "--python", site.parents[2], variables=variables)
    assert done.returncode == 4
    assert "not a build of simdinstall" in done.stderr


def test_docker(variables: dict[str, str]) -> None:
    done = simdinstall("docker", "--image", "python:3.12-slim", variables=variables)
    assert done.returncode == 0
    assert done.stdout.count("FROM python:3.12-slim") == 2


def test_conda_is_for_conda(site: Path, variables: dict[str, str]) -> None:
    done = simdinstall("--conda", "--yes", "--python", site.parents[2], variables=variables)
    assert done.returncode == 4
    assert "no conda environment" in done.stderr
