"""Secret keys as files, one key each, mode 0600, by what stands in them:

NAME.nsec        a bech32 nsec (NIP-19), made at the first start
NAME.ncryptsec   the key under a passphrase (NIP-49)
NAME.bunker      no key: the remote signer that has it (NIP-46), see `BunkerFile`
"""

import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from nips.errors import InvalidKey, NipError
from nips.keys import SecretKey
from nips.nip19 import decode_nsec, encode_npub, encode_nsec, parse_pubkey
from nips.nip46 import Bunker, parse_bunker
from nips.nip49 import DEFAULT_LOG_N, NONCE_SIZE, SALT_SIZE, InvalidEncryptedKey, decrypt_key, encrypt_key
from noncestr.errors import KeyFileError
from noncestr.keys.passphrase import Passphrase
from noncestr.whole_file import write_whole

NSEC, NCRYPTSEC, BUNKER = ".nsec", ".ncryptsec", ".bunker"
FORMS: Final = (NSEC, NCRYPTSEC, BUNKER)
Ask = Callable[[], str]


@dataclass(frozen=True, slots=True)
class BunkerFile:
    """Three lines: where the remote signer listens (bunker://), whose key it has (an npub), and the key we speak to it
    with (an nsec), which is all that a thief of this file gets.
    """

    signer: Bunker
    user: str
    own: SecretKey = field(repr=False)


def find(directory: Path, name: str) -> Path | None:
    """The file of a key; None when there is none yet. Raises KeyFileError when there are two."""
    found = [path for path in (directory / f"{name}{form}" for form in FORMS) if path.exists()]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise KeyFileError(f"{directory} has {names}: one of them is the key, move the other away")
    return found[0] if found else None


def load_or_create(directory: Path, name: str, ask: Ask | None = None) -> SecretKey:
    """The key of that name, made if there is none. `ask` gives the passphrase of an encrypted one.

    Raises KeyFileError; no message quotes the key.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise KeyFileError(f"cannot make the folder of keys {directory}: {error.strerror or error}") from None
    path = find(directory, name)
    if path is None:
        path = directory / f"{name}{NSEC}"
        write_nsec(path, fresh())
    return load(path, ask)


def load(path: Path, ask: Ask | None = None) -> SecretKey:
    """A key at hand. Raises KeyFileError when the file is missing, not a key, or can be read by others."""
    text = _read(path)
    if path.suffix == BUNKER:
        raise KeyFileError(f"{path} names a remote signer, but this key has to be at hand: it signs too often")
    try:
        if path.suffix == NCRYPTSEC:
            return decrypt_key(text, (ask or Passphrase())())
        return SecretKey(decode_nsec(text))
    except InvalidEncryptedKey as error:
        raise KeyFileError(f"the key file {path}: {error}") from None
    except InvalidKey as error:
        raise KeyFileError(f"the key file {path} holds no nsec: {error}") from None


def pubkey_of(directory: Path, name: str, ask: Ask | None = None) -> str:
    """The public key (hex) of a key that exists, wherever it is. Raises KeyFileError."""
    path = find(directory, name)
    if path is None:
        raise KeyFileError(f"there is no key file {directory / name}{NSEC}")
    return load_bunker(path).user if path.suffix == BUNKER else load(path, ask).pubkey


def load_bunker(path: Path) -> BunkerFile:
    """Raises KeyFileError."""
    lines = _read(path).splitlines()
    try:
        token, user, own = lines
        return BunkerFile(parse_bunker(token), parse_pubkey(user), SecretKey(decode_nsec(own)))
    except (ValueError, NipError):
        raise KeyFileError(f"{path} is not what `noncestr keys connect` writes: bunker://, npub, nsec") from None


def write_nsec(path: Path, key: SecretKey) -> None:
    """The key as it is."""
    _write(path, encode_nsec(key.secret_bytes()))


def write_ncryptsec(path: Path, key: SecretKey, passphrase: str, log_n: int = DEFAULT_LOG_N) -> None:
    """The key under a passphrase; `log_n`: scrypt takes 2^log_n KiB for it."""
    salt, nonce = secrets.token_bytes(SALT_SIZE), secrets.token_bytes(NONCE_SIZE)
    _write(path, encrypt_key(key, passphrase, salt=salt, nonce=nonce, log_n=log_n))


def write_bunker(path: Path, file: BunkerFile) -> None:
    """Where the key is. The token is kept without its secret, which was used."""
    token = Bunker(file.signer.signer, file.signer.relays, None).uri()
    _write(path, f"{token}\n{encode_npub(file.user)}\n{encode_nsec(file.own.secret_bytes())}")


def fresh() -> SecretKey:
    """A new key."""
    while True:
        try:
            return SecretKey(secrets.token_bytes(32))
        except InvalidKey:  # one draw in 2^128 lies outside the group
            continue


def _read(path: Path) -> str:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"cannot read the key file {path}: {error}") from None
    if mode & 0o077:
        raise KeyFileError(f"the key file {path} can be read by others (mode {mode:04o}): run chmod 600 {path}")
    return text


def _write(path: Path, text: str) -> None:
    try:
        write_whole(path, f"{text}\n".encode("ascii"))
    except OSError as error:
        raise KeyFileError(f"cannot write the key file {path}: {error.strerror or error}") from None
