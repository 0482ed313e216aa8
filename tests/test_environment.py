from __future__ import annotations

import json
import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

import small_pillow
from simdinstall.environment import Environment, State, inspect, require_supported
from simdinstall.errors import TargetError
from simdinstall.run import Completed, run
from small_pillow import SUFFIX, install, make_venv

BASE_PYTHON = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    return tmp_path / "venv"


@pytest.fixture
def site(prefix: Path) -> Path:
    return make_venv(prefix)


def look(prefix: Path, **variables: str) -> Environment:
    return inspect(prefix, environ={"PATH": os.environ["PATH"], **variables})


def codes(env: Environment) -> list[str]:
    return [finding.code for finding in env.findings]


def refusal(env: Environment) -> TargetError:
    with pytest.raises(TargetError) as caught:
        require_supported(env)
    assert caught.value.why
    assert caught.value.hint
    return caught.value


# What is there ------------------------------------------------------------------------


def test_an_empty_venv(prefix: Path, site: Path) -> None:
    env = look(prefix)
    assert env.state == State.NONE
    assert env.python == prefix / "bin" / "python"
    assert env.version == tuple(sys.version_info[:3])
    assert env.implementation == "cpython"
    assert (env.prefix, env.base_prefix) == (prefix, Path(sys.base_prefix))
    assert env.site == site
    assert (env.scope, env.kind) == ("venv", "venv")
    assert env.writable
    assert not env.has_pip
    assert not env.externally_managed
    assert env.owners == ()
    assert env.findings == ()
    assert env.pil_path is None
    assert env.tags[0].startswith(f"cp3{sys.version_info[1]}-cp3{sys.version_info[1]}")
    require_supported(env)


def test_stock(prefix: Path, site: Path) -> None:
    location = install(site, "pillow", "12.3.0", content=small_pillow.files("12.3.0"))
    env = look(prefix)
    assert env.state == State.STOCK
    assert env.pil_path == site / "PIL"
    assert env.pil_version == "12.3.0"
    assert env.findings == ()
    (owner,) = env.owners
    assert (owner.name, owner.version, owner.location) == ("pillow", "12.3.0", location)
    assert (owner.installer, owner.has_record, owner.editable) == ("pip", True, False)
    assert owner.in_target
    assert owner.conflicts
    assert "PIL/Image.py" in owner.files
    assert env.replaced == (owner,)
    require_supported(env)


@pytest.mark.parametrize("name", ["pillow-simd", "Pillow-SIMD", "pillow-simd-avx2", "pillow-allsimd"])
def test_pillow_simd_under_its_names(prefix: Path, site: Path, name: str) -> None:
    install(site, name, "12.1.1.post0")
    env = look(prefix)
    assert env.state == State.SIMD
    assert env.findings == ()


def test_ours_needs_label_and_provenance(prefix: Path, site: Path) -> None:
    dist = install(site, version="13.0.0+simd.v3", extra={"simdinstall.json": b"{}"}, installer="simdinstall")
    assert look(prefix).state == State.OURS
    assert look(prefix).findings == ()
    (dist / "simdinstall.json").unlink()
    assert look(prefix).state == State.STOCK


def test_provenance_without_the_label_is_not_ours(prefix: Path, site: Path) -> None:
    install(site, version="13.0.0+other.1", extra={"simdinstall.json": b"{}"})
    assert look(prefix).state == State.STOCK


def test_core_of_ours_is_behind_a_loader(prefix: Path, site: Path) -> None:
    content = small_pillow.files("13.0.0") | {
        f"PIL/_imaging{SUFFIX}": b"\x7fELF loader",
        "PIL/_imaging_stock.so": small_pillow.core("12.3.0"),
    }
    install(site, version="13.0.0+simd.v3", content=content, extra={"simdinstall.json": b"{}"})
    env = look(prefix)
    assert env.state == State.BROKEN
    assert codes(env) == ["core-differs"]


def test_two_over_one_another(prefix: Path, site: Path) -> None:
    install(site, "pillow-simd", "12.1.1.post0")
    install(site, "pillow", "12.3.0")
    env = look(prefix)
    assert env.state == State.MIXED
    assert [owner.name for owner in env.replaced] == ["pillow", "pillow-simd"]
    assert [bool(owner.altered) for owner in env.owners] == [False, True]
    (finding,) = env.findings
    assert finding.code == "mixed"
    assert "the files are those of pillow 12.3.0" in finding.text
    assert "pillow-simd 12.1.1.post0: 4 files overwritten" in finding.text
    require_supported(env)


def test_two_of_the_same_size_are_told_apart_by_hash(prefix: Path, site: Path) -> None:
    install(site, "pillow", "12.3.0", content=small_pillow.files("12.3.0", mark="a"))
    install(site, "pillow-simd", "12.3.0", content=small_pillow.files("12.3.0", mark="b"))
    env = look(prefix)
    assert [len(owner.altered) for owner in env.owners] == [3, 0]
    assert "the files are those of pillow-simd" in env.problems[0]


def test_two_records_of_one_name(prefix: Path, site: Path) -> None:
    install(site, "pillow", "12.2.0")
    install(site, "pillow", "12.3.0")
    assert look(prefix).state == State.MIXED


def test_half_removed(prefix: Path, site: Path) -> None:
    install(site)
    (site / "PIL" / "Image.py").unlink()
    env = look(prefix)
    assert env.state == State.BROKEN
    assert codes(env) == ["files-missing"]
    assert env.owners[0].missing == ("PIL/Image.py",)


def test_only_the_record_is_left(prefix: Path, site: Path) -> None:
    install(site)
    for file in (site / "PIL").iterdir():
        file.unlink()
    (site / "PIL").rmdir()
    env = look(prefix)
    assert env.state == State.BROKEN
    assert codes(env) == ["files-missing", "package-missing"]
    assert env.pil_path is None
    assert env.pil_version is None


def test_a_namespace_is_left(prefix: Path, site: Path) -> None:
    install(site)
    (site / "PIL" / "__init__.py").unlink()
    env = look(prefix)
    assert env.state == State.BROKEN
    assert "namespace" in codes(env)
    assert env.pil_path == site / "PIL"


def test_missing_byte_code_is_nothing(prefix: Path, site: Path) -> None:
    content = small_pillow.files("12.3.0") | {"PIL/__pycache__/Image.cpython-311.pyc": b"x"}
    install(site, content=content)
    (site / "PIL" / "__pycache__" / "Image.cpython-311.pyc").unlink()
    assert look(prefix).state == State.STOCK
    assert look(prefix).findings == ()


def test_byte_code_that_nobody_recorded_is_nothing(prefix: Path, site: Path) -> None:
    install(site)
    (site / "PIL" / "__pycache__").mkdir()
    (site / "PIL" / "__pycache__" / "Image.cpython-311.pyc").write_bytes(b"x")
    assert look(prefix).findings == ()


def test_an_altered_file_is_told(prefix: Path, site: Path) -> None:
    install(site)
    (site / "PIL" / "Image.py").write_text("changed by hand, and longer than before")
    env = look(prefix)
    assert env.state == State.STOCK
    assert codes(env) == ["files-altered"]
    assert env.owners[0].altered == ("PIL/Image.py",)


def test_no_record(prefix: Path, site: Path) -> None:
    (install(site) / "RECORD").unlink()
    env = look(prefix)
    assert env.state == State.STOCK
    assert codes(env) == ["record-missing"]
    assert not env.owners[0].has_record
    assert env.owners[0].files == ()
    assert env.leftovers == ()


def test_a_husk_without_metadata(prefix: Path, site: Path) -> None:
    (install(site) / "METADATA").unlink()
    env = look(prefix)
    assert env.state == State.BROKEN
    assert codes(env) == ["metadata-missing"]
    assert (env.owners[0].name, env.owners[0].version) == ("pillow", "12.3.0")


def test_an_empty_dist_info(prefix: Path, site: Path) -> None:
    (site / "pillow_simd-12.1.1.post0.dist-info").mkdir()
    env = look(prefix)
    assert env.state == State.BROKEN
    assert codes(env) == ["metadata-missing", "record-missing", "package-missing"]
    assert str(env.owners[0]) == "pillow_simd 12.1.1.post0"


def test_a_husk_beside_a_whole_one(prefix: Path, site: Path) -> None:
    install(site, "pillow", "12.3.0")
    (site / "pillow-11.0.0.dist-info").mkdir()
    env = look(prefix)
    assert env.state == State.MIXED
    assert {owner.version for owner in env.replaced} == {"11.0.0", "12.3.0"}


def test_unowned(prefix: Path, site: Path) -> None:
    install(site)
    for file in (site / "pillow-12.3.0.dist-info").iterdir():
        file.unlink()
    (site / "pillow-12.3.0.dist-info").rmdir()
    (site / "pillow.libs").mkdir()
    env = look(prefix)
    assert env.state == State.UNOWNED
    assert codes(env) == ["unowned", "leftovers"]
    assert set(env.leftovers) == {site / "PIL", site / "pillow.libs"}
    assert env.pil_version == "12.3.0"
    require_supported(env)


def test_an_empty_remnant(prefix: Path, site: Path) -> None:
    (site / "PIL" / "__pycache__").mkdir(parents=True)
    (site / "PIL" / "__pycache__" / "Image.cpython-311.pyc").write_bytes(b"x")
    env = look(prefix)
    assert env.state == State.UNOWNED
    assert env.leftovers == (site / "PIL",)
    assert "empty remnant" in env.problems[0]


@pytest.mark.parametrize(
    "name", ["~illow", "~-llow", "~IL", "~illow-12.3.0.dist-info", "~illow.libs", "~~=low_simd-9.0.dist-info"]
)
def test_leftovers_of_an_interrupted_pip(prefix: Path, site: Path, name: str) -> None:
    (site / name).mkdir()
    env = look(prefix)
    assert env.state == State.NONE
    assert env.owners == ()
    assert env.leftovers == (site / name,)
    assert codes(env) == ["leftovers"]


def test_a_leftover_with_all_its_files_owns_nothing(prefix: Path, site: Path) -> None:
    dist = install(site)
    dist.rename(site / "~illow-12.3.0.dist-info")
    env = look(prefix)
    assert env.owners == ()
    assert env.state == State.UNOWNED
    assert set(env.leftovers) == {site / "PIL", site / "~illow-12.3.0.dist-info"}


@pytest.mark.parametrize("name", ["~umpy", "~ip-23.0.dist-info", "~yellow", "willow", "~illow_heif", "low"])
def test_leftovers_of_others_are_not_ours(prefix: Path, site: Path, name: str) -> None:
    (site / name).mkdir()
    assert look(prefix).leftovers == ()


def test_strays_in_a_whole_pillow(prefix: Path, site: Path) -> None:
    install(site)
    (site / "PIL" / "OldPlugin.py").write_text("")
    env = look(prefix)
    assert env.state == State.STOCK
    assert codes(env) == ["strays"]


def test_core_and_python_versions_differ(prefix: Path, site: Path) -> None:
    content = small_pillow.files("12.3.0") | {f"PIL/_imaging{SUFFIX}": small_pillow.core("12.2.0")}
    install(site, content=content)
    env = look(prefix)
    assert env.state == State.BROKEN
    assert codes(env) == ["core-differs"]
    assert "12.3.0" in env.problems[0]
    assert "12.2.0" in env.problems[0]


def test_a_core_that_lays_its_strings_otherwise(prefix: Path, site: Path) -> None:
    # Another linker: the version is there, and something else stands before the name.
    core = b"\x7fELF\0" + b"12.3.0\0" + b"3.1.4\0PILLOW_VERSION\0"
    install(site, content=small_pillow.files("12.3.0") | {f"PIL/_imaging{SUFFIX}": core})
    assert look(prefix).state == State.STOCK


def test_a_longer_number_is_not_the_version(prefix: Path, site: Path) -> None:
    core = b"\x7fELF\x00112.3.0\x0012.2.0\0PILLOW_VERSION\0"
    install(site, content=small_pillow.files("12.3.0") | {f"PIL/_imaging{SUFFIX}": core})
    assert codes(look(prefix)) == ["core-differs"]


def test_core_for_another_python(prefix: Path, site: Path) -> None:
    install(site, content=small_pillow.files("12.3.0", suffix=".cpython-39-x86_64-linux-gnu.so"))
    env = look(prefix)
    assert env.state == State.BROKEN
    assert codes(env) == ["core-missing"]
    assert "cpython-39" in env.problems[0]


def test_record_of_another_version(prefix: Path, site: Path) -> None:
    install(site, version="12.3.0", content=small_pillow.files("12.2.0"))
    env = look(prefix)
    assert codes(env) == ["version-differs"]
    assert env.pil_version == "12.2.0"


# Older ways of installing ---------------------------------------------------------------


def test_editable(prefix: Path, site: Path, tmp_path: Path) -> None:
    source = tmp_path / "checkout"
    (source / "src" / "PIL").mkdir(parents=True)
    (source / "src" / "PIL" / "__init__.py").write_text("")
    url = {"url": source.as_uri(), "dir_info": {"editable": True}}
    dist = install(
        site,
        content={"__editable__.pillow-12.3.0.pth": f"{source / 'src'}\n".encode()},
        extra={"direct_url.json": json.dumps(url).encode()},
    )
    env = look(prefix)
    assert env.state == State.EDITABLE
    assert env.owners[0].location == dist
    assert env.owners[0].direct_url == source.as_uri()
    assert env.pil_path == source / "src" / "PIL"
    error = refusal(env)
    assert "editable" in str(error)
    assert source.as_uri() in error.why


@pytest.mark.parametrize("info", [{"archive_info": {}}, {"dir_info": {}}, {"dir_info": {"editable": False}}])
def test_a_local_wheel_or_folder_is_not_editable(prefix: Path, site: Path, info: dict[str, object]) -> None:
    url = {"url": "file:///x/pillow", **info}
    install(site, extra={"direct_url.json": json.dumps(url).encode()})
    env = look(prefix)
    assert env.state == State.STOCK
    assert env.owners[0].direct_url == "file:///x/pillow"


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b'{"url": 3, "dir_info": 4}'])
def test_a_damaged_direct_url(prefix: Path, site: Path, text: bytes) -> None:
    install(site, extra={"direct_url.json": text})
    assert look(prefix).owners[0].direct_url is None


def develop(source: Path) -> Path:
    (source / "src" / "PIL").mkdir(parents=True)
    (source / "setup.py").write_text("")
    (source / "src" / "PIL" / "__init__.py").write_text("")
    info = source / "src" / "Pillow.egg-info"
    info.mkdir()
    (info / "PKG-INFO").write_bytes(small_pillow.metadata("Pillow", "9.0.0.dev0"))
    return source / "src"


def test_setup_py_develop(prefix: Path, site: Path, tmp_path: Path) -> None:
    source = develop(tmp_path / "checkout")
    (site / "Pillow.egg-link").write_text(f"{source}\n../")
    (site / "easy-install.pth").write_text(f"{source}\n")
    env = look(prefix)
    assert env.state == State.EDITABLE
    (owner,) = env.owners
    assert (owner.name, owner.version) == ("Pillow", "9.0.0.dev0")
    assert owner.location == site / "Pillow.egg-link"
    assert owner.direct_url == source.as_uri()
    refusal(env)


def test_a_source_tree_on_the_path(prefix: Path, site: Path, tmp_path: Path) -> None:
    source = develop(tmp_path / "checkout")
    (site / "mine.pth").write_text(f"{source}\n")
    env = look(prefix)
    assert env.state == State.EDITABLE
    assert env.replaced == ()
    assert str(source) in refusal(env).why


def test_an_egg(prefix: Path, site: Path) -> None:
    egg = site / f"Pillow_SIMD-9.0.0.post1-py3.{sys.version_info[1]}-linux-x86_64.egg"
    (egg / "EGG-INFO").mkdir(parents=True)
    (egg / "EGG-INFO" / "PKG-INFO").write_bytes(small_pillow.metadata("Pillow-SIMD", "9.0.0.post1"))
    (egg / "PIL").mkdir()
    (egg / "PIL" / "__init__.py").write_text("")
    (site / "easy-install.pth").write_text(f"./{egg.name}\n")
    env = look(prefix)
    assert env.state == State.SIMD
    (owner,) = env.owners
    assert (owner.name, owner.version, owner.site) == ("Pillow-SIMD", "9.0.0.post1", site)
    assert set(owner.files) == {f"{egg.name}/EGG-INFO/PKG-INFO", f"{egg.name}/PIL/__init__.py"}
    assert env.replaced == (owner,)


def test_an_egg_info_with_its_list(prefix: Path, site: Path) -> None:
    for path, data in small_pillow.files("8.0.0").items():
        (site / path).parent.mkdir(exist_ok=True)
        (site / path).write_bytes(data)
    info = site / f"Pillow-8.0.0-py3.{sys.version_info[1]}.egg-info"
    info.mkdir()
    (info / "PKG-INFO").write_bytes(small_pillow.metadata("Pillow", "8.0.0"))
    lines = [f"../{path}" for path in small_pillow.files("8.0.0")] + ["PKG-INFO", "../PIL/Gone.py"]
    (info / "installed-files.txt").write_text("\n".join(lines))
    env = look(prefix)
    (owner,) = env.owners
    assert (owner.version, owner.has_record) == ("8.0.0", True)
    assert "PIL/Image.py" in owner.files
    assert f"{info.name}/PKG-INFO" in owner.files
    assert owner.missing == ("PIL/Gone.py",)
    assert env.state == State.BROKEN


def test_the_egg_info_file_of_distutils(prefix: Path, site: Path) -> None:
    (site / "PIL-1.1.7-py2.7.egg-info").write_bytes(small_pillow.metadata("PIL", "1.1.7"))
    env = look(prefix)
    assert [(owner.name, owner.version) for owner in env.owners] == [("PIL", "1.1.7")]
    assert env.state == State.BROKEN


# Others in Pillow's folders ---------------------------------------------------------------


def test_a_plugin_stays(prefix: Path, site: Path) -> None:
    install(site)
    install(site, "acme-plugin", "1.0", content={"PIL/AcmeImagePlugin.py": b""})
    env = look(prefix)
    assert env.state == State.STOCK
    assert [owner.name for owner in env.owners] == ["acme-plugin", "pillow"]
    assert [owner.name for owner in env.replaced] == ["pillow"]
    assert codes(env) == ["plugin"]
    require_supported(env)


def test_a_distribution_that_brings_a_pil_beside_other_things(prefix: Path, site: Path) -> None:
    content = small_pillow.files("12.3.0") | {"acme/__init__.py": b""}
    install(site, "acme-suite", "1.0", content=content)
    env = look(prefix)
    assert [owner.name for owner in env.replaced] == ["acme-suite"]
    assert "acme-suite 1.0" in str(refusal(env))


def test_a_fork_under_another_name_is_replaced(prefix: Path, site: Path) -> None:
    install(site, "pil-fork", "12.3.0", content=small_pillow.files("12.3.0"))
    env = look(prefix)
    assert [owner.name for owner in env.replaced] == ["pil-fork"]
    require_supported(env)


@pytest.mark.parametrize("name", ["jpeg", "libtiff"])
def test_libraries_conflict_only_over_pillows_files(prefix: Path, site: Path, name: str) -> None:
    install(site)
    install(site, name, "9.0", content={f"{name}/lib{name}.so": b"x"})
    env = look(prefix)
    assert [owner.name for owner in env.owners] == ["pillow"]
    install(site, name, "9.1", content={f"pillow.libs/lib{name}.so.62": b"x"})
    assert [owner.name for owner in look(prefix).replaced] == sorted([name, "pillow"])


def test_dependents_of_pillow_are_nobodys_business(prefix: Path, site: Path) -> None:
    install(site, "pillow-heif", "1.0", content={"pillow_heif/__init__.py": b""})
    install(site, "pillowfort", "1.0", content={"pillowfort/__init__.py": b"# PIL/"})
    env = look(prefix)
    assert env.owners == ()
    assert env.state == State.NONE


# Where it goes --------------------------------------------------------------------------


def test_user_site(tmp_path: Path) -> None:
    series = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    user = tmp_path / "lib" / series / "site-packages"
    user.mkdir(parents=True)
    install(user, "pillow-simd", "12.1.1.post0")
    env = inspect(BASE_PYTHON, environ={"PATH": os.environ["PATH"], "PYTHONUSERBASE": str(tmp_path)})
    assert (env.scope, env.kind) == ("user", "system")
    assert env.site == user
    assert env.state == State.SIMD
    assert env.pil_path == user / "PIL"
    assert [owner.in_target for owner in env.owners if owner.site == user] == [True]


def test_a_user_site_that_is_yet_to_be_made(reachable: Path) -> None:
    # The system's site may not be written to; its Pillow is there and stays.
    lib = reachable / "usr" / "lib" / "python3.12"
    install(lib / "site-packages", "pillow", "12.2.0")
    user = reachable / "home" / "site-packages"
    answer = small_pillow.answer(
        reachable / "usr",
        user_site=str(user),
        user_site_enabled=True,
        pil={
            "origin": str(lib / "site-packages" / "PIL" / "__init__.py"),
            "folders": [str(lib / "site-packages" / "PIL")],
        },
    )
    python = small_pillow.script_python(reachable / "python3", answer)
    (lib / "site-packages").chmod(0o555)
    if os.geteuid() == 0:
        os.chown(reachable, 65534, -1)
    with unprivileged():
        env = inspect(python)
    (lib / "site-packages").chmod(0o755)
    assert (env.scope, env.site) == ("user", user)
    assert env.state == State.NONE
    assert env.pil_version == "12.2.0"
    assert env.shadowed_by is None
    assert env.writable
    assert codes(env) == ["outside"]
    assert env.replaced == ()


def test_an_unowned_pil_in_the_user_site(tmp_path: Path) -> None:
    series = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    package = tmp_path / "lib" / series / "site-packages" / "PIL"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    env = inspect(BASE_PYTHON, environ={"PATH": os.environ["PATH"], "PYTHONUSERBASE": str(tmp_path)})
    assert (env.scope, env.state) == ("user", State.UNOWNED)
    assert env.leftovers == (package,)


def test_user_site_that_is_switched_off(tmp_path: Path) -> None:
    series = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    user = tmp_path / "lib" / series / "site-packages"
    user.mkdir(parents=True)
    install(user, "pillow-simd", "12.1.1.post0")
    variables = {"PATH": os.environ["PATH"], "PYTHONUSERBASE": str(tmp_path), "PYTHONNOUSERSITE": "1"}
    env = inspect(BASE_PYTHON, environ=variables)
    assert env.scope == "system"
    assert all(owner.site != user for owner in env.owners)


def test_a_venv_lies_over_the_systems_pillow(tmp_path: Path) -> None:
    # The user's site stands for the system's: a venv that sees outer packages sees both.
    user = tmp_path / "user" / "lib" / f"python3.{sys.version_info[1]}" / "site-packages"
    user.mkdir(parents=True)
    install(user, "pillow", "12.2.0")
    prefix = tmp_path / "venv"
    site = make_venv(prefix, system_site=True)
    env = look(prefix, PYTHONUSERBASE=str(tmp_path / "user"))
    assert env.scope == "venv"
    assert env.site == site
    assert env.state == State.NONE
    assert env.pil_path == user / "PIL"
    assert env.pil_version == "12.2.0"
    assert [owner.in_target for owner in env.owners if owner.site == user] == [False]
    assert env.replaced == ()
    assert "outside" in codes(env)
    require_supported(env)
    install(site, "pillow", "12.3.0")
    env = look(prefix, PYTHONUSERBASE=str(tmp_path / "user"))
    assert env.state == State.STOCK
    assert env.pil_version == "12.3.0"
    assert [owner.version for owner in env.replaced] == ["12.3.0"]


def test_shadowed(prefix: Path, site: Path, tmp_path: Path) -> None:
    install(site)
    (tmp_path / "first" / "PIL").mkdir(parents=True)
    (tmp_path / "first" / "PIL" / "__init__.py").write_text("")
    (site / "first.pth").write_text(f"import sys; sys.path.insert(0, {str(tmp_path / 'first')!r})\n")
    env = look(prefix)
    assert env.shadowed_by == tmp_path / "first" / "PIL"
    assert "shadowed" in codes(env)
    assert "never be imported" in str(refusal(env))


def test_pythonpath_is_told_but_not_followed(prefix: Path, site: Path, tmp_path: Path) -> None:
    install(site)
    (tmp_path / "PIL").mkdir()
    env = look(prefix, PYTHONPATH=str(tmp_path))
    assert env.pil_path == site / "PIL"
    assert codes(env) == ["pythonpath"]


def test_noise_at_startup_does_no_harm(prefix: Path, site: Path) -> None:
    (site / "noise.pth").write_text("import sys; print('hello'); print('{}', file=sys.stderr)\n")
    (site / "broken.pth").write_text("import nothing_of_that_name\n")
    assert look(prefix).state == State.NONE


def test_nothing_is_written_or_imported(prefix: Path, site: Path) -> None:
    install(site)
    (site / "PIL" / "__init__.py").write_text("raise SystemExit('imported')")
    before = sorted(path for path in prefix.rglob("*"))
    look(prefix)
    assert sorted(path for path in prefix.rglob("*")) == before


# Kinds ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "kind"), [("pipx_metadata.json", "pipx"), ("uv-receipt.toml", "uv-tool"), (None, "venv")]
)
def test_kinds(prefix: Path, site: Path, file: str | None, kind: str) -> None:
    if file:
        (prefix / file).write_text("")
    assert look(prefix).kind == kind


@pytest.mark.parametrize("kind", ["uv", "virtualenv"])
def test_kinds_by_their_configuration(prefix: Path, site: Path, kind: str) -> None:
    with (prefix / "pyvenv.cfg").open("a") as config:
        config.write(f"{kind} = 0.13.8\n")
    assert look(prefix).kind == kind


def test_conda(tmp_path: Path) -> None:
    prefix = tmp_path / "conda"
    site = prefix / "lib" / "python3.12" / "site-packages"
    site.mkdir(parents=True)
    install(site, "pillow", "12.3.0", installer="conda")
    (prefix / "conda-meta").mkdir()
    meta = {"name": "pillow", "version": "12.3.0", "files": ["lib/python3.12/site-packages/PIL/Image.py"]}
    (prefix / "conda-meta" / "pillow-12.3.0-py312_0.json").write_text(json.dumps(meta))
    (prefix / "conda-meta" / "history").write_text("")
    python = small_pillow.script_python(prefix / "bin" / "python", small_pillow.answer(prefix))
    env = inspect(python)
    assert (env.kind, env.state) == ("conda", State.CONDA)
    assert (env.owners[0].managed_by, env.owners[0].package) == ("conda", "pillow-12.3.0")
    assert "conda environment" in str(refusal(env))


def test_pillow_that_conda_does_not_know(tmp_path: Path) -> None:
    prefix = tmp_path / "conda"
    site = prefix / "lib" / "python3.12" / "site-packages"
    site.mkdir(parents=True)
    install(site, "pillow", "12.3.0", installer="conda")
    (prefix / "conda-meta").mkdir()
    python = small_pillow.script_python(prefix / "bin" / "python", small_pillow.answer(prefix))
    env = inspect(python)
    assert env.owners[0].managed_by == ""
    assert "conda-foreign" in codes(env)


def packaged(command: list[str | Path], output: str) -> Completed:
    return Completed(argv=tuple(map(str, command)), returncode=0, stdout=output, stderr="", cpu_seconds=0.0)


def test_the_package_managers_files(tmp_path: Path) -> None:
    prefix = tmp_path / "usr"
    lib = prefix / "lib" / "python3.12"
    dist = tmp_path / "usr" / "lib" / "python3" / "dist-packages"
    dist.mkdir(parents=True)
    install(dist, "pillow", "12.3.0", installer=None)
    answer = small_pillow.answer(
        prefix,
        path=[str(lib), str(lib / "site-packages"), str(dist)],
        pil={"origin": str(dist / "PIL" / "__init__.py"), "folders": [str(dist / "PIL")]},
    )
    python = small_pillow.script_python(prefix / "bin" / "python3", answer)
    asked = []

    def stand_in(argv: list[str | Path], **options: object) -> Completed:
        if argv[0] == python:
            return run(argv, **options)  # type: ignore[arg-type]
        asked.append(argv[0])
        return packaged(argv, f"python3-pil:amd64: {dist}/PIL/Image.py\n")

    env = inspect(python, run=stand_in)  # type: ignore[arg-type]
    if not asked:
        pytest.skip("there is no package manager here that could be asked")
    assert env.state == State.SYSTEM_PACKAGE
    assert not env.owners[0].in_target
    assert env.owners[0].managed_by == asked[0]
    assert "package manager" in str(refusal(env))
    assert "-m venv" in refusal(env).hint


def test_externally_managed_counts_outside_of_venvs_only(tmp_path: Path) -> None:
    prefix = tmp_path / "usr"
    lib = prefix / "lib" / "python3.12"
    lib.mkdir(parents=True)
    (lib / "EXTERNALLY-MANAGED").write_text("[externally-managed]\n")
    python = small_pillow.script_python(prefix / "bin" / "python3", small_pillow.answer(prefix))
    env = inspect(python)
    assert env.externally_managed
    error = refusal(env)
    assert "EXTERNALLY-MANAGED" in str(error)
    assert f"{prefix / 'bin' / 'python3'} -m venv --without-pip" in error.hint
    assert "simdinstall --python" in error.hint
    inner = small_pillow.answer(tmp_path / "venv", base_prefix=str(prefix), stdlib=str(lib))
    assert not inspect(small_pillow.script_python(tmp_path / "venv/bin/python", inner)).externally_managed


# Which Pythons ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": [2, 7, 18]}, "Python 2.7 is too old"),
        ({"version": [3, 10, 13]}, "Python 3.10 is too old"),
        ({"version": [3, 15, 0]}, "Python 3.15 is not known yet"),
        ({"implementation": "pypy"}, "is pypy, not CPython"),
        ({"platform": "macosx-14.0-arm64"}, "is for macosx"),
    ],
)
def test_refused_pythons(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    (tmp_path / "lib" / "python3.12" / "site-packages").mkdir(parents=True)
    answer = small_pillow.answer(tmp_path, **changes)
    env = inspect(small_pillow.script_python(tmp_path / "bin" / "python3", answer))
    assert words in str(refusal(env))


@pytest.mark.parametrize("version", [[3, 11, 0], [3, 12, 9], [3, 13, 1], [3, 14, 0]])
def test_supported_pythons(tmp_path: Path, version: list[int]) -> None:
    (tmp_path / "lib" / "python3.12" / "site-packages").mkdir(parents=True)
    answer = small_pillow.answer(tmp_path, version=version, free_threaded=version[1] > 12)
    env = inspect(small_pillow.script_python(tmp_path / "bin" / "python3", answer, noise="welcome"))
    assert env.free_threaded == (version[1] > 12)
    require_supported(env)


def test_the_refusal_names_a_python_that_would_do(tmp_path: Path) -> None:
    old = small_pillow.answer(tmp_path, version=[3, 9, 1])
    python = small_pillow.script_python(tmp_path / "bin" / "python3", old)
    # A version manager's shim that stands for nothing must not be recommended.
    shim = tmp_path / "shims" / "python3.13"
    shim.parent.mkdir()
    shim.write_text("#!/bin/sh\necho 'command not found' >&2\nexit 127\n")
    shim.chmod(0o755)
    new = small_pillow.answer(tmp_path, executable="/opt/new/bin/python3.12")
    small_pillow.script_python(tmp_path / "path" / "python3.12", new)
    small_pillow.script_python(tmp_path / "path" / "python3.14", old)
    env = inspect(python, environ={"PATH": f"{shim.parent}:{tmp_path / 'path'}:/usr/bin:/bin"})
    assert env.newer_python == Path("/opt/new/bin/python3.12")
    assert "/opt/new/bin/python3.12 -m venv ~/" in refusal(env).hint


def test_musl_is_read_off_the_tags(tmp_path: Path) -> None:
    (tmp_path / "lib" / "python3.12").mkdir(parents=True)
    answer = small_pillow.answer(tmp_path, libc=None, tags=["cp312-cp312-musllinux_1_2_x86_64"])
    assert inspect(small_pillow.script_python(tmp_path / "bin" / "python3", answer)).libc == "musl 1.2"


# Permissions and running programs ---------------------------------------------------------


@contextmanager
def unprivileged() -> Iterator[None]:
    """As somebody whom permissions bind, even where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("part", ["", "PIL"])
def test_no_permission(reachable: Path, part: str) -> None:
    # Everybody may look, nobody may write.
    prefix = reachable / "venv"
    site = make_venv(prefix)
    install(site)
    answer = small_pillow.answer(
        prefix, base_prefix="/usr", platlib=str(site), purelib=str(site), path=[str(site)]
    )
    python = small_pillow.script_python(reachable / "python", answer)
    if os.geteuid() == 0:
        for folder in (site, site / "PIL"):
            os.chown(folder, 65534, -1)
    (site / part).chmod(0o555)
    with unprivileged():
        env = inspect(python)
    (site / part).chmod(0o755)
    assert not env.writable
    assert "no permission" in str(refusal(env))
    with unprivileged():
        assert inspect(python).writable


def test_running_programs_are_named(prefix: Path, site: Path) -> None:
    install(site)
    core = site / "PIL" / f"_imaging{SUFFIX}"
    core.write_bytes(core.read_bytes().ljust(mmap.PAGESIZE, b"\0"))
    program = (
        "import mmap, sys; f = open(sys.argv[1], 'rb');"
        "m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ); print('ready', flush=True); sys.stdin.read()"
    )
    argv = [sys.executable, "-c", program, str(core)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        env = look(prefix)
        child.communicate()
    told = [finding.text for finding in env.findings if finding.code == "in-use"]
    assert len(told) == 1
    assert f"({child.pid})" in told[0]
    assert "in-use" not in codes(look(prefix))


# As JSON ------------------------------------------------------------------------------------


def test_to_json_is_complete(prefix: Path, site: Path) -> None:
    install(site, "pillow-simd", "12.1.1.post0")
    install(site, "pillow", "12.3.0")
    env = look(prefix)
    plain = json.loads(json.dumps(env.to_json()))
    assert plain["state"] == "mixed"
    assert plain["site"] == str(site)
    assert plain["owners"][1]["name"] == "pillow-simd"
    assert plain["findings"][0]["code"] == "mixed"
    assert plain["problems"] == list(env.problems)
    assert replace(env, state=State.NONE).to_json()["state"] == "none"
