"""Bodies of requests, read within bounds of size and time."""

from typing import Final

import anyio
from fastapi import Request
from starlette.requests import ClientDisconnect

from client_web.api.answers import Refused

# Who takes longer holds one of the server's connections, of which there are a few hundred.
READ_S: Final = 20.0


async def read_body(request: Request, most: int) -> bytes:
    """A body of at most `most` bytes. Raises Refused: it is larger, slower than READ_S, or broke off."""
    body = bytearray()
    try:
        with anyio.fail_after(READ_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise Refused(413, f"what is sent here has at most {most} bytes")
    except TimeoutError:
        raise Refused(408, f"it did not come within {READ_S:g} s") from None
    except ClientDisconnect:
        # Nobody hears it, and it is no failure of ours to be logged.
        raise Refused(400, "it broke off") from None
    return bytes(body)
