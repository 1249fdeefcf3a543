"""A node's word of new blocks over ZMQ (`-zmqpubhashblock`). It hastens, it is never relied on: polling goes on."""

import logging
from collections.abc import Callable
from typing import Final

import anyio
import zmq
import zmq.asyncio

log = logging.getLogger(__name__)

TOPIC: Final = b"hashblock"
HASH_BYTES: Final = 32
# Topic, body and a sequence number are 45 bytes; whoever sends more is no node.
MAX_MESSAGE_BYTES: Final = 1024
# Only the newest notice matters, so few may wait.
QUEUE: Final = 16
# A connection cut without a word is noticed and made anew.
HEARTBEAT_MS: Final = 5_000
RECONNECT_MS: Final = 100
RECONNECT_MAX_MS: Final = 5_000
# ZMQ gives a peer up for good that broke its protocol: a subscription that was silent this long is made anew.
SILENCE_S: Final = 3600.0


def _subscriber(context: zmq.asyncio.Context, address: str) -> zmq.asyncio.Socket:
    socket = context.socket(zmq.SUB)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RCVHWM, QUEUE)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
    socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 2 * HEARTBEAT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
    socket.setsockopt(zmq.SUBSCRIBE, TOPIC)
    try:
        socket.connect(address)
    except zmq.ZMQError as error:
        raise ValueError(f"{address!r} is no ZMQ address: {error}") from None
    return socket


async def follow_hashblock(address: str, heard: Callable[[bytes], None]) -> None:
    """Call `heard` with the hash (serialisation order) of each new tip, until cancelled; reconnects by itself.

    Raises ValueError for an address ZMQ does not know.
    """
    context = zmq.asyncio.Context()
    try:
        socket = _subscriber(context, address)
        while True:
            parts: list[bytes] | None = None
            with anyio.move_on_after(SILENCE_S):
                parts = await socket.recv_multipart()
            if parts is None:
                socket.close()
                socket = _subscriber(context, address)
                continue
            # The body is the hash as RPC names it; a sequence number follows, which polling makes superfluous.
            if len(parts) >= 2 and parts[0] == TOPIC and len(parts[1]) == HASH_BYTES:
                heard(parts[1][::-1])
            else:
                log.warning("what %s publishes is not hashblock", address)
    finally:
        context.destroy(linger=0)
