"""What the block chain says of a log: jobs' heights and targets, blocks and their fate, rewards that nobody told.

The log alone proves work, not that a block is in the chain (SPEC.md, "What it answers").
"""

import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from accounting.books import Reward
from accounting.facts import BlockSeen
from accounting.findings import NOT_CHECKED, Code, Finding, finding
from accounting.log import PoolLog
from accounting.onchain_proof import OnchainPaid, PaidOutput, check_onchain
from nips.errors import InvalidPoolEvent
from nips.pool.hashing import display, from_display, sha256d
from nips.pool.job import Job
from nips.pool.sizes import BINDING_SIZE, EXTRANONCE1_SIZE, EXTRANONCE2_SIZE
from nips.pool.statement import MATURED, ORPHANED
from nips.pool.targets import target_from_bits

# A block so deep is in the chain for good; above, the chain and the log may differ for a while, and accuse nobody.
SETTLED_DEPTH = 6
_NBITS = struct.Struct("<72xI4x")


class Chain(Protocol):
    """The best chain, as far as somebody shows it. Hashes are in serialisation order."""

    first: int
    tip: int

    def height_of(self, block: bytes) -> int | None:
        """The height of a block of the best chain; None if it is not in it, or below `first`."""

    def header_at(self, height: int) -> bytes | None:
        """The best chain's header at a height, 80 bytes; None below `first` and above `tip`."""

    def coinbase_at(self, height: int) -> bytes | None:
        """The coinbase of the best chain's block, without its witness; None if this source can't tell."""

    def output_at(self, txid: str, vout: int) -> PaidOutput | None:
        """An output of a transaction in the best chain; None if this source can't tell."""


class ChainReport(NamedTuple):
    """What was looked at: blocks of the log in the chain and off it, blocks beyond what is shown, prevhashes of jobs
    found in the chain; whether the chain's own blocks were held against the jobs; the payouts on chain that it proves.
    """

    first: int
    tip: int
    on_chain: int
    off_chain: int
    not_shown: int
    jobs_placed: int
    coinbases_compared: bool
    paid: tuple[OnchainPaid, ...] = ()

    def line(self) -> str:
        """In words."""
        text = f"chain from {self.first} to {self.tip}: {self.on_chain} blocks of the log in it, {self.off_chain} not, "
        text += (
            f"{self.not_shown} beyond it; heights and targets of jobs on {self.jobs_placed} of its blocks compared; "
        )
        compared = "blocks that fit a job looked for" if self.coinbases_compared else "its coinbases not looked at"
        if not self.paid:
            return text + compared
        shallow = min(paid.depth for paid in self.paid)
        return f"{text}{compared}; {len(self.paid)} payouts found in its outputs, {shallow} deep or more"

    def fields(self) -> dict[str, Any]:
        """For JSON."""
        return {**self._asdict(), "paid": [paid.fields() for paid in self.paid]}


def check_chain(log: PoolLog, chain: Chain) -> tuple[ChainReport, list[Finding]]:
    """Hold a log that was read against the chain."""
    found: list[Finding] = []
    on_chain = off_chain = not_shown = 0
    for _, block in log.blocks.scan():
        reward = log.books.standing(block.block.block)
        if not chain.first <= block.block.height <= chain.tip:
            not_shown += 1
            continue
        height = chain.height_of(from_display(block.block.block))
        on_chain, off_chain = (on_chain, off_chain + 1) if height is None else (on_chain + 1, off_chain)
        found += _check_block(chain, block, height, reward)
    placed, compared = 0, False
    for prevhash, heights in log.mining.heights.scan():
        at = chain.height_of(from_display(prevhash))
        if at is None:
            found += _elsewhere(chain, prevhash, heights)
            continue
        placed += 1
        jobs = [job for name in heights.values() if (job := log.mining.read_jobs.get(name)) is not None]
        found += _check_jobs(chain, jobs, at + 1)
        coinbase = chain.coinbase_at(at + 1)
        if coinbase is not None:
            compared = True
            found += _check_untold(log, chain, prevhash, at + 1, coinbase)
    paid: list[OnchainPaid] = []
    for told in check_onchain(log, chain):
        if isinstance(told, Finding):
            found.append(told)
        else:
            paid.append(told)
    report = ChainReport(chain.first, chain.tip, on_chain, off_chain, not_shown, placed, compared, tuple(paid))
    return report, found


def _check_block(chain: Chain, block: BlockSeen, height: int | None, reward: Reward | None) -> Iterator[Finding]:
    name = block.block.block
    if height is not None and height != block.block.height:
        text = f"block {name} stands at height {height} of the chain, told as {block.block.height}"
        yield finding(Code.CHAIN_JOB, text, block.job.id, block.block.id)
    if reward is None:
        return
    depth = chain.tip - (block.block.height if height is None else height) + 1
    needed = block.terms.body.limits.maturity_blocks
    said = reward.state
    if said == MATURED and height is None and depth > SETTLED_DEPTH:
        text = f"block {name} is said to be matured and is not in the chain"
    elif said == MATURED and height is not None and depth < needed:
        text = f"block {name} is said to be matured and has {depth} confirmations of {needed}"
    elif said == ORPHANED and height is not None and depth >= min(SETTLED_DEPTH, needed):
        text = f"block {name} is said to be orphaned and is in the chain, {depth} deep"
    else:
        return
    yield finding(Code.CHAIN_STATUS, text, reward.statement.id, block.block.id)


def _elsewhere(chain: Chain, prevhash: str, heights: Mapping[int, str]) -> Iterator[Finding]:
    """Jobs on a block that the chain has not. A branch may have lost, which convicts nobody; work for none is noted."""
    height, job = min(heights.items())
    if chain.first <= height - 1 <= chain.tip - SETTLED_DEPTH:
        text = f"on block {prevhash}, which is not in the chain that was shown"
        yield Finding(Code.CHAIN_JOB, NOT_CHECKED, text, (job,))


def _check_jobs(chain: Chain, jobs: list[Job], height: int) -> Iterator[Finding]:
    """Jobs mined on the chain's block below `height`, one of each height that is told."""
    header = chain.header_at(height)
    for job in jobs:
        if job.height != height:
            text = f"made for height {job.height} on a block of height {height - 1}"
            yield finding(Code.CHAIN_JOB, text, job.id)
        elif header is not None and _NBITS.unpack(header)[0] != job.nbits:
            text = f"nbits {job.nbits:08x} where the chain has {_NBITS.unpack(header)[0]:08x}"
            yield finding(Code.CHAIN_JOB, text, job.id)


def _check_untold(log: PoolLog, chain: Chain, prevhash: str, height: int, coinbase: bytes) -> Iterator[Finding]:
    """A block of the chain mined on a job's prevhash: is it of one of our jobs?"""
    header = chain.header_at(height)
    if header is None:
        return
    name = display(sha256d(header))
    if log.books.standing(name) is not None:
        return
    known = log.blocks.get(name)
    if known is not None:
        if chain.tip - height >= SETTLED_DEPTH and not _waits(log, known):
            yield finding(Code.CHAIN_UNTOLD, f"block {name} at height {height}", known.block.id)
        return
    for key, _ in log.mining.on_prevhash.scan(f"{prevhash}/", f"{prevhash}0"):
        job = log.mining.read_jobs[key.rpartition("/")[2]]
        if _fits(job, coinbase):
            text = f"block {name} at height {height} was mined on job {job.id}; no event announces it"
            yield finding(Code.CHAIN_UNTOLD, text, job.id)
            return


def _waits(log: PoolLog, block: BlockSeen) -> bool:
    """Whether the log has not come so far that its statement is due."""
    return log.lanes.behind(block.found_ms) is not None


def _fits(job: Job, coinbase: bytes) -> bool:
    """Whether a coinbase is this job's with some binding and extranonces in their place."""
    room = BINDING_SIZE + EXTRANONCE1_SIZE + EXTRANONCE2_SIZE
    return (
        len(coinbase) == len(job.coinb1) + room + len(job.coinb2)
        and coinbase.startswith(job.coinb1)
        and coinbase.endswith(job.coinb2)
    )


class HeaderChain:
    """Headers one after another from a height on, each checked for its work and for the one before it."""

    def __init__(self, first: int, headers: list[bytes]) -> None:
        """Raises ValueError, with the height, for headers that are no chain."""
        self.first = first
        self.tip = first + len(headers) - 1
        self._headers = headers
        self._heights: dict[bytes, int] = {}
        before = b""
        for height, header in enumerate(headers, first):
            if len(header) != 80:
                raise ValueError(f"the header at height {height} has not 80 bytes")
            if before and header[4:36] != before:
                raise ValueError(f"the header at height {height} does not follow the one before it")
            before = sha256d(header)
            if int.from_bytes(before, "little") > _target(header):
                raise ValueError(f"the header at height {height} has not the work it claims")
            self._heights[before] = height
        # The block below the first is known by name.
        if headers:
            self._heights.setdefault(headers[0][4:36], first - 1)

    def height_of(self, block: bytes) -> int | None:
        """The height of a block, None if it is not among them."""
        return self._heights.get(block)

    def header_at(self, height: int) -> bytes | None:
        """The header at a height."""
        return self._headers[height - self.first] if self.first <= height <= self.tip else None

    def coinbase_at(self, height: int) -> bytes | None:  # noqa: ARG002 - the port's
        """Headers hold no coinbase."""
        return None

    def output_at(self, txid: str, vout: int) -> PaidOutput | None:  # noqa: ARG002 - the port's
        """Headers hold no outputs."""
        return None


def _target(header: bytes) -> int:
    try:
        return target_from_bits(_NBITS.unpack(header)[0])
    except InvalidPoolEvent:
        return 0


def read_headers(data: bytes) -> list[bytes]:
    """Headers of 80 bytes each, joined, or as hex, one a line. Raises ValueError."""
    text = data[:161].strip()
    if text and all(byte in b"0123456789abcdefABCDEF\r\n" for byte in text):
        return [bytes.fromhex(line.decode()) for line in data.split() if line]
    if not data or len(data) % 80:
        raise ValueError(f"{len(data)} bytes are no headers of 80 bytes each")
    return [data[at : at + 80] for at in range(0, len(data), 80)]
