"""The checkpoint of an audit in one file: a line that says of what it is, then the shelves' SQLite file.

    {"noncestr_checkpoint":1,"pool":"34210:...","protocol":1,"classes":"<hash>","resume_s":...,"sha256":"<hash>"}

`sha256` is of that line without it, a line feed, and the rest of the file. It shows damage and careless hands; whoever
can write the file can also write a matching hash, so it belongs where only its reader can write.
"""

import hashlib
import json
import os
import sqlite3
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

from accounting.adapters.shelf import SqliteShelves
from accounting.checkpoint import CODEC, FORM, freeze_audit, thaw_audit
from accounting.errors import AccountingError
from accounting.freeze import Unreadable
from accounting.verifier import Audit
from nips.pool.address import PoolAddress

PROTOCOL = 1
# The first line is some 400 bytes.
MAX_HEADER = 4096
CHUNK = 1 << 20
_STATE = "state"


class CheckpointRefused(AccountingError):
    """A file that is no checkpoint of this pool, network, protocol and version, or not whole."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"the checkpoint {self.path} is not used: {self.reason}"


def _header(pool: PoolAddress, resume_s: int) -> dict[str, Any]:
    return {
        "noncestr_checkpoint": FORM,
        "pool": str(pool),
        "protocol": PROTOCOL,
        "classes": CODEC.fingerprint,
        "resume_s": resume_s,
    }


def _line(header: dict[str, Any]) -> bytes:
    return json.dumps(header, separators=(",", ":")).encode() + b"\n"


def _digest(line: bytes, body: BinaryIO, copy: BinaryIO | None = None) -> str:
    digest = hashlib.sha256(line)
    while chunk := body.read(CHUNK):
        digest.update(chunk)
        if copy is not None:
            copy.write(chunk)
    return digest.hexdigest()


def write_checkpoint(path: Path, audit: Audit, shelves: SqliteShelves, resume_s: int) -> None:
    """Keep a settled audit and its shelves, in place of what the file held. `resume_s`: up to when (Unix s) the log was
    read whole. Raises OSError, sqlite3.Error.
    """
    shelves.open(_STATE)[_STATE] = freeze_audit(audit)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".checkpoint-") as folder:
        body, whole = Path(folder) / "body", Path(folder) / "whole"
        shelves.copy_to(body)
        header = _header(audit.log.pool, resume_s)
        with body.open("rb") as file:
            header["sha256"] = _digest(_line(header), file)
        with body.open("rb") as file, whole.open("wb") as out:
            out.write(_line(header))
            while chunk := file.read(CHUNK):
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        whole.replace(path)


def open_checkpoint(path: Path, pool: PoolAddress, scratch: Path) -> tuple[SqliteShelves, bytes, int]:
    """The shelves, copied to a new file `scratch`, the rest of the state, and up to when (Unix s) the log was read.

    Raises CheckpointRefused, OSError.
    """
    with path.open("rb") as file, scratch.open("xb") as copy:
        line = file.readline(MAX_HEADER)
        try:
            header = json.loads(line)
            told = header.pop("sha256")
            resume_s = int(header["resume_s"])
        except (ValueError, LookupError, AttributeError, TypeError, OverflowError, RecursionError):
            raise CheckpointRefused(path, "it is no checkpoint of noncestr") from None
        expected = _header(pool, resume_s)
        for name, what in (
            ("noncestr_checkpoint", "of another form"),
            ("pool", f"of the pool {header.get('pool')!r}"),
            ("protocol", "of another version of the protocol"),
            ("classes", "of another version of noncestr"),
        ):
            if header.get(name) != expected[name]:
                raise CheckpointRefused(path, f"it is {what}")
        if _digest(_line(header), file, copy) != told:
            raise CheckpointRefused(path, "its hash is wrong: it was changed or damaged")
    try:
        shelves = SqliteShelves(scratch, CODEC)
        state = shelves.open(_STATE).get(_STATE)
    except (sqlite3.Error, Unreadable) as error:
        raise CheckpointRefused(path, f"it can't be read: {error}") from None
    if type(state) is not bytes:
        shelves.close()
        raise CheckpointRefused(path, "it holds no state")
    return shelves, state, resume_s


def resume(audit: Audit, state: bytes, path: Path) -> None:
    """Let a fresh audit on the checkpoint's shelves go on where it stopped. Raises CheckpointRefused."""
    try:
        thaw_audit(audit, state)
    except Unreadable as error:
        raise CheckpointRefused(path, str(error)) from None
