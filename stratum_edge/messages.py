"""Stratum V1's messages: requests parsed strictly, replies and notifications built as bytes, a line each.

Errors are arrays `[code, "text", null]`; cpuminer needs `"error":null` on success; notifications carry `"id":null`.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Final

import msgspec

from stratum_edge.errors import MalformedLine

OTHER: Final = 20
STALE: Final = 21
DUPLICATE: Final = 22
LOW_DIFFICULTY: Final = 23
UNAUTHORIZED: Final = 24
NOT_SUBSCRIBED: Final = 25

# An id is echoed as it came; anything longer is no miner's counter.
_MAX_ID: Final = 64
_NULL: Final = b"null"
# A number, a string or null: what JSON-RPC allows as an id.
_ID_STARTS: Final = frozenset(b'-0123456789"n')


class _Wire(msgspec.Struct, gc=False):
    id: msgspec.Raw = msgspec.Raw(_NULL)
    method: str | None = None
    params: Any = None


class Request:
    """A request as it stands on the line: `id` is its JSON text, `method` None for a reply of the peer's."""

    __slots__ = ("id", "method", "params")

    def __init__(self, id: bytes, method: str | None, params: Any) -> None:
        self.id = id
        self.method = method
        self.params = params


_DECODER: Final = msgspec.json.Decoder(_Wire)


def parse_request(line: bytes) -> Request:
    """Parse one line, without its newline. Raises MalformedLine."""
    try:
        wire = _DECODER.decode(line)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise MalformedLine("not a JSON object of a Stratum request") from None
    id = bytes(wire.id)
    if len(id) > _MAX_ID or id[0] not in _ID_STARTS or not id.isascii():
        id = _NULL
    return Request(id, wire.method, wire.params)


def encode(value: object) -> bytes:
    """JSON without white space."""
    return msgspec.json.encode(value)


def true_reply(id: bytes) -> bytes:
    """The reply that accepts a share, a worker, a suggestion."""
    return b'{"id":' + id + b',"result":true,"error":null}\n'


def reply(id: bytes, result: object) -> bytes:
    """A successful reply."""
    return b'{"id":' + id + b',"result":' + encode(result) + b',"error":null}\n'


def error_reply(id: bytes, code: int, text: str) -> bytes:
    """A refusal: the code (20 to 25) and a reason for people."""
    return b'{"id":' + id + b',"result":null,"error":' + encode([code, text, None]) + b"}\n"


def set_difficulty(difficulty: Fraction) -> bytes:
    """`mining.set_difficulty`: whole values as integers; 1/2^k is exact in a double and in its shortest decimal."""
    number = difficulty.numerator if difficulty.denominator == 1 else float(difficulty)
    return b'{"id":null,"method":"mining.set_difficulty","params":[' + encode(number) + b"]}\n"


def set_version_mask(mask: int) -> bytes:
    """`mining.set_version_mask` (BIP 310)."""
    return b'{"id":null,"method":"mining.set_version_mask","params":["%08x"]}\n' % mask


def show_message(text: str) -> bytes:
    """`client.show_message`: a line for whoever looks at the device."""
    return b'{"id":null,"method":"client.show_message","params":[' + encode(text) + b"]}\n"


def swap_words(prevhash: bytes) -> bytes:
    """The previous hash as notify writes it: serialisation order with each 4-byte word reversed."""
    return b"".join(prevhash[at : at + 4][::-1] for at in range(0, 32, 4))


class NotifyForm:
    """`mining.notify` of one job: all but the Stratum job id, the binding and the clean flag is the same for all."""

    __slots__ = ("_after", "_before")

    def __init__(
        self,
        *,
        prevhash: bytes,
        coinb1: bytes,
        coinb2: bytes,
        merkle: Sequence[bytes],
        version: int,
        nbits: int,
        ntime: int,
    ) -> None:
        """Hashes in serialisation order; `coinb1` ends where the binding begins."""
        branches = ",".join(f'"{branch.hex()}"' for branch in merkle)
        self._before = f'","{swap_words(prevhash).hex()}","{coinb1.hex()}'.encode()
        self._after = f'","{coinb2.hex()}",[{branches}],"{version:08x}","{nbits:08x}","{ntime:08x}",'.encode()

    def line(self, stratum_id: str, binding: bytes, clean: bool) -> bytes:
        """The notification: `clean` asks the miner to drop what it has."""
        return b"".join(
            (
                b'{"id":null,"method":"mining.notify","params":["',
                stratum_id.encode(),
                self._before,
                binding.hex().encode(),
                self._after,
                b"true]}\n" if clean else b"false]}\n",
            )
        )
