"""The wire structures a block is built of: transactions, blocks, the merkle root, the witness commitment.

All hashes are 32 bytes in serialisation order, all amounts satoshi. What is parsed is parsed whole: the parsers of a
single structure refuse trailing bytes with `WireError`. Sources: BIP 141 and BIP 144 (witness, its commitment and
serialisation); the rest is the protocol as Bitcoin Core serialises it (primitives/transaction.h, primitives/block.h).
What verifiers need too (double hash, header, merkle fold, BIP 34's height) is in nips.pool.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from nips.pool.coinbase import compact_size
from nips.pool.hashing import HEADER_SIZE, sha256d
from stratum_edge.errors import WireError

NULL_HASH = bytes(32)
NULL_INDEX = 0xFFFFFFFF
FINAL_SEQUENCE = 0xFFFFFFFF
# A block has at most 4,000,000 weight units, so no count or length in it can be larger (BIP 141).
MAX_SIZE = 4_000_000
# BIP 141: the coinbase's witness is this one item where the block has a commitment.
WITNESS_RESERVED = bytes(32)
# BIP 141: OP_RETURN, a push of 36 bytes, and the four bytes that mark a commitment.
COMMITMENT_PREFIX = bytes.fromhex("6a24aa21a9ed")

Item = TypeVar("Item")


class Reader:
    """A cursor over bytes; every read beyond the end is a `WireError`."""

    __slots__ = ("data", "offset")

    def __init__(self, data: bytes, offset: int = 0) -> None:
        self.data = data
        self.offset = offset

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        end = self.offset + count
        if end > len(self.data):
            raise WireError(f"{count} bytes wanted at offset {self.offset} of {len(self.data)}")
        taken = self.data[self.offset : end]
        self.offset = end
        return taken

    def uint(self, size: int) -> int:
        """The next `size` bytes as an unsigned little-endian integer."""
        return int.from_bytes(self.take(size), "little")

    def compact_size(self) -> int:
        """A length of 1, 3, 5 or 9 bytes, at most MAX_SIZE; not in its shortest form it is refused, as Core does."""
        first = self.uint(1)
        if first < 0xFD:
            return first
        size = {0xFD: 2, 0xFE: 4, 0xFF: 8}[first]
        number = self.uint(size)
        if number < {2: 0xFD, 4: 1 << 16, 8: 1 << 32}[size]:
            raise WireError(f"length {number} is not written in its shortest form")
        if number > MAX_SIZE:
            raise WireError(f"length {number} is larger than a block can be")
        return number

    def var_bytes(self) -> bytes:
        """Bytes behind their length."""
        return self.take(self.compact_size())

    def items(self, read: Callable[[], Item]) -> tuple[Item, ...]:
        """A count, then that many of what `read` reads."""
        return tuple(read() for _ in range(self.compact_size()))

    def finish(self) -> None:
        """Refuse trailing bytes."""
        if self.offset != len(self.data):
            raise WireError(f"{len(self.data) - self.offset} bytes of trailing garbage")


def var_bytes(data: bytes) -> bytes:
    """`data` behind its length."""
    return compact_size(len(data)) + data


@dataclass(frozen=True, slots=True)
class OutPoint:
    """One output of one transaction: the transaction's id (32 bytes, serialisation order) and the output's index."""

    txid: bytes
    index: int


@dataclass(frozen=True, slots=True)
class TxInput:
    """One input: what it spends, its scriptSig, its sequence and its witness stack (BIP 144), () without."""

    spends: OutPoint
    script_sig: bytes = b""
    sequence: int = FINAL_SEQUENCE
    witness: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class TxOutput:
    """One output: satoshi and the scriptPubKey they are locked with."""

    value_sat: int
    script: bytes


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction; `version` is the unsigned 32-bit number, `lock_time` the field as it is."""

    version: int
    inputs: tuple[TxInput, ...]
    outputs: tuple[TxOutput, ...]
    lock_time: int = 0

    @property
    def has_witness(self) -> bool:
        """Whether any input carries a witness, so whether the BIP 144 form is used."""
        return any(txin.witness for txin in self.inputs)

    @property
    def is_coinbase(self) -> bool:
        """Whether this is the transaction that mints: one input, of the null outpoint."""
        return len(self.inputs) == 1 and self.inputs[0].spends == OutPoint(NULL_HASH, NULL_INDEX)

    def serialise(self, *, witness: bool = True) -> bytes:
        """The bytes: BIP 144's form if there is a witness and `witness` asks for it, else the original one."""
        with_witness = witness and self.has_witness
        parts = [self.version.to_bytes(4, "little")]
        if with_witness:
            parts.append(b"\x00\x01")  # BIP 144: marker and flag
        parts.append(compact_size(len(self.inputs)))
        for txin in self.inputs:
            parts += (
                txin.spends.txid,
                txin.spends.index.to_bytes(4, "little"),
                var_bytes(txin.script_sig),
                txin.sequence.to_bytes(4, "little"),
            )
        parts.append(compact_size(len(self.outputs)))
        for txout in self.outputs:
            parts += (txout.value_sat.to_bytes(8, "little"), var_bytes(txout.script))
        if with_witness:
            for txin in self.inputs:
                parts.append(compact_size(len(txin.witness)))
                parts += (var_bytes(item) for item in txin.witness)
        parts.append(self.lock_time.to_bytes(4, "little"))
        return b"".join(parts)

    @property
    def txid(self) -> bytes:
        """The id: sha256d of the form without witness."""
        return sha256d(self.serialise(witness=False))

    @property
    def wtxid(self) -> bytes:
        """BIP 141's id: sha256d of the form with witness, where there is one."""
        return sha256d(self.serialise())


def read_transaction(reader: Reader) -> Transaction:
    """Read one transaction in either form; raises `WireError`."""
    version = reader.uint(4)
    with_witness = reader.data[reader.offset : reader.offset + 1] == b"\x00"
    if with_witness and reader.take(2) != b"\x00\x01":
        raise WireError("a transaction without inputs, or with an unknown BIP 144 flag")

    def read_input() -> TxInput:
        spends = OutPoint(reader.take(32), reader.uint(4))
        return TxInput(spends, reader.var_bytes(), reader.uint(4))

    inputs = reader.items(read_input)
    outputs = reader.items(lambda: TxOutput(reader.uint(8), reader.var_bytes()))
    if with_witness:
        inputs = tuple(
            TxInput(txin.spends, txin.script_sig, txin.sequence, reader.items(reader.var_bytes)) for txin in inputs
        )
        if not any(txin.witness for txin in inputs):
            # BIP 144: a transaction without witness data MUST use the original form.
            raise WireError("the BIP 144 form without any witness")
    return Transaction(version, inputs, outputs, reader.uint(4))


def parse_transaction(raw: bytes) -> Transaction:
    """Parse a whole transaction, either form; raises `WireError`, also for trailing bytes."""
    reader = Reader(raw)
    transaction = read_transaction(reader)
    reader.finish()
    return transaction


def parse_block(raw: bytes) -> tuple[bytes, tuple[Transaction, ...]]:
    """Parse a whole block into its 80-byte header and its transactions; raises `WireError`, also for trailing bytes."""
    reader = Reader(raw)
    header = reader.take(HEADER_SIZE)
    transactions = reader.items(lambda: read_transaction(reader))
    reader.finish()
    return header, transactions


def serialise_block(header: bytes, transactions: Sequence[bytes]) -> bytes:
    """A block's bytes from its 80-byte header and its raw transactions, the coinbase first."""
    if len(header) != HEADER_SIZE:
        raise ValueError(f"a header has 80 bytes, not {len(header)}")
    return b"".join((header, compact_size(len(transactions)), *transactions))


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """The root over ids in serialisation order; a lonely last one of a row is paired with itself (Bitcoin Core)."""
    if not leaves:
        raise ValueError("a merkle tree needs a leaf")
    row = list(leaves)
    while len(row) > 1:
        if len(row) % 2:
            row.append(row[-1])
        row = [sha256d(row[i] + row[i + 1]) for i in range(0, len(row), 2)]
    return row[0]


def witness_commitment(wtxids: Sequence[bytes]) -> bytes:
    """BIP 141: the commitment's scriptPubKey (38 bytes), from the wtxids of all transactions but the coinbase."""
    # BIP 141: "the wtxid of coinbase transaction is assumed to be 0x0000....0000".
    root = merkle_root((NULL_HASH, *wtxids))
    return COMMITMENT_PREFIX + sha256d(root + WITNESS_RESERVED)
