"""Repacking: the official wheel with the kernel library in front of its extension.

Every official file keeps its bytes; even its compressed stream is copied as it is. New
are the loader in the extension's place, the kernel library, the module that shows what
it does, the provenance and an SBOM entry. Changed are the version in METADATA, and
WHEEL and RECORD, which describe the wheel itself.

Formats: the binary distribution format of packaging.python.org; PEP 440 (local
versions); PEP 770 (``.dist-info/sboms``); CycloneDX 1.6; PKWARE's APPNOTE for zip.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import struct
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import NAMESPACE_URL, uuid5

from simdinstall import __version__
from simdinstall.errors import BuildError

if TYPE_CHECKING:
    # A node of a cluster reads wheels and builds none.
    from simdinstall.tree import LeftOut

#: Version of the layout of ``simdinstall.json``.
SCHEMA = 1

STOCK = "PIL/_imaging_stock.so"
LIBRARY = "PIL/libpillow_simd.so"
TRACE = "PIL/_simd.py"
ZLIB = "PIL/libpillow_zlib.so"

_EXTENSION = re.compile(r"PIL/_imaging\.[\w.-]*so")

#: 1980-01-01, the first instant that a zip archive can hold, in seconds since 1970.
EARLIEST = 315532800
#: 2107-12-31, the last one.
LATEST = 4354819199

#: A wheel holds a few tens of megabytes; one file larger than this is an attack.
_LARGEST_MEMBER = 256 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Wheel:
    """A repacked wheel. ``cached``: not built just now; ``repaired``: its cache entry was damaged."""

    path: Path
    version: str
    release: str
    march: str
    fidelity: str
    sha256: str
    provenance: Mapping[str, Any]
    cached: bool
    left_out: tuple[LeftOut, ...]
    repaired: bool = False
    log: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Member:
    """A file of an archive: its compressed stream, and what its header says."""

    name: str
    method: int
    crc: int
    size: int
    stream: bytes
    attributes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Official:
    """The official wheel, read and held to its own RECORD."""

    filename: str
    version: str
    dist_info: str
    extension: str
    members: Mapping[str, _Member]
    hashes: Mapping[str, str]

    def content(self, name: str) -> bytes:
        """The bytes of one file."""
        return _content(self.members[name])


def read_official(path: Path) -> Official:
    """Read an official wheel. Raises BuildError when it is not one that can be fronted."""
    members = {member.name: member for member in _members(path)}
    records = [name for name in members if re.fullmatch(r"[^/]+\.dist-info/RECORD", name)]
    if len(records) != 1:
        raise _unfit(path, f"it has {len(records)} RECORD files")
    dist_info = records[0].partition("/")[0]
    if STOCK in members or LIBRARY in members:
        raise _unfit(path, "it is a build of simdinstall already")
    extensions = [name for name in members if _EXTENSION.fullmatch(name)]
    if len(extensions) != 1:
        raise _unfit(path, f"it has {len(extensions)} files PIL/_imaging.*.so")
    hashes = {}
    recorded = _recorded(members[records[0]])
    for name, member in members.items():
        content = _content(member)
        hashes[name] = hashlib.sha256(content).hexdigest()
        if name != records[0] and recorded.get(name) != _record_hash(content):
            raise _unfit(path, f"{name} is not what its RECORD says")
    name, version, *_ = path.name.split("-")
    if name.lower() != "pillow":
        raise _unfit(path, f"it is a wheel of {name}")
    return Official(
        filename=path.name,
        version=version,
        dist_info=dist_info,
        extension=extensions[0],
        members=members,
        hashes=hashes,
    )


def extension(path: Path) -> tuple[str, bytes]:
    """Name and bytes of ``PIL/_imaging.*.so`` alone, quicker than :func:`read_official`."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if _EXTENSION.fullmatch(name)]
            if len(names) != 1:
                raise _unfit(path, f"it has {len(names)} files PIL/_imaging.*.so")
            return names[0], archive.read(names[0])
    except (OSError, zipfile.BadZipFile, zlib.error) as error:
        raise _unfit(path, str(error)) from error


def local_version(release: str, march: str, *kinds: str) -> str:
    """``13.0.0+simd.v3``, ``13.0.0+simd.v3.rebuilt.zlibng``; a march's name becomes a label of PEP 440."""
    label = re.sub(r"[^a-z0-9]+", ".", march.lower()).strip(".")
    return f"{release}+simd.{'.'.join((label, *kinds))}"


def repack(
    official: Official,
    *,
    march: str,
    library: bytes,
    loader: bytes,
    trace: bytes,
    provenance: Mapping[str, Any],
    into: Path,
    core: bytes | None = None,
    zlib: bytes | None = None,
    system: bool = False,
    epoch: int = EARLIEST,
) -> Path:
    """Write the wheel into a folder and return its path.

    ``provenance`` is completed with the hashes of the official files and with the files
    that are new. ``core`` takes the place of the official extension; ``zlib`` is a library
    that ``loader`` names, for the core to use. ``system``: the wheel was compiled against the
    system's libraries. ``epoch`` is the time
    of all files, in seconds since 1970. The same arguments give the same bytes.
    """
    made = {"system": system, "rebuilt": core is not None, "zlibng": zlib is not None}
    version = local_version(official.version, march, *(kind for kind, is_so in made.items() if is_so))
    dist_info = f"{official.dist_info.split('-')[0]}-{version}.dist-info"

    def renamed(name: str) -> str:
        if name == official.extension:
            return STOCK
        folder, slash, rest = name.partition("/")
        return f"{dist_info}/{rest}" if slash and folder == official.dist_info else name

    rewritten = {f"{official.dist_info}/{name}" for name in ("METADATA", "WHEEL", "RECORD")}
    replaced = {official.extension} if core is not None else set()
    kept = {renamed(name): name for name in official.members if name not in rewritten}
    files = {new: replace(official.members[old], name=new) for new, old in kept.items()}

    def add(name: str, content: bytes, mode: int = 0o644) -> None:
        files[name] = _packed(name, content, mode)

    add(official.extension, loader, 0o755)
    add(LIBRARY, library, 0o755)
    if core is not None:
        add(STOCK, core, 0o755)
    if zlib is not None:
        add(ZLIB, zlib, 0o755)
    add(TRACE, trace)
    add(f"{dist_info}/METADATA", _metadata(official, version))
    add(f"{dist_info}/WHEEL", _wheel_file(official))
    added = {official.extension: loader, LIBRARY: library, TRACE: trace}
    added |= {} if core is None else {STOCK: core}
    added |= {} if zlib is None else {ZLIB: zlib}
    complete = {
        "schema": SCHEMA,
        **provenance,
        "version": version,
        "files": {
            old: {"sha256": official.hashes[old], "as": renamed(old)}
            for old in sorted(official.members)
            if old not in rewritten | replaced
        },
        "rewritten": {
            f"{official.dist_info}/METADATA": {
                "sha256": official.hashes[f"{official.dist_info}/METADATA"],
                "change": f"Version: {official.version} became Version: {version}",
            },
            f"{official.dist_info}/WHEEL": {"change": "Generator"},
            f"{official.dist_info}/RECORD": {"change": "written anew"},
            **{
                name: {"sha256": official.hashes[name], "change": f"compiled from source, as {STOCK}"}
                for name in replaced
            },
        },
        "added": {name: hashlib.sha256(content).hexdigest() for name, content in added.items()},
        "verdict": None,
    }
    add(f"{dist_info}/sboms/simdinstall.cdx.json", _json(_sbom(complete)))
    add(f"{dist_info}/simdinstall.json", _json(complete))
    target = into / official.filename.replace(f"-{official.version}-", f"-{version}-", 1)
    _write(target, files, dist_info, epoch)
    return target


def with_verdict(wheel: Wheel, verdict: Mapping[str, Any], *, into: Path, epoch: int = EARLIEST) -> Wheel:
    """The same wheel with the verdict in its provenance, written into a folder.

    The bytes depend on ``verdict`` alone: what must be reproducible must not hold times.
    """
    files = {member.name: member for member in _members(wheel.path)}
    provenance = next(name for name in files if name.endswith(".dist-info/simdinstall.json"))
    complete = {**json.loads(_content(files[provenance])), "verdict": verdict}
    files[provenance] = _packed(provenance, _json(complete), 0o644)
    target = into / wheel.path.name
    _write(target, files, provenance.partition("/")[0], epoch)
    return replace(wheel, path=target, sha256=_file_hash(target), provenance=complete)


def with_label(
    path: Path,
    *,
    local: str,
    added: Mapping[str, bytes],
    label: str,
    into: Path,
    epoch: int = EARLIEST,
) -> Path:
    """The same wheel under another local version, with more files in its dist-info, in a folder.

    ``local`` is what follows ``+``; ``label``, if any, is appended to the file's name, as
    PEP 825 has it for variants. Raises BuildError for what is no build of ours.
    """
    before = read_provenance(path)
    release = str(before["pillow"]["release"])
    version = f"{release}+{local}"
    old, new = (f"pillow-{v}.dist-info" for v in (before["version"], version))
    files: dict[str, _Member] = {}
    for member in _members(path):
        folder, slash, rest = member.name.partition("/")
        name = f"{new}/{rest}" if slash and folder == old else member.name
        files[name] = replace(member, name=name)
    name = f"{new}/METADATA"
    if name not in files:
        raise _unfit(path, "its dist-info has another name than its version")
    line = f"Version: {before['version']}".encode()
    files[name] = _packed(name, _content(files[name]).replace(line, f"Version: {version}".encode(), 1), 0o644)
    name = f"{new}/simdinstall.json"
    files[name] = _packed(name, _json({**before, "version": version}), 0o644)
    for extra, content in added.items():
        files[f"{new}/{extra}"] = _packed(f"{new}/{extra}", content, 0o644)
    stem = path.name.removesuffix(".whl").replace(f"-{before['version']}-", f"-{version}-", 1)
    target = into / f"{stem}{f'-{label}' if label else ''}.whl"
    _write(target, files, new, epoch)
    return target


def read_provenance(path: Path) -> dict[str, Any]:
    """``simdinstall.json`` of a repacked wheel. Raises BuildError when it has none."""
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".dist-info/simdinstall.json"):
                    found = json.loads(archive.read(name))
                    if isinstance(found, dict):
                        return found
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise _unfit(path, str(error)) from error
    raise _unfit(path, "it is no build of simdinstall")


def read(path: Path, *, cached: bool, left_out: Iterable[LeftOut] = (), sha256: str = "") -> Wheel:
    """A repacked wheel on the disk as a :class:`Wheel`; ``sha256`` if it is known already."""
    provenance = read_provenance(path)
    return Wheel(
        path=path,
        version=provenance["version"],
        release=provenance["pillow"]["release"],
        march=provenance["march"]["name"],
        fidelity=provenance["fidelity"],
        sha256=sha256 or _file_hash(path),
        provenance=provenance,
        cached=cached,
        left_out=tuple(left_out),
    )


# ------------------------------------------------------------------- the files


def _metadata(official: Official, version: str) -> bytes:
    """METADATA with another version; not another byte differs."""
    name = f"{official.dist_info}/METADATA"
    before = official.content(name) if name in official.members else b""
    head, gap, body = before.partition(b"\n\n")
    line = rf"(?m)^Version: {re.escape(official.version)}(?=\r?$)".encode()
    after, count = re.subn(line, f"Version: {version}".encode(), head)
    if count != 1:
        raise BuildError(
            f"{official.filename} cannot be repacked", why=f"its METADATA has {count} fitting Version lines"
        )
    return after + gap + body


def _wheel_file(official: Official) -> bytes:
    lines = official.content(f"{official.dist_info}/WHEEL").decode().splitlines()
    ours = [f"Generator: simdinstall {__version__}" if x.startswith("Generator:") else x for x in lines if x]
    return "\n".join([*ours, ""]).encode()


def _sbom(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What the wheel was made from, as CycloneDX."""
    version, pillow = provenance["version"], provenance["pillow"]
    product = f"pkg:pypi/pillow@{version}"
    library = f"{product}#{LIBRARY}"
    sources = [_component("pillow", pillow["release"], pillow)]
    if provenance.get("pillow_simd"):
        sources.append(
            _component("pillow-simd", provenance["pillow_simd"]["version"], provenance["pillow_simd"])
        )
    kernels = {
        "type": "library",
        "bom-ref": library,
        "name": "libpillow_simd",
        "version": version,
        "description": "kernels in front of Pillow's own functions",
        "hashes": [{"alg": "SHA-256", "content": provenance["added"][LIBRARY]}],
        "pedigree": {
            "ancestors": [
                {key: component[key] for key in ("type", "name", "version", "purl")}
                for component in sources[1:]
            ],
            "notes": "patches: "
            + (", ".join(f"{p['slug']} {p['sha256']}" for p in provenance.get("patches", ())) or "none"),
        },
    }
    components, dependencies = [*sources, kernels], [sources[0]["bom-ref"], library]
    zlib = provenance.get("zlib_ng")
    if zlib:
        sdist = _component("zlib-ng", zlib["sdist"]["version"], zlib["sdist"])
        compiled = {
            "type": "library",
            "bom-ref": f"{product}#{ZLIB}",
            "name": "zlib-ng",
            "version": zlib["version"],
            "description": "zlib for Pillow's core",
            "licenses": [{"license": {"id": "Zlib"}}],
            "hashes": [{"alg": "SHA-256", "content": provenance["added"][ZLIB]}],
            "pedigree": {"ancestors": [{key: sdist[key] for key in ("type", "name", "version", "purl")}]},
        }
        components += [sdist, compiled]
        dependencies.append(compiled["bom-ref"])
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, product + provenance['added'][LIBRARY])}",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "simdinstall", "version": __version__}]},
            "component": {
                "type": "library",
                "bom-ref": product,
                "name": "pillow",
                "version": version,
                "purl": product.replace("+", "%2B"),
            },
        },
        "components": components,
        "dependencies": [
            {"ref": product, "dependsOn": dependencies},
            {"ref": library, "dependsOn": [source["bom-ref"] for source in sources[1:]]},
        ],
    }


def _component(name: str, version: str, download: Mapping[str, Any]) -> dict[str, Any]:
    purl = f"pkg:pypi/{name}@{version}?file_name={download['filename'].replace('+', '%2B')}"
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "hashes": [{"alg": "SHA-256", "content": download["sha256"]}],
    }


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _record_hash(content: bytes) -> str:
    encoded = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
    return f"sha256={encoded.decode()}"


def _recorded(record: _Member) -> dict[str, str]:
    rows = csv.reader(io.StringIO(_content(record).decode()))
    return {row[0]: row[1] for row in rows if len(row) >= 2}


def _record(files: Mapping[str, _Member], own_name: str) -> bytes:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    for member in files.values():
        rows.writerow([member.name, _record_hash(_content(member)), member.size])
    rows.writerow([own_name, "", ""])
    return text.getvalue().encode()


def _file_hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _unfit(path: Path, why: str) -> BuildError:
    return BuildError(
        f"{path.name} cannot be used", why=why, hint="fetch it again, or choose another release with --pillow"
    )


# ----------------------------------------------------------------- zip archives


def _members(path: Path) -> Iterator[_Member]:
    """The files of an archive with their compressed streams. Raises BuildError."""
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            for info in archive.infolist():
                if not info.is_dir():
                    yield _member(path, info, file)
    except (OSError, zipfile.BadZipFile, struct.error) as error:
        raise _unfit(path, str(error)) from error


def _member(path: Path, info: zipfile.ZipInfo, file: BinaryIO) -> _Member:
    name = PurePosixPath(info.filename)
    if name.is_absolute() or ".." in name.parts or "\\" in info.filename:
        raise _unfit(path, f"it holds a file outside of itself: {info.filename}")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
        raise _unfit(path, f"{info.filename} is packed in a way that wheels do not use")
    if info.file_size > _LARGEST_MEMBER:
        raise _unfit(path, f"{info.filename} claims to have {info.file_size} bytes")
    # Lengths of name and extra field may differ from those in the central directory.
    file.seek(info.header_offset)
    header = file.read(30)
    name_length, extra_length = struct.unpack("<HH", header[26:30])
    file.seek(info.header_offset + 30 + name_length + extra_length)
    return _Member(
        name=info.filename,
        method=info.compress_type,
        crc=info.CRC,
        size=info.file_size,
        stream=file.read(info.compress_size),
        attributes=info.external_attr,
    )


def _content(member: _Member) -> bytes:
    """The bytes of a member. Raises BuildError when they are not what was packed."""
    if member.method == zipfile.ZIP_STORED:
        content = member.stream
    else:
        try:
            content = zlib.decompressobj(-15).decompress(member.stream, member.size + 1)
        except zlib.error as error:
            raise BuildError(f"{member.name} cannot be unpacked", why=str(error)) from error
    if len(content) != member.size or zlib.crc32(content) != member.crc:
        raise BuildError(f"{member.name} cannot be unpacked", why="its checksum is wrong")
    return content


def _packed(name: str, content: bytes, mode: int) -> _Member:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return _Member(
        name=name,
        method=zipfile.ZIP_DEFLATED,
        crc=zlib.crc32(content),
        size=len(content),
        stream=packer.compress(content) + packer.flush(),
        attributes=(0o100000 | mode) << 16,
    )


def _write(target: Path, files: Mapping[str, _Member], dist_info: str, epoch: int) -> None:
    """An archive with RECORD written anew; sorted, the dist-info last as the format advises."""
    own_name = f"{dist_info}/RECORD"
    names = sorted((n for n in files if n != own_name), key=lambda n: (n.startswith(f"{dist_info}/"), n))
    ordered = {name: files[name] for name in names}
    ordered[own_name] = _packed(own_name, _record(ordered, own_name), 0o644)
    moment = time.gmtime(min(max(epoch, EARLIEST), LATEST))
    stamp = (
        (moment.tm_hour << 11) | (moment.tm_min << 5) | (moment.tm_sec // 2),
        ((moment.tm_year - 1980) << 9) | (moment.tm_mon << 5) | moment.tm_mday,
    )
    directory = b""
    with target.open("wb") as file:
        for member in ordered.values():
            name = member.name.encode()
            flags = 0 if member.name.isascii() else 0x800
            common = struct.pack(
                "<HHHHHLLLHH",
                *(20, flags, member.method, *stamp, member.crc, len(member.stream), member.size),
                *(len(name), 0),
            )
            offset = file.tell()
            file.write(b"PK\x03\x04" + common + name + member.stream)
            directory += (
                b"PK\x01\x02"
                + struct.pack("<H", (3 << 8) | 20)
                + common
                + struct.pack("<HHHLL", 0, 0, 0, member.attributes, offset)
                + name
            )
        start = file.tell()
        file.write(directory)
        counts = (len(ordered), len(ordered), len(directory), start, 0)
        file.write(b"PK\x05\x06" + struct.pack("<HHHHLLH", 0, 0, *counts))
