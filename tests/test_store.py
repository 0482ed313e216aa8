from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from simdinstall import store
from simdinstall.errors import BusyError, NoSpaceError, StateError
from simdinstall.store import Store


def writer(text: str = "content") -> object:
    def make(folder: Path) -> None:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text(text)

    return make


def put(cache: Store, key: str = "k", text: str = "content") -> store.Entry:
    return cache.put("things", key, writer(text))  # type: ignore[arg-type]


def never(folder: Path) -> None:
    raise AssertionError("made again without need")


def test_an_entry_is_made_once(tmp_path: Path) -> None:
    cache = Store(tmp_path)
    assert cache.get("things", "k") is None
    made = put(cache)
    assert (made.fresh, made.repaired) == (True, False)
    assert (made.path / "deep" / "file").read_text() == "content"
    again = cache.put("things", "k", never)
    assert (again.path, again.fresh, again.repaired) == (made.path, False, False)
    assert cache.get("things", "k") == again


@pytest.mark.parametrize("damage", ["change", "truncate", "delete", "add", "manifest", "no-manifest", "file"])
def test_a_damaged_entry_is_made_again_and_said(tmp_path: Path, damage: str) -> None:
    cache = Store(tmp_path)
    path = put(cache).path
    file, manifest = path / "deep" / "file", path / "manifest.json"
    if damage == "change":
        file.write_text("CONTENT")
    elif damage == "truncate":
        file.write_text("")
    elif damage == "delete":
        file.unlink()
    elif damage == "add":
        (path / "intruder").write_text("")
    elif damage == "manifest":
        manifest.write_text(manifest.read_text()[:-9])
    elif damage == "no-manifest":
        manifest.unlink()
    else:
        path.rename(tmp_path / "elsewhere")
        path.write_text("a file where a folder was")
    assert cache.get("things", "k") is None
    entry = put(cache, text="anew")
    assert (entry.fresh, entry.repaired) == (True, True)
    assert (entry.path / "deep" / "file").read_text() == "anew"
    assert not list(path.parent.glob(".*"))


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    cache = Store(tmp_path)

    def fail(folder: Path) -> None:
        (folder / "half").write_text("done")
        raise ValueError("the compiler failed")

    with pytest.raises(ValueError, match="the compiler failed"):
        cache.put("things", "k", fail)
    assert not list((tmp_path / "things").iterdir())
    assert put(cache).fresh


def test_a_full_device_leaves_nothing(tmp_path: Path) -> None:
    cache = Store(tmp_path)

    def fill(folder: Path) -> None:
        (folder / "half").write_text("done")
        with Path("/dev/full").open("w") as full:
            full.write("more")

    with pytest.raises(NoSpaceError, match="no space left") as caught:
        cache.put("things", "k", fill)
    assert "SIMDINSTALL_CACHE_DIR" in caught.value.hint
    assert os.strerror(errno.ENOSPC) in caught.value.why
    assert not list((tmp_path / "things").iterdir())


def test_a_really_full_device_leaves_nothing(tmp_path: Path) -> None:
    """With a file system of 256 KiB, where this process may mount one."""
    script = f"""
mount -t tmpfs -o size=256k tmpfs {tmp_path} || exit 77
{sys.executable} - <<'END'
from pathlib import Path
from simdinstall.errors import NoSpaceError
from simdinstall.store import Store
def make(folder):
    (folder / "large").write_bytes(bytes(1 << 20))
try:
    Store(Path({str(tmp_path)!r})).put("things", "k", make)
except NoSpaceError:
    assert not list(Path({str(tmp_path)!r}, "things").iterdir())
    raise SystemExit(55)
END
"""
    source = Path(store.__file__).parent.parent
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", script],
        env={**os.environ, "PYTHONPATH": str(source)},
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode in (1, 77):
        pytest.skip(f"cannot mount here: {done.stderr}")
    assert done.returncode == 55, done.stderr


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="cannot be written") as caught:
        put(Store(tmp_path / "file" / "cache"))
    assert "SIMDINSTALL_CACHE_DIR" in caught.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_without_permission_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(StateError, match="cannot be written"):
        put(Store(tmp_path / "cache"))


def test_a_second_process_waits_and_takes_what_the_first_made(tmp_path: Path) -> None:
    made = []

    def slowly(folder: Path) -> None:
        made.append(folder)
        time.sleep(0.2)
        (folder / "file").write_text("one")

    # FileLock objects are per descriptor: threads with stores of their own are as strangers.
    threads = [threading.Thread(target=lambda: Store(tmp_path).put("things", "k", slowly)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


_HOLD = """
import sys, time
from pathlib import Path
from simdinstall.store import Store
def make(folder):
    (folder / "half").write_text("done")
    print("making", flush=True)
    time.sleep(600)
Store(Path(sys.argv[1])).put("things", "k", make)
"""


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    """A process that is in the middle of making the entry."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(store.__file__).parent.parent)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "making\n"
    return process


def test_a_process_that_takes_too_long_is_named(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    try:
        with pytest.raises(BusyError, match="another simdinstall"):
            put(Store(tmp_path, patience=0.1))
    finally:
        holder.kill()
        holder.communicate()


def test_a_killed_process_leaves_nothing_in_the_way(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert Store(tmp_path).get("things", "k") is None
    assert put(Store(tmp_path, patience=120)).fresh
    assert [path.name for path in (tmp_path / "things").iterdir()] == ["k"]


def test_texts_are_worked_out_once_and_damage_is_noticed(tmp_path: Path) -> None:
    cache = Store(tmp_path)
    assert cache.text("texts", "k", lambda: "one") == "one"
    assert cache.text("texts", "k", lambda: "two") == "one"
    (tmp_path / "texts" / "k" / "text").write_text("altered")
    assert cache.text("texts", "k", lambda: "three") == "three"


def test_a_text_needs_no_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert Store(tmp_path / "file").text("texts", "k", lambda: "one") == "one"


def test_digests_do_not_depend_on_the_order_of_keys() -> None:
    assert store.digest({"a": [1, None], "b": "ü"}) == store.digest({"b": "ü", "a": [1, None]})
    assert store.digest({"a": ["x", "y"]}) != store.digest({"a": ["xy"]})
    assert store.digest(["1"]) != store.digest([1])
