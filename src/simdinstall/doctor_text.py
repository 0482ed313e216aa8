"""What ``doctor`` found, for a person on one screen and for programs, and ``report`` for a bug report."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from simdinstall import __version__
from simdinstall.doctor import Facts, Finding, Severity, foreign_simd
from simdinstall.health import Health
from simdinstall.journal import Entry
from simdinstall.report import document, facts

_STYLES: Mapping[Severity, tuple[str, str]] = {
    Severity.BROKEN: ("broken", "bold red"),
    Severity.ADVICE: ("advice", "bold yellow"),
    Severity.NOTE: ("note", "bold"),
}

_VERDICTS: Mapping[int, tuple[str, str]] = {
    Severity.BROKEN: ("broken", "bold red"),
    Severity.ADVICE: ("works, but could do better", "bold yellow"),
    Severity.NOTE: ("healthy", "bold green"),
}


def doctor_text(found: Facts, findings: Sequence[Finding]) -> RenderableType:
    """The verdict, the findings worst first, each with its command, and what was seen."""
    worst = max((finding.severity for finding in findings), default=Severity.NOTE)
    verdict, style = _VERDICTS[worst]
    parts: list[RenderableType] = [Text(f"{found.env.prefix}: {verdict}", style=style)]
    for finding, following in zip_longest(findings, findings[1:]):
        name, style = _STYLES[finding.severity]
        parts.append(Text.assemble((f"{name}: ", style), finding.what))
        if finding.why:
            parts.append(Padding(Text(finding.why, style="dim"), (0, 0, 0, 8)))
        # What one command mends is told together, and the command once.
        again = following is not None and following.severity > Severity.NOTE
        repeated = again and following.command == finding.command
        if finding.command and finding.severity > Severity.NOTE and not repeated:
            parts.append(Padding(Text.assemble(("$ ", "bold green"), finding.command), (0, 0, 0, 8)))
    if any(finding.fixable for finding in findings):
        parts.append(
            Text("`simdinstall doctor --fix` does it; `simdinstall rollback` undoes it", style="dim")
        )
    parts.append(Text())
    parts.append(facts(seen(found)))
    return Group(*parts)


def seen(found: Facts) -> list[tuple[str, str]]:
    """What was found, in a few words each."""
    env, health = found.env, found.health
    owners = ", ".join(f"{owner} ({_by(owner)})" for owner in env.owners if owner.conflicts) or "nobody"
    pairs = [
        ("Python", f"{env.python} ({env.implementation} {env.release}, {env.kind})"),
        ("PIL", f"{health.version or env.pil_version or 'none'} in {env.pil_path or env.site}"),
        ("owned by", owners),
        ("releases", _releases(found)),
        ("SIMD", _simd(found)),
        ("JPEG", _library(health, "jpeg", "libjpeg_turbo")),
        ("zlib", _library(health, "zlib", "zlib_ng")),
        ("others", _others(health)),
        ("CPU", f"{found.cpu.name or found.cpu.microarchitecture}, {found.cpu.level}"),
    ]
    if health.torch is not None:
        built = f"CUDA {health.torch.cuda}" if health.torch.cuda else "the CPU alone"
        driver = f"driver for CUDA {health.torch.driver}" if health.torch.driver else "no CUDA driver"
        pairs.append(("PyTorch", f"{health.torch.version}, built for {built}; {driver}"))
    return [(name, value) for name, value in pairs if value]


def _by(owner: Any) -> str:
    manager = " ".join(filter(None, (owner.managed_by, owner.package)))
    return manager or owner.installer or "no INSTALLER"


def _releases(found: Facts) -> str:
    if found.newest is None:
        return "the newest Pillow is not known: no index answered in time"
    simd = f", newest Pillow-SIMD {found.newest_simd}" if found.newest_simd else ""
    return f"newest Pillow {found.newest}{simd}"


def _simd(found: Facts) -> str:
    health = found.health
    if not health.imported:
        return ""
    if health.build is None:
        simd = foreign_simd(health)
        if simd is None:
            return "no kernels of simdinstall's"
        return "SIMD code of another make, by its speed" if simd else "none, by its speed"
    gains = ", ".join(f"{s.operation} {s.ratio:.1f}x" for s in health.speeds if s.ratio)
    ran = sorted({f"{kernel} ({level})" for _, kernel, level, _ in health.called if kernel != "stock"})
    text = f"level {health.level}"
    if ran:
        text += f"; ran: {', '.join(ran)}"
    if gains:
        text += f"; against stock's code in the same process: {gains}"
    return text


def _library(health: Health, name: str, feature: str) -> str:
    loaded = health.loaded(name)
    if not health.imported:
        return ""
    claimed = health.features.get(feature)
    told = "; ".join(f"{library} from {library.path}" for library in loaded) or "compiled in"
    return f"loaded: {told}" + (
        f" (compiled against {feature.replace('_', '-')} {claimed})" if claimed else ""
    )


def _others(health: Health) -> str:
    names = {
        "libtiff": "TIFF",
        "webp": "WebP",
        "jpg_2000": "OpenJPEG",
        "freetype2": "FreeType",
        "raqm": "Raqm",
        "littlecms2": "LittleCMS",
        "avif": "AVIF",
    }
    return ", ".join(
        f"{title} {health.features[name]}" if health.features.get(name) is not None else f"no {title}"
        for name, title in names.items()
        if name in health.features
    )


def doctor_json(found: Facts, findings: Sequence[Finding], code: int) -> dict[str, Any]:
    """The same for programs, and everything that it was concluded from."""
    return document(
        "doctor",
        exit_code=code,
        verdict={0: "healthy", 1: "advice", 2: "broken"}[code],
        state=str(found.env.state),
        findings=[finding_json(finding) for finding in findings],
        newest={"pillow": found.newest, "pillow-simd": found.newest_simd},
        environment=found.env.to_json(),
        health=found.health.to_json(),
        cpu=found.cpu.to_json(),
        ours=found.status.ours,
        intact=found.status.intact,
    )


def finding_json(finding: Finding) -> dict[str, Any]:
    """One finding for programs."""
    return {
        "severity": finding.severity.name.lower(),
        "code": finding.code,
        "what": finding.what,
        "why": finding.why,
        "command": finding.command,
        "fixable": finding.fixable,
    }


# A report for others to read --------------------------------------------------------------

#: Variables that say something about Pillow or about finding packages; their values are redacted.
_VARIABLES = re.compile(
    r"(SIMDINSTALL_|PILLOW_|PYTHON|PIP_|UV_|LD_|CONDA_|VIRTUAL_ENV|CC$|CFLAGS$|GLIBC_TUNABLES)"
)
_SECRET = re.compile(r"(TOKEN|PASSWORD|PASSWD|SECRET|KEY|CREDENTIAL|AUTH)", re.IGNORECASE)


def report_text(
    found: Facts,
    findings: Sequence[Finding],
    *,
    history: Sequence[Entry] = (),
    logs: Sequence[tuple[str, str]] = (),
    environ: Mapping[str, str],
) -> str:
    """Everything that a bug report needs, as plain text without names, passwords and tokens."""
    lines = [f"simdinstall {__version__}", f"{platform.platform()}, Python {platform.python_version()}"]
    lines += [f"{found.env.distro}, libc {found.env.libc}, {found.env.package_manager or 'no known manager'}"]
    lines += ["", "Findings"]
    for finding in findings:
        lines.append(f"  {finding.severity.name.lower()} [{finding.code}] {finding.what}")
        lines += [
            f"      {text}" for text in (finding.why, finding.command and f"$ {finding.command}") if text
        ]
    lines += ["", "Seen"]
    lines += [f"  {name}: {value}" for name, value in (("state", str(found.env.state)), *seen(found))]
    if found.health.libraries:
        lines += ["", "Libraries loaded"]
        lines += [f"  {library} {library.path}" for library in found.health.libraries]
    if history:
        lines += ["", "What simdinstall did here"]
        lines += [f"  {e.number} {e.when} {e.action}: {e.before} -> {e.after}" for e in history]
    lines += ["", "Variables"]
    lines += [
        f"  {name}={'(hidden)' if _SECRET.search(name) else value}"
        for name, value in sorted(environ.items())
        if _VARIABLES.match(name)
    ]
    for name, text in logs:
        lines += ["", f"Log {name} (its end)", *(f"  {line}" for line in text.splitlines()[-60:])]
    return hide("\n".join(lines), environ) + "\n"


def hide(text: str, environ: Mapping[str, str]) -> str:
    """``text`` without credentials in URLs, the home folder, and the names of user and host."""
    text = re.sub(r"(\w+://)[^/\s@]+@", r"\1…@", text)
    home = environ.get("HOME") or str(Path("~").expanduser())
    if len(home) > 1:
        text = text.replace(home, "~")
    names = {environ.get(name, "") for name in ("USER", "LOGNAME", "SUDO_USER")} | {os.uname().nodename}
    return _without(text, (name for name in names if len(name) > 2 and name != "root"))


def _without(text: str, names: Iterable[str]) -> str:
    for name in names:
        text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", "…", text)
    return text
