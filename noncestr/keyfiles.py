"""Secret keys as files: one bech32 nsec (NIP-19) each, mode 0600, made at the first start."""

import os
import secrets
import stat
from pathlib import Path

from nips.errors import InvalidKey
from nips.keys import SecretKey
from nips.nip19 import decode_nsec, encode_nsec
from noncestr.errors import KeyFileError

MODE = 0o600


def load_or_create(directory: Path, name: str) -> SecretKey:
    """The key in `directory/name.nsec`, made if there is none. Raises KeyFileError; no message quotes the key."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = directory / f"{name}.nsec"
    if not path.exists():
        _write(path, _fresh())
    return load(path)


def load(path: Path) -> SecretKey:
    """Raises KeyFileError when the file is missing, not a key, or can be read by others."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"cannot read the key file {path}: {error}") from None
    if mode & 0o077:
        raise KeyFileError(f"the key file {path} can be read by others (mode {mode:04o}): run chmod 600 {path}")
    try:
        return SecretKey(decode_nsec(text))
    except InvalidKey as error:
        raise KeyFileError(f"the key file {path} holds no nsec: {error}") from None


def _fresh() -> SecretKey:
    while True:
        try:
            return SecretKey(secrets.token_bytes(32))
        except InvalidKey:  # one draw in 2^128 lies outside the group
            continue


def _write(path: Path, key: SecretKey) -> None:
    """Write beside and rename, so that a kill leaves either no key or a whole one."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(encode_nsec(key.secret_bytes()) + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
