"""A regtest chain of our own: Bitcoin Core's consensus engine (libbitcoinkernel) in this process, no node needed.

The engine judges; it has no mempool, no templates and no peers, so this module builds the templates and plays "the
rest of the network", which finds a block every `network_block_ms` on average. Blocks are in our own file before the
engine sees them, since the engine writes its own state only on a clean exit.
"""

import functools
import logging
import random
import shutil
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
import pbk
import pbk.capi.bindings as kernel

from nips.pool.coinbase import push_data, push_height
from nips.pool.hashing import HEADER_SIZE, build_header, display, hash_value, parse_header, sha256d
from nips.pool.targets import target_from_bits
from stratum_edge.adapters.block_file import BlockFile
from stratum_edge.blockwork import assemble_block
from stratum_edge.errors import ChainStoreError, WireError
from stratum_edge.ports import Clock, Submitted, Template, Tip
from stratum_edge.purse import ANYONE_OUTPUT, Purse
from stratum_edge.wire import (
    NULL_HASH,
    NULL_INDEX,
    OutPoint,
    Transaction,
    TxInput,
    TxOutput,
    merkle_root,
    parse_block,
    witness_commitment,
)

log = logging.getLogger(__name__)

# Regtest never retargets: every second hash is a block.
REGTEST_NBITS: Final = 0x207FFFFF
REGTEST_TARGET: Final = target_from_bits(REGTEST_NBITS)
# Bitcoin Core, chainparams.cpp: 50 BTC, halved every 150 blocks on regtest.
FIRST_SUBSIDY_SAT: Final = 50 * 100_000_000
HALVING_BLOCKS: Final = 150
# BIP 9: the top three bits of a version that signals nothing.
BLOCK_VERSION: Final = 0x20000000
# Blocks mined at the first start, all before the first halving, so worth 6,000 BTC to the purse: 6 million fees of
# 100,000 sat, or 2.8 years of blocks each 15 s even if the pool found every one (the network's own blocks pay back).
# More than COINBASE_MATURITY, so that the first template carries a fee.
PREMINE_BLOCKS: Final = 120
# Premined blocks are dated this far apart before the first start, as if the chain had been running.
PREMINE_SPACING_S: Final = 600
# Consensus: a block's time must be above the median of the eleven blocks before it.
MEDIAN_TIME_SPAN: Final = 11
# Consensus: a block may be dated at most two hours ahead of the clock.
MAX_FUTURE_S: Final = 7200
NETWORK_TAG: Final = b"/the rest of the network/"

# BIP 22's words for a refusal where it has some, else Bitcoin Core's.
_REASONS: Final = {
    pbk.BlockValidationResult.CONSENSUS: "rejected",
    pbk.BlockValidationResult.CACHED_INVALID: "duplicate-invalid",
    pbk.BlockValidationResult.INVALID_HEADER: "invalid-header",
    pbk.BlockValidationResult.MUTATED: "bad-txnmrklroot",
    pbk.BlockValidationResult.MISSING_PREV: "prev-blk-not-found",
    pbk.BlockValidationResult.INVALID_PREV: "bad-prevblk",
    pbk.BlockValidationResult.TIME_FUTURE: "time-too-new",
}


def subsidy_sat(height: int) -> int:
    """What a regtest block at `height` may mint, in satoshi."""
    halvings = height // HALVING_BLOCKS
    return FIRST_SUBSIDY_SAT >> halvings if halvings < 64 else 0


@functools.cache  # the engine aborts the process when told a second time
def _silence_engine() -> None:
    """Keep the engine from printing its log to standard output, for good."""
    kernel.btck_logging_disable()


class _Engine:
    """The consensus engine with its own directory; every call takes well under a millisecond."""

    def __init__(self, directory: Path) -> None:
        self._state = pbk.BlockValidationResult.UNSET
        callbacks = pbk.ValidationInterfaceCallbacks(block_checked=self._checked)
        self._chainman = pbk.load_chainman(directory, pbk.ChainType.REGTEST, callbacks)
        self._chain = self._chainman.get_active_chain()

    def _checked(self, _user_data: object, _block: object, state: pbk.BlockValidationState) -> None:
        self._state = state.block_validation_result

    def close(self) -> None:
        """Save the engine's state and let go of its directory, which it does when nobody refers to it any more."""
        del self._chain, self._chainman

    def tip(self) -> Tip:
        """The end of the chain with the most work."""
        height = self._chain.height
        return Tip(height, bytes(self._chain.block_tree_entries[height].block_hash))

    def process(self, block: bytes) -> str:
        """Judge a block and extend or reorganise the chain; the reason for a refusal, "" without one."""
        self._state = pbk.BlockValidationResult.UNSET
        try:
            self._chainman.process_block(pbk.Block(block))
        except RuntimeError:
            return "rejected"  # does not parse
        except pbk.ProcessBlockException:
            return _REASONS.get(self._state, "rejected")
        return _REASONS.get(self._state, "")

    def knows(self, block_hash: bytes) -> bool:
        """Whether the block is in the block tree, on the chain or off it."""
        return pbk.BlockHash(block_hash) in self._chainman.block_tree_entries

    def confirmations(self, block_hash: bytes) -> int | None:
        """As `TemplateSource.confirmations`."""
        try:
            entry = self._chainman.block_tree_entries[pbk.BlockHash(block_hash)]
        except KeyError:
            return None
        if entry not in self._chain.block_tree_entries:
            return -1
        return int(self._chain.height - entry.height + 1)

    def median_time(self) -> int:
        """The median time past of the tip, in seconds: a block on top must be younger."""
        height = self._chain.height
        entries = self._chain.block_tree_entries
        first = max(0, height - MEDIAN_TIME_SPAN + 1)
        times = sorted(parse_header(bytes(entries[h].block_header))[3] for h in range(first, height + 1))
        return times[len(times) // 2]


class EmbeddedChain:
    """A `TemplateSource` over an engine of its own; regtest.

    `directory` holds the block file and the engine's state; one process at a time may use it. Every template's
    coinbase is worth `reward_sat`, paid by a fee, at any height. `network_block_ms` is the mean time between blocks
    of the rest of the network (None: it finds none). Loading replays the block file, so the constructor blocks: some
    0.1 s for a new chain, and about 0.4 s for every 1,000 blocks the engine had not saved.
    """

    network: Final = "regtest"

    def __init__(
        self, directory: Path, *, clock: Clock, reward_sat: int = 100_000, network_block_ms: int | None = 15_000
    ) -> None:
        """Load or create the chain; raises `ChainStoreError` for a directory in use or damaged."""
        if reward_sat < 1:
            raise ValueError("reward_sat must be at least 1")
        if network_block_ms is not None and network_block_ms < 1:
            raise ValueError("network_block_ms must be at least 1, or None")
        self._clock = clock
        self._reward_sat = reward_sat
        self._network_block_ms = network_block_ms
        # The gaps between the network's blocks are exponential, like the real ones; nothing secret depends on them.
        self._gaps = random.Random()  # noqa: S311 - not cryptography
        self._lock = anyio.Lock()
        self._changed = anyio.Event()
        self._closed = False
        if not log.isEnabledFor(logging.DEBUG):
            _silence_engine()
        directory.mkdir(parents=True, exist_ok=True)
        self._engine_directory = directory / "engine"
        self._file = BlockFile(directory / "blocks.dat")
        try:
            self._engine = self._load_engine()
        except BaseException:
            self._file.close()
            raise
        try:
            self._catch_up()
            self._premine()
        except BaseException:
            self.close()
            raise

    def _load_engine(self) -> _Engine:
        """The engine as it saved itself, which is behind the block file after a crash, or a new one."""
        try:
            return _Engine(self._engine_directory)
        except RuntimeError as error:
            log.warning("the engine's state does not load (%s): rebuilding it from the block file", error)
            return self._new_engine()

    def _catch_up(self) -> None:
        """Bring engine and purse to where the block file ends."""
        first_seen = self._replay()
        if self._engine.tip() != first_seen:
            # The file is the truth, also when its tail was cut below what the engine had saved, and about which of
            # two branches with equal work was seen first, which not every version of the engine saves.
            log.info("the engine's saved tip is not the block file's: rebuilding it")
            self._engine.close()
            self._engine = self._new_engine()
            self._replay()
        self._purse = self._fold_purse()

    def _new_engine(self) -> _Engine:
        """An engine that knows the genesis block alone."""
        shutil.rmtree(self._engine_directory, ignore_errors=True)
        try:
            return _Engine(self._engine_directory)
        except RuntimeError as error:
            raise ChainStoreError(f"the engine does not start in {self._engine_directory}: {error}") from error

    def _replay(self) -> Tip:
        """Give the engine what it lacks; the tip the file's headers alone make, were all its blocks valid."""
        heights: dict[bytes, int] = {}
        best: Tip | None = None
        for block in self._file.replay():
            header = block[:HEADER_SIZE]
            block_hash = sha256d(header)
            if not self._engine.knows(block_hash):
                self._engine.process(block)
            height = heights.get(parse_header(header)[1], 0) + 1
            heights[block_hash] = height
            if best is None or height > best.height:
                best = Tip(height, block_hash)
        return best if best is not None else self._engine.tip()

    def _fold_purse(self) -> Purse:
        """The purse of the active chain, from the block file: parents stand before their children in it."""
        purse = Purse()
        height = 0
        for block in self._file.replay():
            confirmations = self._engine.confirmations(sha256d(block[:HEADER_SIZE]))
            if confirmations is not None and confirmations > 0:
                height += 1
                purse.connect(height, parse_block(block)[1])
        return purse

    def _premine(self) -> None:
        """Mine the chain up to PREMINE_BLOCKS, dated before now, in one write to the block file."""
        blocks = []
        now_s = self._clock.now_ms() // 1000
        while (height := self._engine.tip().height + 1) <= PREMINE_BLOCKS:
            block = self._mine(self._build_template(now_s - (PREMINE_BLOCKS - height + 1) * PREMINE_SPACING_S))
            if reason := self._engine.process(block):
                raise ChainStoreError(f"the engine refused premined block {height}: {reason}")
            self._purse.connect(height, parse_block(block)[1])
            blocks.append(block)
        if blocks:
            self._file.append(blocks)

    def close(self) -> None:
        """Let the engine save its state and release the directory. Nothing may be called afterwards."""
        if not self._closed:
            self._closed = True
            self._engine.close()
            self._file.close()

    def tip(self) -> Tip:
        """The end of the active chain."""
        return self._engine.tip()

    async def wait_tip(self, known: bytes) -> Tip:
        """Return the tip as soon as its hash is not `known`."""
        while (tip := self._engine.tip()).hash == known:
            await self._changed.wait()
        return tip

    async def template(self) -> Template:
        """A template on top of the tip, with one transaction that pays the reward as its fee."""
        async with self._lock:  # while a block is being taken in, tip and purse need not agree
            return self._build_template(self._clock.now_ms() // 1000)

    async def quick_template(self) -> Template | None:
        """None: a full template takes no time here."""
        return None

    def lost_s(self) -> float:
        """0.0: the engine is in this process."""
        return 0.0

    def _build_template(self, now_s: int) -> Template:
        tip = self._engine.tip()
        height = tip.height + 1
        mintime = self._engine.median_time() + 1
        payment = self._purse.fee_payment(height, self._reward_sat)
        payments = () if payment is None else (payment,)
        return Template(
            height=height,
            version=BLOCK_VERSION,
            prevhash=tip.hash,
            nbits=REGTEST_NBITS,
            curtime=max(mintime, now_s),
            mintime=mintime,
            # Without coins (a very long chain, a far larger reward_sat) the subsidy is all there is.
            coinbase_sat=self._reward_sat if payments else min(self._reward_sat, subsidy_sat(height)),
            transactions=tuple(payment.serialise() for payment in payments),
            txids=tuple(payment.txid for payment in payments),
            witness_commitment=witness_commitment([payment.wtxid for payment in payments]),
        )

    def _mine(self, template: Template) -> bytes:
        """A block of the rest of the network: all it may claim goes to the purse, so the fees come round again."""
        fees_sat = self._reward_sat if template.transactions else 0
        value_sat = fees_sat + subsidy_sat(template.height)
        assert template.witness_commitment is not None
        script_sig = push_height(template.height) + push_data(NETWORK_TAG)
        coinbase = Transaction(
            version=2,
            inputs=(TxInput(OutPoint(NULL_HASH, NULL_INDEX), script_sig),),
            outputs=(TxOutput(value_sat, ANYONE_OUTPUT), TxOutput(0, template.witness_commitment)),
        )
        root = merkle_root((coinbase.txid, *template.txids))
        nonce = 0
        while True:
            header = build_header(template.version, template.prevhash, root, template.curtime, template.nbits, nonce)
            if hash_value(sha256d(header)) <= REGTEST_TARGET:
                return assemble_block(template, coinbase.serialise(), header)
            nonce += 1

    async def submit(self, block: bytes) -> Submitted:
        """Hand a block in: on the disk first, then to the engine; accepted only if the active chain has it then.

        A valid block that does not lengthen the chain is kept, as a node keeps it, and "inconclusive" (BIP 22).
        """
        try:
            _, transactions = parse_block(block)
        except WireError as error:
            return Submitted(False, f"rejected: {error}")
        header = block[:HEADER_SIZE]
        block_hash = sha256d(header)
        async with self._lock:
            # Checked here so that junk does not fill the block file.
            if hash_value(block_hash) > REGTEST_TARGET:
                return Submitted(False, "high-hash")
            if parse_header(header)[3] > self._clock.now_ms() // 1000 + MAX_FUTURE_S:
                # The one refusal that time heals: in the file it would come true at some later replay.
                return Submitted(False, "time-too-new")
            if not self._engine.knows(parse_header(header)[1]):
                return Submitted(False, "prev-blk-not-found")
            if self._engine.knows(block_hash):
                on_chain = self._on_chain(block_hash)
                return Submitted(on_chain, "" if on_chain else "duplicate-inconclusive")
            # Once begun it is finished: file, engine and purse must not part company over a cancellation.
            with anyio.CancelScope(shield=True):
                try:
                    await anyio.to_thread.run_sync(self._file.append, (block,))
                except OSError as error:
                    log.exception("a block could not be stored")
                    return Submitted(False, f"not stored: {error.strerror}")
                reason = await self._take_in(block, transactions)
            if self._on_chain(block_hash):
                return Submitted(True, "")
            return Submitted(False, reason or "inconclusive")

    async def _take_in(self, block: bytes, transactions: tuple[Transaction, ...]) -> str:
        """Give a stored block to the engine and keep the purse with the chain; the reason for a refusal, or ""."""
        before = self._engine.tip()
        reason = self._engine.process(block)
        after = self._engine.tip()
        if after != before:
            if parse_header(block[:HEADER_SIZE])[1] == before.hash:
                self._purse.connect(after.height, transactions)
            else:
                log.info("the chain was reorganised: tip %s at %d", display(after.hash), after.height)
                self._purse = await anyio.to_thread.run_sync(self._fold_purse)
            changed, self._changed = self._changed, anyio.Event()
            changed.set()
        return reason

    def _on_chain(self, block_hash: bytes) -> bool:
        confirmations = self._engine.confirmations(block_hash)
        return confirmations is not None and confirmations > 0

    async def confirmations(self, block_hash: bytes) -> int | None:
        """1 for the tip; -1 for a block known but off the chain; None for an unknown one."""
        return self._engine.confirmations(block_hash)

    async def run(self) -> None:
        """Be the rest of the network until cancelled."""
        if self._network_block_ms is None:
            await anyio.sleep_forever()
            return
        while True:
            await anyio.sleep(self._gaps.expovariate(1000 / self._network_block_ms))
            submitted = await self.submit(self._mine(await self.template()))
            if not submitted.accepted:
                # The pool's block came first, or the disk is full: the next gap tries again.
                log.info("the network's block was not accepted: %s", submitted.reason)
