"""The end of a node's chain, from `getblockheader`, and the empty block that can be mined on it at once."""

from dataclasses import dataclass
from typing import Final

import msgspec

from stratum_edge.gbt import HASH_BYTES, MAX_HEIGHT, MAX_U32, BadTemplate, parse_bits, unhex
from stratum_edge.ports import Template, Tip
from stratum_edge.subsidy import subsidy_sat
from stratum_edge.wire import witness_commitment

# Bitcoin Core: nPowTargetTimespan / nPowTargetSpacing. At these heights nBits change, and what the new ones are takes
# the times of 2,016 blocks to say. Signalling (BIP 9) begins and ends there too.
RETARGET_BLOCKS: Final = 2016
# Where a block's nBits follow from the one before it. Not testnet4: there (fPowAllowMinDifficultyBlocks) they depend
# on the block's own time and on older blocks. Regtest has the same rule, but every block of it is at the limit.
PLAIN_DIFFICULTY: Final = frozenset({"main", "signet", "regtest"})
REGTEST_NBITS: Final = 0x207FFFFF


@dataclass(frozen=True, slots=True)
class ChainHead:
    """A block header as its node sees it.

    `hash` is in serialisation order; `confirmations` 1 for the tip, -1 off the chain; `median_s` the median time past
    of the eleven blocks that end with this one, in seconds.
    """

    hash: bytes
    height: int
    confirmations: int
    nbits: int
    median_s: int

    @property
    def tip(self) -> Tip:
        """The same as the port has it."""
        return Tip(self.height, self.hash)


class _Header(msgspec.Struct):
    hash: str
    height: int
    confirmations: int
    bits: str
    mediantime: int


_DECODER = msgspec.json.Decoder(_Header)


def parse_header_answer(answer: bytes, wanted: bytes) -> ChainHead:
    """The result of a verbose `getblockheader` (JSON) for the block `wanted`. Raises BadTemplate."""
    try:
        found = _DECODER.decode(answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadTemplate(f"a header is not what getblockheader answers: {error}") from None
    if unhex(found.hash, "a header's hash", HASH_BYTES)[::-1] != wanted:
        raise BadTemplate("the node sent another block's header")
    if not 0 <= found.height <= MAX_HEIGHT or not 0 <= found.mediantime < MAX_U32 or found.confirmations < -1:
        raise BadTemplate("a header's height, confirmations or time are none")
    return ChainHead(wanted, found.height, found.confirmations, parse_bits(found.bits, None), found.mediantime)


def empty_template(network: str, head: ChainHead, last: Template | None, elapsed_s: int) -> Template | None:
    """An empty block on a new head; None where its fields can't be known from the head alone.

    `last` is the newest full template, `elapsed_s` the seconds since it came: together they tell the node's time,
    which is the one that counts, and its version.
    """
    height = head.height + 1
    if last is None or network not in PLAIN_DIFFICULTY:
        return None
    if network == "regtest":
        if head.nbits != REGTEST_NBITS:
            return None  # a regtest with rules of its own
    elif height % RETARGET_BLOCKS == 0:
        return None
    mintime = head.median_s + 1
    return Template(
        height=height,
        version=last.version,
        prevhash=head.hash,
        nbits=head.nbits,
        curtime=min(max(mintime, last.curtime + elapsed_s), MAX_U32),
        mintime=mintime,
        coinbase_sat=subsidy_sat(network, height),
        transactions=(),
        txids=(),
        # BIP 141 asks for one only where a transaction has a witness; BIP 325 for one in every block.
        witness_commitment=witness_commitment(()) if network == "signet" else None,
    )
