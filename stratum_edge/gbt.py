"""A `getblocktemplate` answer as a `Template`, checked: what is refused here would cost a block (BIP 22, 23, 9, 145).

Size, weight and signature operations are the node's own bounds; the edge adds a coinbase only, for which the node keeps
room. The ids of transactions with witness are the node's word; everything else is computed again.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from nips.errors import InvalidPoolEvent
from nips.pool.coinbase import MAX_MONEY_SAT
from nips.pool.hashing import sha256d
from nips.pool.targets import target_from_bits
from stratum_edge.errors import SourceUnavailable
from stratum_edge.ports import Template
from stratum_edge.wire import witness_commitment

# What we tell the node we understand (BIP 9, BIP 145); a signet node asks for its own rule besides.
RULES: Final = ("segwit",)
SIGNET_RULES: Final = ("segwit", "signet")
# BIP 325: the challenge that every block meets. Any other needs a signature over each block by the signet's keepers.
OP_TRUE: Final = "51"
HASH_BYTES: Final = 32
MAX_U32: Final = 0xFFFFFFFF
MAX_HEIGHT: Final = 0x7FFFFFFF
# BIP 144: where an input count stands in the old form, a zero marks the form with witness.
_MARKER_AT: Final = 4
# A transaction is never shorter: version, one input, one output, lock time (Bitcoin Core's 60 bytes; 64 are refused).
_LEAST_TRANSACTION: Final = 60


class BadTemplate(SourceUnavailable):
    """A node's answer that must not be mined on; the text says why."""


@dataclass(frozen=True, slots=True)
class BlockTemplate:
    """A template and the id with which its node can be asked for the next one (BIP 22), if it does long polling."""

    template: Template
    longpoll_id: str | None


class _Entry(msgspec.Struct):
    data: str
    txid: str
    hash: str


class _Answer(msgspec.Struct):
    version: int
    previousblockhash: str
    height: int
    bits: str
    target: str
    curtime: int
    mintime: int
    coinbasevalue: int
    transactions: list[_Entry]
    rules: list[str] = []
    longpollid: str | None = None
    default_witness_commitment: str | None = None
    signet_challenge: str | None = None


_DECODER = msgspec.json.Decoder(_Answer)


def rules_of(network: str) -> tuple[str, ...]:
    """The `rules` of a request."""
    return SIGNET_RULES if network == "signet" else RULES


def unhex(text: str, what: str, size: int | None = None) -> bytes:
    """Hex and nothing else (no spaces), of `size` bytes if given. Raises BadTemplate."""
    try:
        data = bytes.fromhex(text)
    except ValueError:
        raise BadTemplate(f"{what} is not hex") from None
    if len(data) * 2 != len(text) or (size is not None and len(data) != size):
        raise BadTemplate(f"{what} is not {'hex' if size is None else f'{size} bytes of hex'}")
    return data


def parse_bits(bits: str, target: str | None) -> int:
    """Compact bits as a number; they must be canonical and write the target given. Raises BadTemplate."""
    nbits = int.from_bytes(unhex(bits, "bits", 4), "big")
    try:
        expected = target_from_bits(nbits)
    except InvalidPoolEvent as error:
        raise BadTemplate(f"bits: {error}") from None
    if target is not None and int.from_bytes(unhex(target, "target", HASH_BYTES), "big") != expected:
        raise BadTemplate(f"bits {bits} and target {target} differ")
    return nbits


def parse_template(answer: bytes, network: str) -> BlockTemplate:
    """The result of `getblocktemplate` (JSON) as a template. Raises BadTemplate.

    Some 50 ms for a full block: run it beside the loop.
    """
    try:
        found = _DECODER.decode(answer)
    except msgspec.DecodeError as error:
        raise BadTemplate(f"the template is not what getblocktemplate answers: {error}") from None
    except UnicodeDecodeError:
        raise BadTemplate("the template is not UTF-8") from None
    _check_rules(found, network)
    _check_numbers(found)
    transactions, txids, wtxids = _transactions(found.transactions)
    return BlockTemplate(
        Template(
            height=found.height,
            version=found.version & MAX_U32,
            prevhash=unhex(found.previousblockhash, "previousblockhash", HASH_BYTES)[::-1],
            nbits=parse_bits(found.bits, found.target),
            curtime=found.curtime,
            mintime=found.mintime,
            coinbase_sat=found.coinbasevalue,
            transactions=transactions,
            txids=txids,
            witness_commitment=_commitment(found.default_witness_commitment, txids, wtxids),
        ),
        found.longpollid or None,
    )


def _check_rules(found: _Answer, network: str) -> None:
    known = rules_of(network)
    for rule in found.rules:
        # BIP 9: without the mark a rule does not change what a miner does.
        if rule.startswith("!") and rule[1:] not in known:
            raise BadTemplate(f"the template follows rule {rule!r}, which this version does not know")
    if found.signet_challenge not in (None, OP_TRUE):
        raise BadTemplate("blocks of this signet need its keepers' signature (BIP 325), which miners can't give")


def _check_numbers(found: _Answer) -> None:
    if not 0 < found.height <= MAX_HEIGHT:
        raise BadTemplate(f"height {found.height} is none")
    if not -(1 << 31) <= found.version <= MAX_U32:
        raise BadTemplate(f"version {found.version} does not fit 32 bits")
    if not 0 <= found.mintime <= found.curtime <= MAX_U32:
        raise BadTemplate(f"mintime {found.mintime} and curtime {found.curtime} are not two times in this order")
    if not 0 <= found.coinbasevalue <= MAX_MONEY_SAT:
        raise BadTemplate(f"coinbasevalue {found.coinbasevalue} is no amount")


def _transactions(entries: list[_Entry]) -> tuple[tuple[bytes, ...], tuple[bytes, ...], tuple[bytes, ...]]:
    """The raw transactions, their txids and their wtxids."""
    raw, txids, wtxids = [], [], []
    for number, entry in enumerate(entries):
        data = unhex(entry.data, f"the data of transaction {number}")
        txid = unhex(entry.txid, f"the txid of transaction {number}", HASH_BYTES)[::-1]
        wtxid = unhex(entry.hash, f"the hash of transaction {number}", HASH_BYTES)[::-1]
        if len(data) < _LEAST_TRANSACTION or sha256d(data) != wtxid:
            raise BadTemplate(f"transaction {number} is not the one its hash names")
        if data[_MARKER_AT] != 0 and txid != wtxid:
            raise BadTemplate(f"transaction {number} has no witness, but a txid that is not its hash")
        raw.append(data)
        txids.append(txid)
        wtxids.append(wtxid)
    if len(set(txids)) != len(txids):
        raise BadTemplate("a transaction is in the template twice")
    return tuple(raw), tuple(txids), tuple(wtxids)


def _commitment(given: str | None, txids: tuple[bytes, ...], wtxids: tuple[bytes, ...]) -> bytes | None:
    """The node's witness commitment, if it is the one its transactions make (BIP 141, BIP 145)."""
    if given is None:
        if txids != wtxids:
            raise BadTemplate("transactions have a witness, but the template has no witness commitment")
        return None
    script = unhex(given, "default_witness_commitment")
    if script != witness_commitment(wtxids):
        raise BadTemplate("default_witness_commitment is not that of the template's transactions")
    return script
