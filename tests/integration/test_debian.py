"""Real Debian systems with dpkg's own Pillow, as root and as an ordinary user.

Minutes, and root for debootstrap and chroot: run where SIMDINSTALL_TEST_DEBIAN names a folder, in which
the systems are made once and kept.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import debian
import pytest
from debian import NEWCOMER, ROOT, System
from shop import OLDER, Shop

FOLDER = os.environ.get("SIMDINSTALL_TEST_DEBIAN", "")
#: Debian 12 and 13: Python 3.11 and 3.13, both externally managed.
SUITES = ("bookworm", "trixie")

pytestmark = [
    pytest.mark.network,
    pytest.mark.skipif(not FOLDER, reason="SIMDINSTALL_TEST_DEBIAN names no folder for Debian systems"),
    pytest.mark.skipif(os.geteuid() != 0, reason="debootstrap and chroot need root"),
    pytest.mark.skipif(
        not all(map(shutil.which, ("debootstrap", "unshare"))), reason="there is no debootstrap or unshare"
    ),
]

#: Installs a wheel that was built and verified outside, uses it, and takes it back.
SWAP = """
import json, sys
from pathlib import Path
from simdinstall import environment, install, wheel
from simdinstall.run import run
from simdinstall.verify import Verdict
python = Path(sys.argv[1])
env = environment.inspect(python)
environment.require_supported(env)
verdict = Verdict.from_json(json.loads(Path("/mnt/verdict.json").read_text()))
install.install(wheel.read(next(Path("/mnt/ours").glob("*.whl")), cached=True), verdict, env, grace=0)
print(environment.inspect(python).state)
print(run([python, "-c", "from PIL import _simd, Image; print(Image.__version__)"], cwd=Path("/")).stdout)
install.rollback(environment.inspect(python), grace=0)
print(environment.inspect(python).state)
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    made = Shop(tmp_path_factory.mktemp("shop"))
    yield made
    made.close()


@pytest.fixture(scope="module", params=SUITES)
def system(
    request: pytest.FixtureRequest, shop: Shop, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    made = System(debian.make(Path(FOLDER), request.param), tmp_path_factory.mktemp("debian") / "root")
    ours = shop.made(made.series)
    (made.root / "mnt/ours").mkdir()
    made.write(f"ours/{ours.wheel.path.name}", ours.wheel.path.read_bytes())
    made.write("verdict.json", json.dumps(ours.verdict.to_json()).encode())
    made.write("swap.py", SWAP.encode())
    yield made
    shutil.rmtree(made.root)


@pytest.fixture
def free(system: System) -> Iterator[System]:
    """The system as one where pip may do as it likes, as in many an image."""
    marker = system.library / "EXTERNALLY-MANAGED"
    aside = marker.with_name("aside")
    marker.rename(aside)
    yield system
    aside.rename(marker)


@contextlib.contextmanager
def pip_installed(system: System, shop: Shop, user: str) -> Iterator[None]:
    """A stock Pillow that pip puts in front of dpkg's, for everybody or for one user."""
    stock = shop.wheel(OLDER, system.series)
    where = ("--user",) if user == NEWCOMER else ()
    system.pip(*where, system.write(stock.name, stock.read_bytes()), user=user)
    yield
    system.run(
        "python3", "-m", "pip", "uninstall", "-q", "-y", "--break-system-packages", "pillow", user=user
    )


def doctor(system: System, python: str, user: str) -> dict[str, object]:
    said = system.simdinstall("doctor", "--offline", "--json", "--python", python, user=user)
    assert said.stdout, said.stderr
    document: dict[str, object] = json.loads(said.stdout)
    assert document["exit_code"] == said.returncode
    return document


def codes(document: dict[str, object]) -> dict[str, dict[str, str]]:
    findings = document["findings"]
    assert isinstance(findings, list)
    return {finding["code"]: finding for finding in findings}


def swap(system: System, python: str, user: str, *, back: str) -> None:
    """Install and roll back; nothing else than the plan may change in between, nothing at all in the end."""
    before = system.snapshot()
    said = system.run("/opt/simdinstall/bin/python", "/mnt/swap.py", python, user=user)
    assert said.stdout.split() == ["ours", "13.0.0", back]
    assert system.snapshot() == before


@pytest.mark.parametrize("user", [ROOT, NEWCOMER])
def test_what_dpkg_owns_is_never_touched(system: System, user: str) -> None:
    before = system.snapshot()
    document = doctor(system, "/usr/bin/python3", user)
    told = codes(document)
    assert (document["state"], document["exit_code"]) == ("system-package", 1)
    assert not any(finding["fixable"] for finding in told.values())
    assert "dpkg (python3-pil)" in told["system-package"]["what"]
    for words in (("--yes",), ("doctor", "--fix", "--yes"), ("--yes", "--pillow", "12.3.0")):
        refused = system.simdinstall(*words, "--offline", "--python", "/usr/bin/python3", user=user)
        assert refused.returncode == (1 if words[0] == "doctor" else 4), refused.output
        assert "-m venv" in refused.output
        assert "Traceback" not in refused.output
    assert system.snapshot() == before
    # What is offered instead works as it is printed.
    offered, _, then = told["no-kernels"]["command"].partition(" && ")
    assert then == "simdinstall --python ~/pillow-env/bin/python"
    system.run("sh", "-c", offered, user=user)
    home = debian.HOMES[user]
    assert set(codes(doctor(system, f"{home}/pillow-env", user))) >= {"none"}
    swap(system, f"{home}/pillow-env/bin/python", user, back="none")
    shutil.rmtree(system.root / home[1:] / "pillow-env")


@pytest.mark.parametrize("user", [ROOT, NEWCOMER])
def test_a_venv_over_it(system: System, user: str) -> None:
    prefix = f"{debian.HOMES[user]}/over"
    system.run("python3", "-m", "venv", "--without-pip", "--system-site-packages", prefix, user=user)
    document = doctor(system, prefix, user)
    assert "outside" in codes(document)
    swap(system, f"{prefix}/bin/python", user, back="none")


def test_another_users_venv_is_refused(system: System) -> None:
    system.run("python3", "-m", "venv", "--without-pip", "/opt/env-of-root")
    refused = system.simdinstall("--offline", "--yes", "--python", "/opt/env-of-root", user=NEWCOMER)
    assert refused.returncode == 4
    assert "no permission" in refused.output
    assert "-m venv" in refused.output


@pytest.mark.parametrize("user", [ROOT, NEWCOMER])
def test_what_pip_broke_into_a_managed_system(system: System, shop: Shop, user: str) -> None:
    """Externally managed is externally managed, whoever has overridden it before."""
    with pip_installed(system, shop, user):
        before = system.snapshot()
        refused = system.simdinstall("--offline", "--yes", "--python", "/usr/bin/python3", user=user)
        assert refused.returncode == 4
        assert "EXTERNALLY-MANAGED" in refused.output
        assert codes(doctor(system, "/usr/bin/python3", user))["no-kernels"]["fixable"] is False
        assert system.snapshot() == before


@pytest.mark.parametrize("user", [ROOT, NEWCOMER])
def test_pips_pillow_before_dpkgs(free: System, shop: Shop, user: str) -> None:
    """The system's own Python where it is not managed: root's is for all, a user's in his home."""
    with pip_installed(free, shop, user):
        document = doctor(free, "/usr/bin/python3", user)
        environment = document["environment"]
        assert isinstance(environment, dict)
        assert environment["scope"] == ("user" if user == NEWCOMER else "system")
        assert environment["site"].startswith("/home/newcomer/.local" if user == NEWCOMER else "/usr/local")
        swap(free, "/usr/bin/python3", user, back="stock")


@pytest.mark.parametrize("user", [ROOT, NEWCOMER])
def test_dpkgs_where_nothing_is_managed(free: System, user: str) -> None:
    before = free.snapshot()
    refused = free.simdinstall("--offline", "--yes", "--python", "/usr/bin/python3", user=user)
    assert refused.returncode == 4
    assert "belongs to the package manager" in refused.output
    assert free.snapshot() == before


@pytest.mark.parametrize("manager", ["rpm", "pacman", "apk"])
def test_other_package_managers(free: System, shop: Shop, manager: str) -> None:
    """rpm and pacman themselves, with databases of their own, beside dpkg."""
    with free.packaged(manager, shop.wheel(OLDER, free.series)):
        before = free.snapshot()
        name = {"rpm": "python3-pillow", "pacman": "python-pillow", "apk": "py3-pillow"}[manager]
        # Debian 12's rpm looks into a database of the user's own, in his home.
        for user in (ROOT,) if manager == "rpm" else (ROOT, NEWCOMER):
            document = doctor(free, "/usr/bin/python3", user)
            assert document["state"] == "system-package"
            assert f"{manager} ({name})" in codes(document)["system-package"]["what"]
            refused = free.simdinstall("--offline", "--yes", "--python", "/usr/bin/python3", user=user)
            assert refused.returncode == 4
            assert "belongs to the package manager" in refused.output
        assert free.snapshot() == before


def test_python_314(tmp_path: Path) -> None:
    """Debian sid has Python 3.14: the commands themselves, an ordinary user, the real index."""
    newest = System(debian.make(Path(FOLDER), "sid"), tmp_path / "root")
    newest.connect()
    prefix = f"{debian.HOMES[NEWCOMER]}/env"
    newest.run("python3", "-m", "venv", "--without-pip", prefix, user=NEWCOMER)
    before = newest.snapshot()
    done = newest.simdinstall("--yes", "--python", prefix, user=NEWCOMER)
    assert done.returncode == 0, done.output
    document = doctor(newest, prefix, NEWCOMER)
    assert (document["exit_code"], document["ours"]) == (0, True)
    back = newest.simdinstall("rollback", "--yes", "--python", prefix, user=NEWCOMER)
    assert back.returncode == 0, back.output
    after = newest.snapshot()
    cache = str(newest.root / "home/newcomer/.cache/")
    assert {name: state for name, state in after.items() if not name.startswith(cache)} == before
    shutil.rmtree(newest.root)
