from __future__ import annotations

import os
import sys
import zipapp
from pathlib import Path

import pytest

from simdinstall import interpreter
from simdinstall.errors import TargetError
from simdinstall.interpreter import Facts
from simdinstall.run import run
from small_pillow import answer, make_venv, script_python

ELSEWHERE = Path("/nonexistent/private")


def choose(requested: Path | str | None = None, *, own: Path = ELSEWHERE, **environ: str) -> Facts:
    environ.setdefault("PATH", "/nonexistent")

    def question(python: Path) -> Facts:
        return interpreter.ask(python, run=run, environ={"PATH": os.environ["PATH"]})

    return interpreter.choose(
        Path(requested) if requested is not None else None,
        environ=environ,
        own_prefix=own,
        question=question,
    )


def fake(path: Path, prefix: str = "/fake") -> Path:
    return script_python(path, answer(Path(prefix), executable=str(path)))


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    prefix = tmp_path_factory.mktemp("one") / "venv"
    make_venv(prefix)
    return prefix


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    prefix = tmp_path_factory.mktemp("two") / "venv"
    make_venv(prefix)
    return prefix


@pytest.mark.parametrize("part", ["", "bin/python", "bin/python3"])
def test_a_path_may_be_the_folder_or_the_program(venv: Path, part: str) -> None:
    assert choose(venv / part).prefix == venv


def test_a_link_into_a_venv_keeps_the_venv(venv: Path) -> None:
    # Followed to its end, it would be the Python that the venv was made of.
    assert (venv / "bin" / "python").is_symlink()
    facts = choose(venv / "bin" / "python")
    assert facts.in_venv
    assert facts.base_prefix == Path(sys.base_prefix)


def test_a_name_is_looked_up_on_path(tmp_path: Path) -> None:
    program = fake(tmp_path / "python3.12")
    for name in ("python3.12", "3.12"):
        assert choose(name, PATH=str(tmp_path)).python == program


def test_a_shim_that_stands_for_nothing_is_passed_over(tmp_path: Path) -> None:
    shim = tmp_path / "shims" / "python3"
    shim.parent.mkdir()
    shim.write_text("#!/bin/sh\necho 'no such version' >&2\nexit 127\n")
    shim.chmod(0o755)
    with pytest.raises(TargetError) as caught:
        choose(PATH=str(shim.parent))
    assert caught.value.why == "no such version"
    program = fake(tmp_path / "real" / "python3")
    path = f"{shim.parent}:{program.parent}"
    assert choose(PATH=path).python == program
    assert choose("python3", PATH=path).python == program


def test_what_was_asked_for_comes_first(venv: Path, other: Path) -> None:
    assert choose(other, VIRTUAL_ENV=str(venv), CONDA_PREFIX=str(venv)).prefix == other


def test_the_active_environment_comes_next(venv: Path, other: Path) -> None:
    assert choose(VIRTUAL_ENV=str(venv), CONDA_PREFIX=str(other), PATH=str(other / "bin")).prefix == venv
    assert choose(VIRTUAL_ENV="", CONDA_PREFIX=str(other), PATH=str(venv / "bin")).prefix == other


def test_our_own_environment_is_the_target_when_it_is_active(venv: Path) -> None:
    assert choose(VIRTUAL_ENV=str(venv), own=venv).prefix == venv


def test_python3_on_path_before_python(tmp_path: Path) -> None:
    fake(tmp_path / "a" / "python")
    three = fake(tmp_path / "b" / "python3")
    assert choose(PATH=f"{tmp_path / 'a'}:{tmp_path / 'b'}").python == three
    three.unlink()
    assert choose(PATH=f"{tmp_path / 'a'}:{tmp_path / 'b'}").python == tmp_path / "a" / "python"


def test_a_venv_on_path_is_active_even_if_it_is_our_own(venv: Path) -> None:
    # As in many containers: PATH leads into the venv, VIRTUAL_ENV is not set.
    assert choose(PATH=str(venv / "bin"), own=venv).prefix == venv


@pytest.mark.parametrize("mark", ["pipx_metadata.json", "uv-receipt.toml", "../CACHEDIR.TAG"])
def test_our_private_environment_is_never_the_target(tmp_path: Path, venv: Path, mark: str) -> None:
    private = tmp_path / "tools" / "simdinstall"
    make_venv(private)
    (private / mark).write_text("")
    assert interpreter.is_private(private)
    path = f"{private / 'bin'}:{venv / 'bin'}"
    assert choose(PATH=path, own=private).prefix == venv
    with pytest.raises(TargetError, match="no Python environment is active") as caught:
        choose(PATH=str(private / "bin"), own=private)
    assert "--python" in caught.value.hint
    # Somebody else's private environment may be meant.
    assert choose(PATH=path, own=venv).prefix == private


def test_the_mark_of_uv_inside_a_venv_does_not_make_it_private(tmp_path: Path) -> None:
    make_venv(tmp_path / "venv")
    (tmp_path / "venv" / "CACHEDIR.TAG").write_text("")
    assert not interpreter.is_private(tmp_path / "venv")


def test_a_throwaway_over_an_environment_means_that_environment(venv: Path, other: Path) -> None:
    config = venv / "pyvenv.cfg"
    before = config.read_text()
    config.write_text(f"{before}extends-environment = {other}\n")
    try:
        assert choose(VIRTUAL_ENV=str(venv), own=venv).prefix == other
    finally:
        config.write_text(before)


def test_no_python_anywhere() -> None:
    with pytest.raises(TargetError, match="no Python environment is active"):
        choose()


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_a_variable_that_leads_nowhere(tmp_path: Path, variable: str) -> None:
    with pytest.raises(TargetError) as caught:
        choose(**{variable: str(tmp_path / "gone"), "PATH": os.environ["PATH"]})
    assert f"${variable}" in str(caught.value)
    assert variable in caught.value.hint


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("gone", None, "does not exist"),
        ("empty-folder", "", "no bin/python"),
        ("data", "not a program", "cannot be started"),
        ("silent", "#!/bin/sh\nexit 3\n", "status 3"),
        ("shell", "#!/bin/sh\ncat\n", "inspect.py"),
        ("loud", "#!/bin/sh\necho first >&2\necho second >&2\nexit 1\n", "first"),
        ("trace", "#!/bin/sh\necho 'Traceback (x):' >&2\necho 'E: last' >&2\nexit 1\n", "E: last"),
    ],
)
def test_what_is_not_a_python(tmp_path: Path, name: str, content: str | None, why: str) -> None:
    path = tmp_path / name
    if name == "empty-folder":
        path.mkdir()
    elif content is not None:
        path.write_text(content)
        path.chmod(0o644 if name == "data" else 0o755)
    with pytest.raises(TargetError) as caught:
        choose(path)
    if name != "shell":
        assert why in caught.value.why
    assert str(path) in str(caught.value)
    assert caught.value.hint


def test_the_shells_variables_do_not_reach_the_interpreter(venv: Path, tmp_path: Path) -> None:
    variables = {
        "PATH": "/bin",
        "PYTHONPATH": str(tmp_path),
        "PYTHONHOME": "/nonexistent",
        "PYTHONSAFEPATH": "1",
        "PYTHONUSERBASE": str(tmp_path),
        "PYTHONNOUSERSITE": "1",
    }
    facts = interpreter.ask(venv / "bin" / "python", run=run, environ=variables)
    assert tmp_path not in facts.path
    assert Path() not in facts.path
    assert facts.user_site is not None
    assert facts.user_site.is_relative_to(tmp_path)
    assert not facts.user_site_enabled


def test_the_current_folder_is_not_on_the_path(venv: Path, tmp_path: Path) -> None:
    (tmp_path / "PIL").mkdir()
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    argv = [sys.executable, "-c", ASK_FROM_HERE, str(venv / "bin" / "python")]
    assert run(argv, cwd=tmp_path).stdout == "None\n"


ASK_FROM_HERE = """
import os, sys
sys.path.remove("")
from pathlib import Path
from simdinstall import interpreter
from simdinstall.run import run
print(interpreter.ask(Path(sys.argv[1]), run=run, environ=os.environ).pil)
"""


def test_tags_are_those_of_the_target(venv: Path) -> None:
    from packaging.tags import sys_tags

    assert choose(venv).tags == tuple(map(str, sys_tags()))


def test_the_settings_of_a_venv(tmp_path: Path) -> None:
    assert interpreter.read_config(tmp_path) == {}
    (tmp_path / "pyvenv.cfg").write_text("Home = /usr/bin\n\nuv = 0.13\nflag=\nnonsense\nx = a = b\n")
    assert interpreter.read_config(tmp_path) == {"home": "/usr/bin", "uv": "0.13", "flag": "", "x": "a = b"}


def test_applications_are_no_environments(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "__main__.py").write_text("print('not a Python')")
    zipapp.create_archive(source, tmp_path / "app.pyz", interpreter="/usr/bin/env python3")
    with pytest.raises(TargetError, match="is a zipapp") as caught:
        choose(tmp_path / "app.pyz")
    assert "left alone" in caught.value.why
    frozen = tmp_path / "frozen"
    (frozen / "_internal").mkdir(parents=True)
    (frozen / "_internal" / "base_library.zip").write_bytes(b"")
    (frozen / "frozen").write_bytes(b"\x7fELF")
    for path in (frozen, frozen / "frozen"):
        with pytest.raises(TargetError, match="made by PyInstaller"):
            choose(path)
