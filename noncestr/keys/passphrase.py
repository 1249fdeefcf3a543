"""The passphrase of encrypted key files (NIP-49): from a file, the environment, or a prompt; asked for once."""

import getpass
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from noncestr.errors import KeyFileError

VARIABLE: Final = "NONCESTR_PASSPHRASE"
FILE_VARIABLE: Final = "NONCESTR_PASSPHRASE_FILE"


class Passphrase:
    """Where the passphrase comes from; a call gives it. Its repr never shows it."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = os.environ if environment is None else environment
        self._known: str | None = None

    def __call__(self) -> str:
        """The passphrase. Raises KeyFileError when there is none and nobody to ask."""
        if self._known is None:
            self._known = self._find()
        return self._known

    def _find(self) -> str:
        named = self._environment.get(FILE_VARIABLE)
        if named:
            return read_passphrase(Path(named))
        given = self._environment.get(VARIABLE)
        if given:
            return given
        if not sys.stdin.isatty():
            raise KeyFileError(
                f"the key files are encrypted: name a file with their passphrase in {FILE_VARIABLE}, give it in"
                f" {VARIABLE}, or start where it can be asked for"
            )
        return getpass.getpass("Passphrase of the pool's keys: ")


def read_passphrase(path: Path) -> str:
    """The first line of a file that nobody else can read. Raises KeyFileError."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        line = path.read_text("utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"cannot read the passphrase file {path}: {error}") from None
    if mode & 0o077:
        raise KeyFileError(f"the passphrase file {path} can be read by others (mode {mode:04o}): run chmod 600 {path}")
    if not line:
        raise KeyFileError(f"the passphrase file {path} begins with an empty line")
    return line


def ask_twice() -> str:
    """A new passphrase, typed twice. Raises KeyFileError."""
    if not sys.stdin.isatty():
        raise KeyFileError(f"there is nobody to ask for a passphrase: name a file with it in {FILE_VARIABLE}")
    typed = getpass.getpass("New passphrase: ")
    if not typed or typed != getpass.getpass("Once more: "):
        raise KeyFileError("no passphrase, or two different ones")
    return typed
