"""Lines out of a byte stream, capped, and the HTTP request that strays onto a Stratum port.

Stratum V1 is JSON, one message a line. A peer that sends no newline may not fill memory: a longer line is dropped up
to its end, and the stream goes on behind it.
"""

from typing import Final

# Real requests stay under 1 KiB; a configure with every extension is about 400 bytes. 8 KiB is what ckpool allows.
MAX_LINE: Final = 8192

_HTTP_METHODS: Final = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"OPTIONS ")
_HTTP_TEXT: Final = b"This port speaks Stratum V1: point a miner at it.\n"
HTTP_ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(_HTTP_TEXT)
) + _HTTP_TEXT


class LineBuffer:
    """Cuts what arrives into lines. Lines come without their newline; None stands for one that was too long."""

    __slots__ = ("_max_line", "_skipping", "_tail")

    def __init__(self, max_line: int = MAX_LINE) -> None:
        self._max_line = max_line
        self._tail = b""
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes | None]:
        """The lines that `data` completes, oldest first."""
        if self._skipping:
            end = data.find(b"\n")
            if end < 0:
                return []
            self._skipping = False
            data = data[end + 1 :]
        if self._tail:
            data = self._tail + data
        pieces = data.split(b"\n")
        tail = pieces.pop()
        limit = self._max_line
        lines: list[bytes | None] = [piece if len(piece) <= limit else None for piece in pieces]
        if len(tail) > limit:
            # Reported now, so that whoever never ends a line hears of it; the rest of the line is skipped.
            lines.append(None)
            tail = b""
            self._skipping = True
        self._tail = tail
        return lines


def is_http(line: bytes) -> bool:
    """Whether a line begins an HTTP request: a browser or a health check on the wrong port."""
    return line.startswith(_HTTP_METHODS)
