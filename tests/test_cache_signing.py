from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import cache_parts
from simdinstall.cache import node, signing
from simdinstall.cache.catalogue import NAME, signature_path
from simdinstall.errors import UsageError, VerifyError

pytest.importorskip("cryptography")


def write_key(folder: Path, name: str, *, passphrase: bytes = b"") -> Path:
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    locked = s.BestAvailableEncryption(passphrase) if passphrase else s.NoEncryption()
    path = folder / name
    path.write_bytes(key.private_bytes(s.Encoding.PEM, s.PrivateFormat.OpenSSH, locked))
    public = key.public_key().public_bytes(s.Encoding.OpenSSH, s.PublicFormat.OpenSSH)
    path.with_suffix(".pub").write_bytes(public + b" someone@somewhere\n")
    return path


def test_what_is_signed_is_verified(tmp_path: Path) -> None:
    key = signing.load_secret(write_key(tmp_path, "key"))
    trusted = signing.load_trusted(tmp_path / "key.pub")
    signature = key.sign(b"catalogue")
    assert signing.verify(b"catalogue", signature, trusted) == key.fingerprint
    with pytest.raises(VerifyError, match="does not fit"):
        signing.verify(b"Catalogue", signature, trusted)


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no OpenSSH here")
def test_openssh_agrees(tmp_path: Path) -> None:
    key = signing.load_secret(write_key(tmp_path, "key"))
    (tmp_path / "sig").write_text(key.sign(b"catalogue"))
    public = (tmp_path / "key.pub").read_text()
    (tmp_path / "allowed").write_text(f"builder@cluster {public}")
    check = ["ssh-keygen", "-Y", "verify", "-f", "allowed", "-I", "builder@cluster"]
    options = ["-n", "simdinstall-cache", "-s", "sig"]
    for content, status in ((b"catalogue", 0), (b"other", 255)):
        done = subprocess.run([*check, *options], cwd=tmp_path, input=content, capture_output=True)
        assert done.returncode == status
    # And the other way round.
    write_key(tmp_path, "theirs").chmod(0o600)
    (tmp_path / "message").write_bytes(b"catalogue")
    sign = ["ssh-keygen", "-Y", "sign", "-f", "theirs", "-n", "simdinstall-cache", "message"]
    subprocess.run(sign, cwd=tmp_path, check=True, capture_output=True)
    trusted = signing.load_trusted(tmp_path / "theirs.pub")
    assert signing.verify(b"catalogue", (tmp_path / "message.sig").read_text(), trusted)


def test_a_key_that_is_not_trusted(tmp_path: Path) -> None:
    key = signing.load_secret(write_key(tmp_path, "key"))
    write_key(tmp_path, "other")
    with pytest.raises(VerifyError, match="not trusted"):
        signing.verify(b"x", key.sign(b"x"), signing.load_trusted(tmp_path / "other.pub"))


@pytest.mark.parametrize("cut", [10, 60, 150, 200])
def test_a_damaged_signature(tmp_path: Path, cut: int) -> None:
    key = signing.load_secret(write_key(tmp_path, "key"))
    lines = key.sign(b"x").splitlines()
    damaged = "\n".join([lines[0], "".join(lines[1:-1])[: cut // 4 * 4], lines[-1]])
    with pytest.raises(VerifyError):
        signing.verify(b"x", damaged, signing.load_trusted(tmp_path / "key.pub"))
    with pytest.raises(VerifyError, match="cannot be read"):
        signing.verify(b"x", "", signing.load_trusted(tmp_path / "key.pub"))


def test_a_signature_for_another_purpose(tmp_path: Path) -> None:
    key = signing.load_secret(write_key(tmp_path, "key"))
    import base64

    lines = key.sign(b"x").splitlines()
    blob = base64.b64decode("".join(lines[1:-1])).replace(b"simdinstall-cache", b"some-other-things")
    text = "\n".join([lines[0], base64.b64encode(blob).decode(), lines[-1]])
    with pytest.raises(VerifyError, match="cannot be read") as caught:
        signing.verify(b"x", text, signing.load_trusted(tmp_path / "key.pub"))
    assert "another purpose" in caught.value.why


def test_keys_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    for path in (tmp_path / "text", tmp_path / "nothing"):
        with pytest.raises(UsageError) as caught:
            signing.load_secret(path)
        assert "ssh-keygen -t ed25519" in caught.value.hint
        with pytest.raises(UsageError):
            signing.load_trusted(path)
    locked = write_key(tmp_path, "locked", passphrase=b"secret")
    with pytest.raises(UsageError) as caught:
        signing.load_secret(locked)
    assert signing.PASSPHRASE in caught.value.hint


def test_a_signed_cache(tmp_path: Path) -> None:
    key = signing.load_secret(write_key(tmp_path, "key"))
    trusted = signing.load_trusted(tmp_path / "key.pub")
    house = cache_parts.filled(tmp_path / "wh", tmp_path / "s", cache_parts.cell())
    where = node.place(str(house.root))
    with pytest.raises(VerifyError, match="not signed"):
        node.catalogue(where, trusted=trusted)
    house.publish(lambda catalogue: catalogue, signer=key)
    assert node.catalogue(where, trusted=trusted).signer == key.fingerprint
    catalogue = house.root / NAME
    text = catalogue.read_bytes()
    altered = text.replace(b"13.0.0", b"13.0.1")
    signature = (house.root / signature_path(text)).read_bytes()
    catalogue.write_bytes(altered)
    with pytest.raises(VerifyError, match="not signed"):
        node.catalogue(where, trusted=trusted)
    (house.root / signature_path(altered)).write_bytes(signature)
    with pytest.raises(VerifyError, match="does not fit"):
        node.catalogue(where, trusted=trusted)
