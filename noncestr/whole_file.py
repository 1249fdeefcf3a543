"""Small files that are replaced whole: after a kill or a power cut it is the old one or the new one."""

import os
from pathlib import Path
from typing import Final

PRIVATE: Final = 0o600


def write_whole(path: Path, data: bytes, mode: int = PRIVATE) -> None:
    """Write beside, rename, and have the folder on disk before it returns. Raises OSError; then the old one stands."""
    draft = path.with_suffix(".new")
    # One that a kill left may have another mode, or be a link somewhere else.
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Without it a power cut may take a file's name, though the file itself was written. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
