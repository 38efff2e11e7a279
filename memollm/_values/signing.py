"""Signatures: which key this user signs records with, and whose records are trusted.

A record that names code is loaded only if a trusted key signed it. The key is 32 random bytes in the user's config
folder, made on first need; `MEMOLLM_SIGNING_KEY` takes its place, so that a team can share one.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from memollm._types.hashing import sha256
from memollm.errors import OptionError, UntrustedRecord

if TYPE_CHECKING:
    from collections.abc import Iterable

VARIABLE = "MEMOLLM_SIGNING_KEY"
FILE = "signing.key"
_ID_LENGTH = 8
_MAC_LENGTH = 32
_BLOCK = 64
_FEWEST_CHARACTERS = 16


class _Mac:
    """HMAC-SHA256 with one key, whose own blocks are hashed once: faster than `hmac.digest`, and safe after a fork."""

    def __init__(self, key: bytes) -> None:
        block = (sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in block))

    def of(self, message: bytes) -> str:
        """Return what only who has the key can make of a message."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.hexdigest()[:_MAC_LENGTH]


class Signer:
    """Sign with one key, and accept what it or any of the `trusted` keys signed."""

    def __init__(self, key: bytes | str, *, trusted: Iterable[bytes | str] = ()) -> None:
        own = _key_bytes(key)
        self.key_id = _key_id(own)
        self._trusted = {_key_id(known): _Mac(known) for known in (*map(_key_bytes, trusted), own)}
        self._own = self._trusted[self.key_id]

    @classmethod
    def of_user(cls, *, trusted: Iterable[bytes | str] = ()) -> Signer:
        """Make the signer of this user: the key in the environment, or else the one in the config folder."""
        shared = os.environ.get(VARIABLE)
        if not shared:
            return cls(read_or_make_key(key_file()), trusted=trusted)
        own = [_read(key_file())] if key_file().is_file() else []
        return cls(shared, trusted=[*trusted, *own])

    def trust(self, key: bytes | str) -> None:
        """Accept what this key signed, too."""
        known = _key_bytes(key)
        self._trusted[_key_id(known)] = _Mac(known)

    def sign(self, message: bytes) -> bytes:
        """Return the id of the key and the signature, both in hexadecimal, as one header."""
        return f"{self.key_id}:{self._own.of(message)}:".encode()

    def knows(self, header: bytes) -> bool:
        """Tell whether a signature says that a trusted key made it."""
        return _parts(header)[0] in self._trusted

    def verify(self, header: bytes, message: bytes) -> None:
        """Raise `UntrustedRecord` unless a trusted key signed exactly this message."""
        if hmac.compare_digest(header, self.sign(message)):
            return
        key_id, mac = _parts(header)
        known = self._trusted.get(key_id)
        if known is None:
            raise UntrustedRecord(
                f"the record is signed by key {key_id}, yours is {self.key_id}, so it is not loaded: it could run "
                f"code. If you trust whoever wrote it, get their key (their {VARIABLE}, or what the file {FILE} "
                f"holds that `memollm doctor` names to them): set {VARIABLE} to it, or Cache(...).trust(it)",
            )
        if not hmac.compare_digest(mac, known.of(message)):
            raise UntrustedRecord(
                f"the record says that key {key_id} signed it, but the signature does not fit: it was changed, or "
                "copied from another call, so it is not loaded. Forget this sample and draw it again",
            )


def _parts(header: bytes) -> tuple[str, str]:
    """Read whose signature it is, and the signature."""
    key_id, _, mac = header.decode("ascii", "replace").rstrip(":").partition(":")
    return key_id, mac


def key_file() -> Path:
    """Say where the user's own key lives."""
    import platformdirs

    return Path(platformdirs.user_config_dir("memollm", appauthor=False)) / FILE


def read_or_make_key(path: Path) -> bytes:
    """Read the key at `path`; make it if there is none. Processes that race agree on one key."""
    with contextlib.suppress(FileNotFoundError):
        return _read(path)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{FILE}.{secrets.token_hex(8)}")
    try:
        _write_private(draft, secrets.token_hex(32).encode())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)  # Whole or not at all, and only for the first.
    finally:
        draft.unlink(missing_ok=True)
    return _read(path)


def _write_private(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path) -> bytes:
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise OptionError(
            f"other users can reach the signing key {path}, so its signatures prove nothing: if nobody else has used "
            "it, `chmod 600` it, otherwise delete it and have a new one made",
        )
    try:
        key = bytes.fromhex(path.read_text("ascii"))
    except ValueError:
        key = b""
    if len(key) != sha256().digest_size:
        raise OptionError(f"the signing key {path} is damaged: restore it, or delete it and have a new one made")
    return key


def _key_bytes(key: bytes | str) -> bytes:
    if isinstance(key, bytes):
        return key
    if len(key) < _FEWEST_CHARACTERS:
        raise OptionError(
            f"a signing key of {len(key)} characters could be guessed: {VARIABLE} needs at least "
            f'{_FEWEST_CHARACTERS}, for example from `python -c "import secrets; print(secrets.token_hex(32))"`',
        )
    try:
        return _file_form(key) or sha256(b"memollm signing key\0" + key.encode()).digest()
    except UnicodeEncodeError as exc:
        raise OptionError(f"{VARIABLE} is not text") from exc


def _file_form(key: str) -> bytes | None:
    """Take a key copied out of a key file for what it is there."""
    with contextlib.suppress(ValueError):
        if len(raw := bytes.fromhex(key.strip())) == sha256().digest_size:
            return raw
    return None


def _key_id(key: bytes) -> str:
    return _Mac(key).of(b"memollm key id")[:_ID_LENGTH]
