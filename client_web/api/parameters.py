"""The parameters that several questions share."""

from typing import Annotated

from fastapi import Path, Query

from client_web.api.answers import CURSOR

# A page of 100 statements or miners is some 50 kB.
MAX_PAGE = 100
DEFAULT_PAGE = 25

# What the pattern lets through is still decoded: a wrong checksum is told by itself, and so is a secret key.
Miner = Annotated[
    str,
    Path(
        description="A miner: npub, nprofile (both also after `nostr:`) or 64 hex digits.",
        json_schema_extra={"minLength": 1},
        examples=["npub1l2vyh47mk2p0qlsku7hg0vn29faehy9hy34ygaclpn66ukqp3afqutajft"],
    ),
]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="How many entries at most.")]
Cursor = Annotated[
    str | None,
    Query(
        description="Where to go on: the `next` of the page before. What comes in meanwhile moves nothing from one page"
        " to another.",
        json_schema_extra={"pattern": CURSOR},
    ),
]
