from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from simdinstall.ownership import Package, conda_packages, package_by_place, package_of, processes_using
from simdinstall.run import Completed, run


def answering(output: str, status: int = 0, asked: list[list[str]] | None = None):  # type: ignore[no-untyped-def]
    def stand_in(argv: list[str | Path], **options: object) -> Completed:
        if asked is not None:
            asked.append([str(part) for part in argv])
        return Completed(
            argv=tuple(map(str, argv)), returncode=status, stdout=output, stderr="", cpu_seconds=0.0
        )

    return stand_in


@pytest.mark.parametrize(
    ("manager", "output", "package"),
    [
        ("dpkg", "python3-pil:amd64: /usr/lib/python3/dist-packages/PIL/Image.py\n", "python3-pil"),
        ("dpkg", "diversion by x from: /a\npython3-pil: /a\n", "python3-pil"),
        ("dpkg", "a, b:amd64: /usr/lib/x\n", "a"),
        ("rpm", "python3-pillow\n", "python3-pillow"),
        ("pacman", "python-pillow\n", "python-pillow"),
    ],
)
def test_answers_of_package_managers(manager: str, output: str, package: str) -> None:
    asked: list[list[str]] = []
    found = package_of(
        Path("/x/PIL/Image.py"),
        run=answering(output, asked=asked),
        which=lambda name: name if name == manager else None,
    )
    assert found == Package(manager=manager, name=package)
    assert [argv[0] for argv in asked] == [manager]
    assert asked[0][-1] == "/x/PIL/Image.py"


def test_no_package_owns_it() -> None:
    assert package_of(Path("/x/PIL/Image.py"), run=answering("", 1), which=lambda name: name) is None
    assert package_of(Path("/x/PIL/Image.py"), run=answering(""), which=lambda name: None) is None


@pytest.mark.parametrize(
    ("path", "owned"),
    [
        ("/usr/lib/python3/dist-packages/PIL/Image.py", True),
        ("/usr/local/lib/python3.11/dist-packages/PIL/Image.py", False),
        ("/usr/lib/python3.11/site-packages/PIL/Image.py", False),
        ("/opt/usr/lib/python3/dist-packages/PIL/Image.py", False),
    ],
)
def test_debians_place(path: str, owned: bool) -> None:
    assert package_by_place(Path(path)) == (Package(manager="dpkg", name="") if owned else None)


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="there is no dpkg here")
def test_a_file_of_the_real_dpkg(tmp_path: Path) -> None:
    listed = run(["dpkg", "-L", "dpkg"]).stdout.split()
    file = next(Path(name) for name in listed if Path(name).is_file())
    assert package_of(file, run=run) == Package(manager="dpkg", name="dpkg")
    assert package_of(tmp_path / "none", run=run) is None


def test_conda_records(tmp_path: Path) -> None:
    meta = tmp_path / "conda-meta"
    meta.mkdir()

    def record(name: str, *files: str) -> None:
        (meta / f"{name}-1.json").write_text(json.dumps({"name": name, "version": "1", "files": files}))

    record("pillow", "lib/PIL/Image.py", "lib/PIL/_imaging.so")
    record("zlib", "lib/libz.so")
    (meta / "broken.json").write_text("{/PIL/")
    (meta / "strange.json").write_text('["/PIL/"]')
    wanted = frozenset({"lib/PIL/Image.py", "lib/PIL/Other.py"})
    assert conda_packages(tmp_path, wanted) == {"lib/PIL/Image.py": "pillow-1"}
    record("plugin", "lib/PIL/Image.py")
    assert conda_packages(tmp_path, wanted) == {"lib/PIL/Image.py": "plugin-1"}
    assert conda_packages(tmp_path / "none", wanted) == {}


def test_processes(tmp_path: Path) -> None:
    package = tmp_path / "site" / "PIL"
    package.mkdir(parents=True)
    proc = tmp_path / "proc"
    for pid, file in {
        "7": package / "a.so",
        "12": package.parent / "PILs" / "a.so",
        "9": package / "b.so",
    }.items():
        (proc / pid).mkdir(parents=True)
        (proc / pid / "maps").write_text(f"7f00-7f01 r-xp 00000000 08:01 42 {file}\n")
        (proc / pid / "comm").write_text("gunicorn\n")
    (proc / "10").mkdir()
    (proc / "self").mkdir()
    assert list(map(str, processes_using(package, proc=proc))) == ["gunicorn (9)", "gunicorn (7)"]
    assert processes_using(package, proc=tmp_path / "none") == ()


def test_processes_see_through_links(tmp_path: Path) -> None:
    (tmp_path / "real" / "PIL").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "proc" / "5").mkdir(parents=True)
    (tmp_path / "proc" / "5" / "maps").write_text(f"0 {tmp_path.resolve() / 'real' / 'PIL' / 'a.so'}\n")
    (tmp_path / "proc" / "5" / "comm").write_text("python\n")
    assert len(processes_using(tmp_path / "link" / "PIL", proc=tmp_path / "proc")) == 1
