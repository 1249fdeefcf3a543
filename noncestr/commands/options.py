"""What several commands share: their options, and which configuration they read."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from noncestr.errors import NoncestrError

if TYPE_CHECKING:
    from noncestr.config.sections import Config

DEFAULT_CONFIG: Final = Path("noncestr.toml")

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="Configuration file; ./noncestr.toml is read when there is one.", dir_okay=False),
]
DataOption = Annotated[Path, typer.Option("--data", help="Folder of keys, journal, log and ledger.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

# anyio.run's: the loop everything runs on.
BACKEND_OPTIONS: Final = {"use_uvloop": True}


def folder_there(data: Path) -> Path:
    """The data folder. Raises NoncestrError when it is none: a mistyped one must not read as one where nothing is."""
    if not data.is_dir():
        raise NoncestrError(f"{data} is no folder of a pool")
    return data


def read_config(path: Path | None) -> "Config":
    """The configuration of a file, or of ./noncestr.toml, with the environment's overrides. Raises ConfigError."""
    from noncestr.config.file import load_config  # for the commands that read one alone: it knows every part

    if path is None and DEFAULT_CONFIG.exists():
        path = DEFAULT_CONFIG
    return load_config(path, os.environ)
