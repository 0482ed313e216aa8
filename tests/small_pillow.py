"""Pillows of a few bytes: enough to be installed, recognised, imported and damaged."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Mapping
from pathlib import Path

SUFFIX = str(sysconfig.get_config_var("EXT_SUFFIX"))


def core(version: str) -> bytes:
    """The string constants that tell a core's version, among others, as compilers lay them out."""
    return b"\x7fELF\0\0jpeg_turbo\x003.1.4\0\xff\0HAVE_XCB\0" + version.encode() + b"\0PILLOW_VERSION\0\0"


def files(version: str, *, mark: str = "", suffix: str = SUFFIX) -> dict[str, bytes]:
    """The files of a small Pillow. ``mark`` makes the content of one build differ from another's."""
    return {
        "PIL/__init__.py": f"from . import _version\n__version__ = _version.__version__\n# {mark}\n".encode(),
        "PIL/Image.py": f"core = {mark!r}\n".encode(),
        "PIL/_version.py": f'# Master version\n__version__ = "{version}"\n'.encode(),
        f"PIL/_imaging{suffix}": core(version) + mark.encode(),
    }


def site_of(prefix: Path, version: str = f"{sys.version_info[0]}.{sys.version_info[1]}") -> Path:
    return prefix / "lib" / f"python{version}" / "site-packages"


def make_venv(prefix: Path, *, system_site: bool = False) -> Path:
    """A venv of the running Python, without pip; returns its site-packages."""
    venv.create(prefix, with_pip=False, symlinks=True, system_site_packages=system_site)
    return site_of(prefix)


def record_line(path: str, data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{path},sha256={digest},{len(data)}\n"


def metadata(name: str, version: str) -> bytes:
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nText\nName: not this\n".encode()


def install(
    site: Path,
    name: str = "pillow",
    version: str = "12.3.0",
    *,
    content: Mapping[str, bytes] | None = None,
    extra: Mapping[str, bytes] | None = None,
    installer: str | None = "pip",
) -> Path:
    """Lay a distribution into ``site`` as an installer would; returns its dist-info."""
    payload = dict(files(version.partition("+")[0], mark=name) if content is None else content)
    folder = f"{name.replace('-', '_')}-{version}.dist-info"
    payload[f"{folder}/METADATA"] = metadata(name, version)
    payload[f"{folder}/WHEEL"] = b"Wheel-Version: 1.0\n"
    if installer is not None:
        payload[f"{folder}/INSTALLER"] = installer.encode() + b"\n"
    for path, data in (extra or {}).items():
        payload[f"{folder}/{path}"] = data
    record = "".join(record_line(path, data) for path, data in payload.items()) + f"{folder}/RECORD,,\n"
    payload[f"{folder}/RECORD"] = record.encode()
    for path, data in payload.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_bytes(data)
    return site / folder


def wheel(
    folder: Path,
    name: str = "pillow",
    version: str = "12.3.0",
    *,
    content: Mapping[str, bytes] | None = None,
    requires: tuple[str, ...] = (),
) -> Path:
    """A real wheel of such a Pillow, or of ``content``."""
    payload = dict(files(version.partition("+")[0], mark=name) if content is None else content)
    stem = f"{name.replace('-', '_')}-{version}"
    needs = "".join(f"Requires-Dist: {need}\n" for need in requires)
    payload[f"{stem}.dist-info/METADATA"] = (
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}".encode()
    )
    payload[f"{stem}.dist-info/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: false\nTag: py3-none-any\n"
    )
    record = "".join(record_line(path, data) for path, data in payload.items())
    payload[f"{stem}.dist-info/RECORD"] = f"{record}{stem}.dist-info/RECORD,,\n".encode()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in payload.items():
            archive.writestr(member, data)
    return path


def script_python(path: Path, answer: Mapping[str, object], *, noise: str = "") -> Path:
    """An executable that answers as an interpreter with these facts would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = "simdinstall-inspect:" + json.dumps(answer)
    path.write_text(f"#!/bin/sh\ncat >/dev/null\ncat <<'END'\n{noise}\n{line}\nEND\n")
    path.chmod(0o755)
    return path


def answer(prefix: Path, **changes: object) -> dict[str, object]:
    """The facts of a system Python below ``prefix``, as ``_inspect.py`` reports them."""
    lib = prefix / "lib" / "python3.12"
    return {
        "version": [3, 12, 4],
        "implementation": "cpython",
        "executable": str(prefix / "bin" / "python3"),
        "prefix": str(prefix),
        "base_prefix": str(prefix),
        "path": [str(lib), str(lib / "site-packages")],
        "stdlib": str(lib),
        "purelib": str(lib / "site-packages"),
        "platlib": str(lib / "site-packages"),
        "user_site": None,
        "user_site_enabled": False,
        "platform": "linux-x86_64",
        "libc": "glibc 2.36",
        "free_threaded": False,
        "suffixes": [".cpython-312-x86_64-linux-gnu.so", ".abi3.so", ".so"],
        "pil": None,
        "pip": None,
        "ensurepip": None,
        "tags": ["cp312-cp312-manylinux_2_36_x86_64"],
    } | changes
