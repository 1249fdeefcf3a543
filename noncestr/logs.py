"""What a process says of itself: levelled lines, as text or as JSON; a lane's process names its lane in each."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from pythonjsonlogger.json import JsonFormatter

from noncestr.config.sections import LogConfig

TEXT: Final = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
# These say on every request what our own logs say better; aiosqlite with the values, ecash and codes among them.
CHATTY: Final = ("httpx", "httpcore", "websockets", "uvicorn", "asyncio", "apprise", "aiosqlite")


# What begins a line of its own, moves the cursor or turns the reading direction: strangers' words are quoted in logs.
_UNSEEN: Final = {
    code: ascii(chr(code))[1:-1]
    for code in (*range(32), *range(127, 160), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}


class TextLines(logging.Formatter):
    """A line a record, whatever is quoted in it; a trace alone has more."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        """The line, what can't be seen written out."""
        record.message = record.message.translate(_UNSEEN)
        return super().formatMessage(record)


class JsonLines(JsonFormatter):
    """An object a line: ts (RFC 3339, UTC), level, name, message, lane where there is one, exc_info on errors."""

    def __init__(self, lane: int | None) -> None:
        super().__init__()
        self._lane = lane

    def add_fields(self, log_record: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        """The fields, the constant ones first."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        log_record.update(ts=at.replace("+00:00", "Z"), level=record.levelname.lower(), name=record.name)
        if self._lane is not None:
            log_record["lane"] = self._lane
        super().add_fields(log_record, record, message_dict)


def set_up_logging(config: LogConfig, lane: int | None = None, stream: TextIO | None = None) -> None:
    """Log as configured from now on; `lane`: which of several processes this is. Can be called again."""
    if stream is None:
        stream = sys.stdout if config.to == "stdout" else sys.stderr
    handler = logging.StreamHandler(stream)
    if config.format == "json":
        handler.setFormatter(JsonLines(lane))
    else:
        where = "" if lane is None else f"lane {lane} "
        handler.setFormatter(TextLines(where + TEXT, datefmt="%H:%M:%S"))
    logging.basicConfig(handlers=[handler], force=True)
    set_level(config.level)


def set_level(level: str) -> None:
    """Say more or less from now on: debug, info, warning or error."""
    logging.getLogger().setLevel(level.upper())
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)
