"""The exact command that mends a state of an environment, as far as there is one."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from simdinstall.environment import Environment, State, require_supported
from simdinstall.errors import TargetError


@dataclass(frozen=True, kw_only=True, slots=True)
class Remedy:
    """A command for a shell, "" for none. ``possible``: simdinstall may do it itself here."""

    command: str
    why: str = ""
    possible: bool = False


def install_command(env: Environment) -> str:
    """``simdinstall`` for this environment."""
    return f"simdinstall --python {shlex.quote(str(env.python))}"


def pip(env: Environment) -> str:
    """The command of pip for this environment, or uv where it has none."""
    if env.has_pip:
        return f"{shlex.quote(str(env.python))} -m pip"
    return f"uv pip --python {shlex.quote(str(env.python))}"


def venv(env: Environment) -> str:
    """The commands that lead to a venv with an accelerated Pillow."""
    maker = env.python if env.scope != "venv" else env.base_prefix / "bin" / "python3"
    bare = "" if env.has_ensurepip else "--without-pip "
    return f"{maker} -m venv {bare}~/pillow-env && simdinstall --python ~/pillow-env/bin/python"


def reinstall(env: Environment) -> Remedy:
    """Put one complete, accelerated Pillow in the place of whatever is there."""
    try:
        require_supported(env)
    except TargetError as refusal:
        return Remedy(command=_instead(env), why=refusal.why)
    return Remedy(command=install_command(env), possible=True)


def _instead(env: Environment) -> str:
    """What to do where simdinstall must not change anything."""
    if env.state == State.CONDA:
        return f"{install_command(env)} --conda"
    if env.state == State.EDITABLE:
        name = next((owner.name for owner in env.owners if owner.editable), "pillow")
        return f"{pip(env)} uninstall {name} && {install_command(env)}"
    if env.state == State.SYSTEM_PACKAGE or env.externally_managed:
        return venv(env)
    if env.shadowed_by is not None:
        return f"mv {shlex.quote(str(env.shadowed_by))} {shlex.quote(str(env.shadowed_by) + '.aside')}"
    if foreign := next((owner for owner in env.replaced if not owner.exclusive), None):
        return f"{pip(env)} uninstall {foreign.name} && {install_command(env)}"
    if env.newer_python is not None:
        return f"{env.newer_python} -m venv ~/pillow-env && simdinstall --python ~/pillow-env/bin/python"
    return venv(env)


def upgrade(env: Environment, *, ours: bool) -> Remedy:
    """Bring the newest release."""
    remedy = reinstall(env)
    if remedy.possible and ours:
        return Remedy(command=f"simdinstall upgrade --python {shlex.quote(str(env.python))}", possible=True)
    return remedy


def jpeg(env: Environment, loaded: Path) -> Remedy:
    """Have JPEG done by libjpeg-turbo again."""
    if (env.prefix / "conda-meta").is_dir() and loaded.is_relative_to(env.prefix):
        return Remedy(command=f"conda install -p {env.prefix} libjpeg-turbo")
    return reinstall(env)


def for_code(code: str, env: Environment) -> Remedy:
    """The remedy for one of the inspection's findings that a new installation does not cure."""
    if code in ("system-package", "editable", "conda", "conda-clobber", "foreign"):
        return Remedy(command=_instead(env))
    if code == "shadowed" and env.shadowed_by is not None:
        return Remedy(command=_instead(env))
    if code == "conda-libraries":
        prefix = shlex.quote(str(env.prefix))
        # conda's solver then says what else wanted the other one.
        command = (
            f"conda remove -p {prefix} jpeg && conda install -p {prefix} --force-reinstall libjpeg-turbo"
        )
        return Remedy(command=command, why="what was compiled for one loads the other")
    if code == "pythonpath":
        return Remedy(command="unset PYTHONPATH")
    if code == "in-use":
        return Remedy(command="", why="restart them after a change")
    return Remedy(command="")
