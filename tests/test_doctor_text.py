"""Doctor's page for a person, its document for programs, and a report that gives nobody away."""

from __future__ import annotations

import json
import os
from pathlib import Path

from rich.console import Console

import small_pillow
from simdinstall import doctor_text, report
from simdinstall.doctor import Facts, diagnose, exit_code
from simdinstall.environment import inspect
from test_doctor import STOCK, facts


def found(tmp_path: Path) -> Facts:
    site = small_pillow.make_venv(tmp_path / "env")
    small_pillow.install(site, version="12.3.0")
    small_pillow.install(site, "pillow-simd", "12.1.1.post0")
    env = inspect(tmp_path / "env", environ={}, proc=Path("/nowhere"))
    return facts(env, STOCK, newest="13.0.0", newest_simd="12.1.1.post0")


def test_one_screen_worst_first(tmp_path: Path) -> None:
    seen = found(tmp_path)
    console = Console(width=120, record=True, file=Path(os.devnull).open("w"))  # noqa: SIM115
    console.print(doctor_text.doctor_text(seen, diagnose(seen)))
    lines = console.export_text().splitlines()
    assert lines[0].rstrip().endswith(": broken")
    assert lines[1].startswith("broken: ")
    assert any(line.strip().startswith("$ simdinstall --python ") for line in lines)
    assert any("simdinstall rollback" in line for line in lines)
    commands = [line.strip() for line in lines if line.strip().startswith("$ ")]
    assert len(commands) == len(set(commands)), "what one command mends is told together"
    assert len(lines) <= 40


def test_the_document(tmp_path: Path) -> None:
    seen = found(tmp_path)
    findings = diagnose(seen)
    document = json.loads(json.dumps(doctor_text.doctor_json(seen, findings, exit_code(findings))))
    assert document["schema"] == "simdinstall.doctor/1"
    assert (document["exit_code"], document["verdict"], document["state"]) == (2, "broken", "mixed")
    assert document["findings"][0]["severity"] == "broken"
    assert document["newest"] == {"pillow": "13.0.0", "pillow-simd": "12.1.1.post0"}
    assert document["health"]["imported"]
    assert report.document("x")["schema"] == "simdinstall.x/1"


def test_a_report_gives_nobody_away(tmp_path: Path) -> None:
    seen = found(tmp_path)
    environ = {
        "HOME": str(tmp_path),
        "USER": "alicia",
        "PIP_INDEX_URL": "https://alicia:secret@index.example/simple",
        "UV_PUBLISH_TOKEN": "tok-123",
        "SIMDINSTALL_MARCH": "v3",
        "UNRELATED": "unrelated-value",
    }
    text = doctor_text.report_text(
        seen, diagnose(seen), logs=[("build.log", "line\nhttps://u:p@host/x\n")], environ=environ
    )
    for secret in ("alicia", "secret", "tok-123", "u:p@", str(tmp_path), "unrelated-value"):
        assert secret not in text, secret
    assert "SIMDINSTALL_MARCH=v3" in text
    assert "[mixed]" in text
    assert "UV_PUBLISH_TOKEN=(hidden)" in text
