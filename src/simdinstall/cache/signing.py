"""Signatures of catalogues, in the format of OpenSSH (``ssh-keygen -Y``).

The cryptography is that of the library `cryptography`; here is only the envelope, as
PROTOCOL.sshsig of OpenSSH describes it. So a signature can be checked without this tool:

    ssh-keygen -Y check-novalidate -n simdinstall-cache -s SIGNATURE < catalogue.json
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import struct
import textwrap
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simdinstall.errors import UsageError, VerifyError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

NAMESPACE = b"simdinstall-cache"
PASSPHRASE = "SIMDINSTALL_SIGN_PASSPHRASE"  # noqa: S105 - the name of a variable

_MAGIC = b"SSHSIG"
_TYPE = b"ssh-ed25519"
_BEGIN = "-----BEGIN SSH SIGNATURE-----"
_END = "-----END SSH SIGNATURE-----"

_MAKE_ONE = "make one with: ssh-keygen -t ed25519 -f cache-key"


@dataclass(frozen=True, kw_only=True, slots=True)
class SecretKey:
    """A key to sign with: an Ed25519 key as ``ssh-keygen -t ed25519`` makes it."""

    key: Ed25519PrivateKey
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """``SHA256:…``, as ``ssh-keygen -l`` shows it."""
        return _fingerprint(self.blob)

    def sign(self, content: bytes) -> str:
        """The signature of some bytes, as text."""
        raw = self.key.sign(_to_be_signed(content, b"sha512"))
        envelope = (
            _MAGIC
            + struct.pack(">I", 1)
            + _string(self.blob)
            + _string(NAMESPACE)
            + _string(b"")
            + _string(b"sha512")
            + _string(_string(_TYPE) + _string(raw))
        )
        lines = textwrap.wrap(base64.b64encode(envelope).decode(), 70)
        return "\n".join([_BEGIN, *lines, _END, ""])


def load_secret(path: Path) -> SecretKey:
    """Read a private key; its passphrase is in ``$SIMDINSTALL_SIGN_PASSPHRASE``. UsageError."""
    ssh = _library()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    passphrase = os.environ.get(PASSPHRASE, "")
    try:
        key: Any = ssh.load_ssh_private_key(path.read_bytes(), passphrase.encode() or None)
    except OSError as error:
        raise UsageError(
            f"the key {path} cannot be read", why=error.strerror or "", hint=_MAKE_ONE
        ) from error
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{path} is no private key that can be used",
            why=str(error),
            hint=f"if it has a passphrase, put it into {PASSPHRASE}; or {_MAKE_ONE}",
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path} is no Ed25519 key", hint=_MAKE_ONE)
    public = key.public_key().public_bytes(ssh.Encoding.OpenSSH, ssh.PublicFormat.OpenSSH)
    return SecretKey(key=key, blob=base64.b64decode(public.split()[1]))


def load_trusted(path: Path) -> frozenset[bytes]:
    """The public keys in a ``.pub`` file or in one of allowed signers. UsageError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise UsageError(f"the key {path} cannot be read", why=str(error)) from error
    found = set()
    for line in lines:
        words = line.split()
        for kind, text in pairwise(words):
            if kind == _TYPE.decode() and not line.lstrip().startswith("#"):
                try:
                    found.add(base64.b64decode(text, validate=True))
                except binascii.Error as error:
                    raise UsageError(f"{path} holds a damaged key", why=str(error)) from error
    if not found:
        raise UsageError(
            f"there is no Ed25519 public key in {path}", hint="give the .pub file of the key that signs"
        )
    return frozenset(found)


def verify(content: bytes, signature: str, trusted: frozenset[bytes]) -> str:
    """The fingerprint of the trusted key that signed ``content``. VerifyError."""
    ssh = _library()
    from cryptography.exceptions import InvalidSignature

    try:
        blob, algorithm, raw = _open(signature)
    except (ValueError, struct.error) as error:
        raise VerifyError("the signature cannot be read", why=str(error)) from error
    if blob not in trusted:
        raise VerifyError(
            "the catalogue is signed by a key that is not trusted",
            why=f"it is {_fingerprint(blob)}; trusted: {', '.join(sorted(map(_fingerprint, trusted)))}",
        )
    public: Any = ssh.load_ssh_public_key(_TYPE + b" " + base64.b64encode(blob))
    try:
        public.verify(raw, _to_be_signed(content, algorithm))
    except InvalidSignature as error:
        raise VerifyError(
            "the signature does not fit the catalogue", why="the one or the other was altered"
        ) from error
    return _fingerprint(blob)


def _library() -> Any:
    try:
        from cryptography.hazmat.primitives import serialization
    except ImportError as error:
        raise UsageError(
            "signatures need the library cryptography",
            why=str(error),
            hint="install it: pip install 'simdinstall[sign]'",
        ) from error
    return serialization


def _fingerprint(blob: bytes) -> str:
    return f"SHA256:{base64.b64encode(hashlib.sha256(blob).digest()).rstrip(b'=').decode()}"


def _string(content: bytes) -> bytes:
    """RFC 4251's string: four bytes of length, big end first, then the bytes."""
    return struct.pack(">I", len(content)) + content


def _to_be_signed(content: bytes, algorithm: bytes) -> bytes:
    hashed = hashlib.new(algorithm.decode(), content).digest()
    return _MAGIC + _string(NAMESPACE) + _string(b"") + _string(algorithm) + _string(hashed)


def _open(signature: str) -> tuple[bytes, bytes, bytes]:
    """Public key, name of the hash, and raw signature. ValueError, struct.error."""
    lines = signature.strip().splitlines()
    if len(lines) < 3 or lines[0] != _BEGIN or lines[-1] != _END:
        raise ValueError("it is not in OpenSSH's format")
    data = base64.b64decode("".join(lines[1:-1]), validate=True)
    if data[:6] != _MAGIC or data[6:10] != struct.pack(">I", 1):
        raise ValueError("it is not in OpenSSH's format, version 1")
    blob, rest = _take(data[10:])
    namespace, rest = _take(rest)
    _, rest = _take(rest)
    algorithm, rest = _take(rest)
    inner, _ = _take(rest)
    kind, rest = _take(inner)
    raw, _ = _take(rest)
    if namespace != NAMESPACE:
        raise ValueError(f"it was made for another purpose: {namespace.decode(errors='replace')}")
    if algorithm not in (b"sha256", b"sha512") or kind != _TYPE:
        raise ValueError("it is of a kind that is not used here")
    return blob, algorithm, raw


def _take(data: bytes) -> tuple[bytes, bytes]:
    (size,) = struct.unpack_from(">I", data)
    if len(data) < 4 + size:
        raise ValueError("it is cut off")
    return data[4 : 4 + size], data[4 + size :]
