"""The matrix: each real environment, how it is made, what doctor says of it, what install does."""

from __future__ import annotations

import shutil
import zipapp
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from shop import NEWEST, OLDER, SERIES, Shop, Target

import small_pillow
from simdinstall import environment, install
from simdinstall.run import run

Make = Callable[[Shop, Path], Target]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One environment.

    ``says`` are the codes of doctor's advice and worse, but for what every stock build is
    told (no kernels, an older release); ``notes`` those of its notes that matter here.
    ``code`` is its exit code. ``refuses`` is what the refusal says; empty: it installs.
    """

    name: str
    made: str
    make: Make
    says: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    code: int = 1
    refuses: str = ""


CELLS: list[Cell] = []


def cell(
    made: str,
    *,
    says: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
    code: int = 1,
    refuses: str = "",
) -> Callable[[Make], Make]:
    """Put an environment into the matrix under the name of the function that makes it."""

    def add(make: Make) -> Make:
        name = make.__name__.replace("_", " ")
        CELLS.append(
            Cell(name=name, made=made, make=make, says=says, notes=notes, code=code, refuses=refuses)
        )
        return make

    return add


# Whole environments, by all makers and installers ----------------------------------------


@cell("python -m venv; pip install pillow")
def venv_and_pip(shop: Shop, folder: Path) -> Target:
    return shop.stock(folder, maker="venv", tool="pip")


@cell("python -m venv --without-pip; uv pip install pillow")
def venv_without_pip(shop: Shop, folder: Path) -> Target:
    return shop.stock(folder, maker="venv without pip")


@cell("virtualenv; pip install pillow")
def virtualenv(shop: Shop, folder: Path) -> Target:
    return shop.stock(folder, maker="virtualenv", tool="pip")


@cell("uv venv; uv pip install pillow (hard links into uv's cache)")
def uv_venv(shop: Shop, folder: Path) -> Target:
    return shop.stock(folder)


@cell("the same with Python 3.12")
def uv_venv_312(shop: Shop, folder: Path) -> Target:
    return shop.stock(folder, NEWEST, series="3.12")


@cell("the same with Python 3.13")
def uv_venv_313(shop: Shop, folder: Path) -> Target:
    return shop.stock(folder, NEWEST, series="3.13")


@cell("the same with Python 3.14")
def uv_venv_314(shop: Shop, folder: Path) -> Target:
    return shop.stock(folder, NEWEST, series="3.14")


@cell("the same with Python 3.14, free-threaded")
def uv_venv_314t(shop: Shop, folder: Path) -> Target:
    return shop.stock(folder, NEWEST, series="3.14t")


@cell("the newest release, stock")
def newest_stock(shop: Shop, folder: Path) -> Target:
    return shop.stock(folder, NEWEST)


@cell("a release of half a year ago")
def old_stock(shop: Shop, folder: Path) -> Target:
    return shop.stock(folder, "12.1.1")


@cell("an empty environment", says=("none",))
def no_pillow(shop: Shop, folder: Path) -> Target:
    return shop.venv(folder)


@cell("a folder with a space and an umlaut in its name")
def strange_path(shop: Shop, folder: Path) -> Target:
    strange = folder / "my environments ü"
    strange.mkdir()
    return shop.stock(strange)


@cell("pip install pillow-simd")
def pillow_simd(shop: Shop, folder: Path) -> Target:
    return shop.install(shop.venv(folder), shop.simd_wheel())


@cell("uv tool's folder, with its receipt")
def uv_tool(shop: Shop, folder: Path) -> Target:
    target = shop.stock(folder)
    (target.roots[0] / "uv-receipt.toml").write_text("[tool]\n")
    return target


@cell("pipx's folder, with its metadata")
def pipx(shop: Shop, folder: Path) -> Target:
    target = shop.stock(folder, maker="venv", tool="pip")
    (target.roots[0] / "pipx_metadata.json").write_text("{}")
    return target


@cell("a Python that is no virtual environment")
def system_python(shop: Shop, folder: Path) -> Target:
    return shop.install(shop.system(folder), shop.wheel(OLDER))


@cell("pip install --user")
def user_site(shop: Shop, folder: Path) -> Target:
    base = folder / "user"
    variables = {"PYTHONUSERBASE": str(base)}
    target = Target(python=shop.python(), roots=(base,), variables=variables)
    return shop.install(target, shop.wheel(OLDER), tool="pip --user")


@cell("a venv with --system-site-packages over a Pillow of the system's", notes=("outside",))
def system_site(shop: Shop, folder: Path) -> Target:
    system = shop.install(shop.system(folder), shop.wheel("12.1.1"))
    prefix = folder / "env"
    run([system.python, "-m", "venv", "--without-pip", "--system-site-packages", prefix])
    return Target(python=prefix / "bin" / "python", roots=(prefix, *system.roots))


# Several Pillows over one another ------------------------------------------------------------


@cell("pip install pillow; pip install pillow-simd", says=("mixed",), code=2)
def simd_over_stock(shop: Shop, folder: Path) -> Target:
    return shop.install(shop.stock(folder), shop.simd_wheel())


@cell("pip install pillow-simd; then something that needs pillow", says=("mixed",), code=2)
def stock_over_simd(shop: Shop, folder: Path) -> Target:
    return shop.install(shop.venv(folder), shop.simd_wheel(), shop.wheel(OLDER))


@cell(
    "both; then pip uninstall pillow",
    says=("files-missing", "package-missing", "import-fails"),
    code=2,
)
def mixed_then_pillow_removed(shop: Shop, folder: Path) -> Target:
    target = simd_over_stock(shop, folder)
    shop.uv("pip", "uninstall", "-q", "--python", target.python, "pillow")
    return target


@cell(
    "both; then pip uninstall pillow-simd",
    says=("files-missing", "package-missing", "import-fails"),
    code=2,
)
def mixed_then_simd_removed(shop: Shop, folder: Path) -> Target:
    target = stock_over_simd(shop, folder)
    shop.uv("pip", "uninstall", "-q", "--python", target.python, "pillow-simd")
    return target


@cell("a wheel called jpeg beside Pillow, as people install it: not in the way")
def jpeg_beside(shop: Shop, folder: Path) -> Target:
    wheel = small_pillow.wheel(folder / "w", "jpeg", "9.0", content={"jpeg.py": b""})
    return shop.install(shop.stock(folder), wheel)


@cell("libtiff of another origin laid over the one in pillow.libs", says=("mixed",), code=2)
def libtiff_laid_over(shop: Shop, folder: Path) -> Target:
    target = shop.stock(folder)
    (own,) = target.site.glob("pillow.libs/libtiff-*.so*")
    content = {f"pillow.libs/{own.name}": own.read_bytes() + b"another"}
    wheel = small_pillow.wheel(folder / "w", "libtiff", "0.4.2", content=content)
    return shop.install(target, wheel)


# Damage ------------------------------------------------------------------------------------------


def remove(target: Target, *patterns: str) -> Target:
    """Take away what matches, as an accident does."""
    for pattern in patterns:
        found = list(target.site.glob(pattern))
        assert found, pattern
        for path in found:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return target


@cell(
    "PIL/__init__.py is gone: an empty namespace", says=("files-missing", "namespace", "import-fails"), code=2
)
def namespace(shop: Shop, folder: Path) -> Target:
    return remove(shop.stock(folder), "PIL/__init__.py")


@cell("PIL is gone, its record is there", says=("files-missing", "package-missing", "import-fails"), code=2)
def package_gone(shop: Shop, folder: Path) -> Target:
    return remove(shop.stock(folder), "PIL")


@cell("dist-info without RECORD: pip and uv refuse to remove it", says=("record-missing",))
def no_record(shop: Shop, folder: Path) -> Target:
    return remove(shop.stock(folder), "pillow-*.dist-info/RECORD")


@cell("dist-info without METADATA: a husk", says=("metadata-missing",), code=2)
def husk(shop: Shop, folder: Path) -> Target:
    return remove(shop.stock(folder), "pillow-*.dist-info/METADATA")


@cell("no dist-info at all: nobody owns PIL", says=("unowned", "leftovers"))
def unowned(shop: Shop, folder: Path) -> Target:
    return remove(shop.stock(folder), "pillow-*.dist-info")


@cell("~illow and ~il of an interrupted pip beside a whole Pillow", says=("leftovers",))
def leftovers(shop: Shop, folder: Path) -> Target:
    target = shop.stock(folder)
    shutil.copytree(target.site / "PIL", target.site / "~il")
    info = next(target.site.glob("pillow-*.dist-info"))
    shutil.copytree(info, target.site / f"~{info.name[1:]}")
    return target


@cell("nothing but an empty PIL", says=("unowned", "import-fails"), code=2)
def empty_pil(shop: Shop, folder: Path) -> Target:
    target = shop.venv(folder)
    (target.site / "PIL").mkdir()
    return target


@cell(
    "Python code of one release, the core of another",
    says=("core-differs", "files-altered", "import-fails"),
    code=2,
)
def core_of_another_release(shop: Shop, folder: Path) -> Target:
    target = shop.stock(folder, NEWEST)
    other = folder / "other"
    other.mkdir()
    older = shop.stock(other)
    core = next(target.site.glob("PIL/_imaging.cpython*.so"))
    core.unlink()
    shutil.copy2(older.site / "PIL" / core.name, core)
    return target


@cell("no compiled core", says=("files-missing", "core-missing", "import-fails"), code=2)
def no_core(shop: Shop, folder: Path) -> Target:
    return remove(shop.stock(folder), "PIL/_imaging.cpython*.so")


@cell(
    "a core for another Python alone",
    says=("files-missing", "core-missing", "import-fails"),
    code=2,
)
def core_of_another_python(shop: Shop, folder: Path) -> Target:
    target = shop.stock(folder)
    core = next(target.site.glob("PIL/_imaging.cpython*.so"))
    core.rename(core.with_name("_imaging.cpython-39-x86_64-linux-gnu.so"))
    return target


@cell("pillow.libs is gone", says=("files-missing", "import-fails"), code=2)
def no_libraries(shop: Shop, folder: Path) -> Target:
    return remove(shop.stock(folder), "pillow.libs")


def cut(target: Target, pattern: str) -> Target:
    """Leave half of a file, as a full disk does."""
    (path,) = target.site.glob(pattern)
    data = path.read_bytes()
    path.unlink()  # A hard link into uv's cache: another file in its place.
    path.write_bytes(data[: len(data) // 2])
    return target


@cell("libjpeg in pillow.libs is cut short", says=("files-altered", "import-fails"), code=2)
def library_cut_short(shop: Shop, folder: Path) -> Target:
    return cut(shop.stock(folder), "pillow.libs/libjpeg-*.so*")


@cell("libwebp in pillow.libs is cut short", says=("files-altered", "extension-fails"), code=2)
def webp_cut_short(shop: Shop, folder: Path) -> Target:
    return cut(shop.stock(folder), "pillow.libs/libwebp-*.so*")


@cell("the user's own edit of PIL/Image.py, which a rollback must bring back", says=("files-altered",))
def edited(shop: Shop, folder: Path) -> Target:
    target = shop.stock(folder)
    image = target.site / "PIL" / "Image.py"
    text = image.read_text()
    image.unlink()
    image.write_text(text + "\n# mine\n")
    return target


@cell("the user's own module in PIL/", notes=("strays",))
def own_module(shop: Shop, folder: Path) -> Target:
    target = shop.stock(folder)
    (target.site / "PIL" / "MyPlugin.py").write_text("mine = True\n")
    return target


@cell("another distribution's plugin in PIL/, which is carried over", notes=("plugin",))
def plugin(shop: Shop, folder: Path) -> Target:
    wheel = small_pillow.wheel(
        folder / "w", "extra-plugin", "1.0", content={"PIL/ExtraPlugin.py": b"x = 1\n"}
    )
    return shop.install(shop.stock(folder), wheel)


@cell("a program has this PIL loaded", notes=("in-use",))
def in_use(shop: Shop, folder: Path) -> Target:
    from simdinstall.run import start

    target = shop.stock(folder)
    user = start([target.python, "-c", "from PIL import Image; print('ready', flush=True); input()"])
    assert user.receive(60) == "ready"
    KEPT.append(user)
    return target


KEPT: list[object] = []


# What is not simdinstall's to change -----------------------------------------------------------


@cell("a .pth file puts another PIL in front", says=("shadowed",), refuses="would never be imported")
def shadowed(shop: Shop, folder: Path) -> Target:
    target = shop.stock(folder)
    front = folder / "front"
    shutil.copytree(target.site / "PIL", front / "PIL")
    shutil.copytree(target.site / "pillow.libs", front / "pillow.libs")
    (target.site / "a.pth").write_text(f"import sys; sys.path.insert(0, {str(front)!r})\n")
    return target


@cell("PYTHONPATH names another PIL", says=("pythonpath",))
def pythonpath(shop: Shop, folder: Path) -> Target:
    target = shop.stock(folder)
    front = folder / "front"
    shutil.copytree(target.site / "PIL", front / "PIL")
    return Target(python=target.python, roots=target.roots, variables={"PYTHONPATH": str(front)})


@cell("pip install --editable", notes=("editable",), refuses="editable")
def editable(shop: Shop, folder: Path) -> Target:
    from test_environments import checkout

    source = checkout(folder / "checkout")
    libraries = folder / "unpacked" / "env" / f"lib/python{SERIES}/site-packages/pillow.libs"
    for name, data in {path.name: path.read_bytes() for path in _unpacked(shop, folder)}.items():
        (source / "src" / "PIL" / name).write_bytes(data)
    shutil.copytree(libraries, source / "src" / "pillow.libs")
    target = shop.venv(folder)
    shop.uv(
        "pip", "install", "-q", "--python", target.python, "--no-index", "--no-deps", "--editable", source
    )
    return target


def _unpacked(shop: Shop, folder: Path) -> list[Path]:
    other = folder / "unpacked"
    other.mkdir()
    return [path for path in shop.stock(other).site.glob("PIL/*") if path.is_file()]


@cell(
    "EXTERNALLY-MANAGED, as Debian's Python is since 12",
    refuses="managed by the operating system",
)
def externally_managed(shop: Shop, folder: Path) -> Target:
    target = shop.install(shop.system(folder), shop.wheel(OLDER))
    (target.roots[0] / "lib" / f"python{SERIES}" / "EXTERNALLY-MANAGED").write_text("[externally-managed]\n")
    return target


@cell("a Python that is too old", refuses="too old", says=("none",))
def python_310(shop: Shop, folder: Path) -> Target:
    return shop.venv(folder, series="3.10")


# Loader and variables -----------------------------------------------------------------------------


@cell("LD_PRELOAD of the system's libjpeg", says=("jpeg-twice", "library-outside"))
def preloaded_jpeg(shop: Shop, folder: Path) -> Target:
    found = [path for path in Path("/usr/lib").glob("*/libjpeg.so.*") if path.is_file()]
    if not found:
        pytest.skip("there is no libjpeg of the system's here")
    target = shop.stock(folder, NEWEST)
    return Target(python=target.python, roots=target.roots, variables={"LD_PRELOAD": str(found[0])})


# Builds of ours --------------------------------------------------------------------------------------


def ours(shop: Shop, folder: Path) -> Target:
    """An environment that simdinstall has installed into."""
    target = shop.stock(folder)
    made = shop.made()
    install.install(made.wheel, made.verdict, environment.inspect(target.python), grace=0)
    return target


@cell("a build of ours", code=0)
def ours_whole(shop: Shop, folder: Path) -> Target:
    return ours(shop, folder)


@cell("a build of ours; PILLOW_SIMD=none", says=("lowered",))
def ours_lowered(shop: Shop, folder: Path) -> Target:
    target = ours(shop, folder)
    return Target(python=target.python, roots=target.roots, variables={"PILLOW_SIMD": "none"})


@cell("a build of ours, its kernel library gone", says=("files-missing", "import-fails"), code=2)
def ours_damaged(shop: Shop, folder: Path) -> Target:
    return remove(ours(shop, folder), "PIL/libpillow_simd.so")


@cell("a build of ours; then pip install --force-reinstall pillow")
def ours_replaced(shop: Shop, folder: Path) -> Target:
    target = ours(shop, folder)
    more = ("--reinstall", "--no-deps", "--no-index", shop.wheel(OLDER))
    shop.uv("pip", "install", "-q", "--python", target.python, *more)
    return target


# conda -------------------------------------------------------------------------------------------------


@cell("conda install pillow; install --conda", notes=("conda",))
def conda_pillow(shop: Shop, folder: Path) -> Target:
    return shop.conda(folder, "pillow")


@cell("conda without Pillow; pip install pillow; install --conda", notes=("conda-foreign",))
def conda_and_pip(shop: Shop, folder: Path) -> Target:
    return shop.install(shop.conda(folder), shop.wheel(OLDER))


@cell("conda without Pillow; install --conda", says=("none",))
def conda_empty(shop: Shop, folder: Path) -> Target:
    return shop.conda(folder)


@cell(
    "conda install pillow; then half of it goes; install --conda",
    says=("conda-clobber", "files-missing", "import-fails"),
    notes=("conda",),
    code=2,
)
def conda_half_gone(shop: Shop, folder: Path) -> Target:
    return remove(shop.conda(folder, "pillow"), "PIL/Image*.py", "pillow.libs/libtiff-*")


@cell(
    "conda install pillow jpeg libjpeg-turbo: two files of both; install --conda", says=("conda-libraries",)
)
def conda_clobber(shop: Shop, folder: Path) -> Target:
    return shop.conda(folder, "pillow", "jpeg", "libjpeg-turbo")


# No environments at all ---------------------------------------------------------------------------


@cell("a zipapp with a Pillow in it: recognised, left alone", refuses="a zipapp")
def zip_application(shop: Shop, folder: Path) -> Target:
    source = folder / "app"
    shutil.copytree(shop.stock(folder).site / "PIL", source / "PIL")
    (source / "__main__.py").write_text("print('app')\n")
    made = folder / "made"
    made.mkdir()
    zipapp.create_archive(source, made / "app.pyz", "/usr/bin/env python3")
    return Target(python=made / "app.pyz", roots=(made,))


@cell("a folder as PyInstaller makes it: recognised, left alone", refuses="made by PyInstaller")
def pyinstaller(shop: Shop, folder: Path) -> Target:
    app = folder / "app"
    shutil.copytree(shop.stock(folder).site / "PIL", app / "_internal" / "PIL")
    (app / "_internal" / "base_library.zip").write_bytes(b"")
    (app / "app").write_bytes(b"\x7fELF")
    (app / "app").chmod(0o755)
    return Target(python=app, roots=(app,))


# The table in docs/ ------------------------------------------------------------------------------------


def table() -> str:
    """The matrix for docs/environments.md."""
    lines = ["| environment | doctor says | exit code | install |", "| --- | --- | --- | --- |"]
    for one in CELLS:
        said = ", ".join((*one.says, *(f"({note})" for note in one.notes))) or (
            "healthy" if one.code == 0 else "stock code"
        )
        does = f"refuses: {one.refuses}" if one.refuses else "does; imports; rolled back byte for byte"
        lines.append(f"| {one.made} | {said} | {one.code} | {does} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
