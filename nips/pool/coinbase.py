"""The one shape of a coinbase (SPEC.md, "The binding").

    coinb1 = version(4) 01 00*32 ffffffff L prefix 2c        coinb2 = sequence(4) outputs locktime(4)

so that the scriptSig's last 44 bytes are always one push, of binding and extranonces. Were the place free, a coinbase
could hide a second binding, to be claimed when the hash turns out lucky.
"""

from typing import NamedTuple

from nips.errors import InvalidPoolEvent
from nips.pool.sizes import PUSH_SIZE

# Consensus: a coinbase's scriptSig has 2 to 100 bytes.
MAX_SCRIPT_SIG = 100
MAX_MONEY_SAT = 21_000_000 * 100_000_000
# What the prefix may hold: the 100 bytes less the closing push and its opcode.
MAX_PREFIX = MAX_SCRIPT_SIG - PUSH_SIZE - 1


class Output(NamedTuple):
    """A transaction output: value in sat, scriptPubKey."""

    value: int
    script: bytes


class Coinbase(NamedTuple):
    """What a coinbase of the right shape says."""

    prefix: bytes
    outputs: tuple[Output, ...]

    @property
    def value_sat(self) -> int:
        """The sum of the outputs: what the block is worth, whomever they pay."""
        return sum(output.value for output in self.outputs)


def push_height(height: int) -> bytes:
    """BIP 34's height: a minimal push of the little-endian number; 1 to 16 are OP_1 to OP_16."""
    if not 0 < height < 1 << 31:
        raise ValueError("a height lies between 1 and 2^31 - 1")
    if height <= 16:
        return bytes([0x50 + height])
    # Script numbers are signed: a set top bit asks for one byte more.
    number = height.to_bytes(height.bit_length() // 8 + 1, "little")
    return bytes([len(number)]) + number


def push_data(data: bytes) -> bytes:
    """A direct push of 1 to 75 bytes."""
    if not 1 <= len(data) <= 75:
        raise ValueError("a direct push has 1 to 75 bytes")
    return bytes([len(data)]) + data


def _check_pushes(prefix: bytes) -> None:
    """Everything before the closing push is pushes too: bytes outside of pushes would count as signature operations."""
    at = 0
    while at < len(prefix):
        opcode = prefix[at]
        if opcode == 0x00 or opcode == 0x4F or 0x51 <= opcode <= 0x60:
            at += 1
        elif opcode <= 0x4B:
            at += 1 + opcode
        elif opcode == 0x4C and at + 1 < len(prefix):
            at += 2 + prefix[at + 1]
        else:
            raise InvalidPoolEvent(f"opcode {opcode:02x} in the coinbase's scriptSig is not a push")
    if at != len(prefix):
        raise InvalidPoolEvent("the pushes before the binding do not end where the closing push begins")


def build_coinb1(version: int, prefix: bytes) -> bytes:
    """The part before the binding, for a prefix of pushes. Raises InvalidPoolEvent if it is too long or not pushes."""
    if len(prefix) > MAX_PREFIX:
        raise InvalidPoolEvent(f"the coinbase's prefix has {len(prefix)} bytes, {MAX_PREFIX} fit")
    _check_pushes(prefix)
    size = len(prefix) + 1 + PUSH_SIZE
    head = version.to_bytes(4, "little") + b"\x01" + bytes(32) + b"\xff" * 4
    return head + bytes([size]) + prefix + bytes([PUSH_SIZE])


def compact_size(number: int) -> bytes:
    """Bitcoin's variable length integer."""
    if number < 0xFD:
        return bytes([number])
    if number <= 0xFFFF:
        return b"\xfd" + number.to_bytes(2, "little")
    if number <= 0xFFFFFFFF:
        return b"\xfe" + number.to_bytes(4, "little")
    return b"\xff" + number.to_bytes(8, "little")


def build_coinb2(outputs: tuple[Output, ...], sequence: int = 0xFFFFFFFF, locktime: int = 0) -> bytes:
    """The part after the extranonces."""
    body = b"".join(o.value.to_bytes(8, "little") + compact_size(len(o.script)) + o.script for o in outputs)
    return sequence.to_bytes(4, "little") + compact_size(len(outputs)) + body + locktime.to_bytes(4, "little")


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        part = self.data[self.at : self.at + size]
        if len(part) != size:
            raise InvalidPoolEvent("the coinbase ends too early")
        self.at += size
        return part

    def compact_size(self) -> int:
        first = self.take(1)[0]
        if first < 0xFD:
            return first
        width = {0xFD: 2, 0xFE: 4, 0xFF: 8}[first]
        number = int.from_bytes(self.take(width), "little")
        if number < {2: 0xFD, 4: 0x10000, 8: 0x100000000}[width]:
            raise InvalidPoolEvent("a length in the coinbase is not in its shortest form")
        return number


def parse_outputs(coinb2: bytes) -> tuple[Output, ...]:
    """The outputs between sequence and locktime. Raises InvalidPoolEvent unless they fill coinb2 exactly."""
    reader = _Reader(coinb2)
    reader.take(4)
    outputs = []
    for _ in range(reader.compact_size()):
        value = int.from_bytes(reader.take(8), "little")
        if value > MAX_MONEY_SAT:
            raise InvalidPoolEvent("a coinbase output is worth more than all bitcoin")
        outputs.append(Output(value, reader.take(reader.compact_size())))
    reader.take(4)
    if reader.at != len(coinb2):
        raise InvalidPoolEvent("bytes stand after the coinbase's locktime")
    if not outputs or sum(output.value for output in outputs) > MAX_MONEY_SAT:
        raise InvalidPoolEvent("the coinbase's outputs are none, or worth more than all bitcoin")
    return tuple(outputs)


def check_shape(coinb1: bytes, coinb2: bytes, height: int) -> Coinbase:
    """The coinbase's parts, if its shape is the protocol's and its first push the height. Raises InvalidPoolEvent."""
    if len(coinb1) < 43 or coinb1[4] != 1 or coinb1[5:37] != bytes(32) or coinb1[37:41] != b"\xff" * 4:
        raise InvalidPoolEvent("coinb1 does not begin a coinbase of one null input")
    size, prefix = coinb1[41], coinb1[42:-1]
    if size > MAX_SCRIPT_SIG or size != len(prefix) + 1 + PUSH_SIZE:
        raise InvalidPoolEvent("the scriptSig's length does not end it right after the binding's push")
    if coinb1[-1] != PUSH_SIZE:
        raise InvalidPoolEvent(f"the binding and extranonces are not one push of {PUSH_SIZE} bytes")
    _check_pushes(prefix)
    try:
        expected = push_height(height)
    except ValueError as error:
        raise InvalidPoolEvent(str(error)) from None
    if not prefix.startswith(expected):
        raise InvalidPoolEvent(f"the scriptSig does not begin with height {height} (BIP 34)")
    return Coinbase(prefix, parse_outputs(coinb2))
