"""The embedded chain against the real consensus engine: what it calls accepted, and what survives kill -9."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from nips.pool.coinbase import push_data, push_height
from nips.pool.hashing import build_header, hash_value, sha256d
from stratum_edge.adapters.embedded_chain import (
    HALVING_BLOCKS,
    MAX_FUTURE_S,
    PREMINE_BLOCKS,
    REGTEST_TARGET,
    EmbeddedChain,
    subsidy_sat,
)
from stratum_edge.blockwork import assemble_block
from stratum_edge.errors import ChainStoreError
from stratum_edge.ports import Template, TemplateSource
from stratum_edge.wire import (
    NULL_HASH,
    NULL_INDEX,
    OutPoint,
    Transaction,
    TxInput,
    TxOutput,
    merkle_root,
    parse_transaction,
    witness_commitment,
)

REWARD = 100_000
SCRIPT = b"\x00\x14" + b"\x07" * 20

Make = Callable[..., EmbeddedChain]


class SystemClock:
    """The engine judges block times by the machine's clock, so these tests can't use another."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


def mine(template: Template, *, pay_sat: int | None = None, tag: bytes = b"/pool/") -> bytes:
    """A block as the pool would find it, paying `pay_sat` (the template's worth unless told)."""
    commitment = () if template.witness_commitment is None else (TxOutput(0, template.witness_commitment),)
    coinbase = Transaction(
        2,
        (TxInput(OutPoint(NULL_HASH, NULL_INDEX), push_height(template.height) + push_data(tag)),),
        (TxOutput(template.coinbase_sat if pay_sat is None else pay_sat, SCRIPT), *commitment),
    )
    root = merkle_root((coinbase.txid, *template.txids))
    for nonce in range(1000):
        header = build_header(template.version, template.prevhash, root, template.curtime, template.nbits, nonce)
        if hash_value(sha256d(header)) <= REGTEST_TARGET:
            return assemble_block(template, coinbase.serialise(), header)
    raise AssertionError("a thousand misses at even odds")


def hash_of(block: bytes) -> bytes:
    return sha256d(block[:80])


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    opened: list[EmbeddedChain] = []

    def _make(name: str = "chain", network_block_ms: int | None = None, reward_sat: int = REWARD) -> EmbeddedChain:
        chain = EmbeddedChain(
            tmp_path / name, clock=SystemClock(), reward_sat=reward_sat, network_block_ms=network_block_ms
        )
        opened.append(chain)
        return chain

    yield _make
    for chain in opened:
        chain.close()


@pytest.mark.anyio
async def test_the_first_template_carries_the_reward_as_a_fee(make: Make) -> None:
    chain: TemplateSource = make()
    template = await chain.template()
    assert chain.network == "regtest"
    assert template.height == PREMINE_BLOCKS + 1 > 110
    assert template.prevhash == chain.tip().hash
    assert template.coinbase_sat == REWARD
    assert template.mintime <= template.curtime <= time.time() + 1
    (payment,) = map(parse_transaction, template.transactions)
    assert template.txids == (payment.txid,)
    assert payment.has_witness
    assert template.witness_commitment == witness_commitment([payment.wtxid])
    assert await chain.template() == replace(template, curtime=(await chain.template()).curtime)


@pytest.mark.anyio
async def test_four_hundred_heights_in_a_row_over_two_halvings(make: Make) -> None:
    chain = make()
    assert subsidy_sat(PREMINE_BLOCKS) == 4 * subsidy_sat(PREMINE_BLOCKS + 2 * HALVING_BLOCKS)
    for height in range(PREMINE_BLOCKS + 1, PREMINE_BLOCKS + 401):
        template = await chain.template()
        assert (template.height, template.coinbase_sat, len(template.txids)) == (height, REWARD, 1)
        block = mine(template)
        submitted = await chain.submit(block)
        assert submitted.accepted, submitted
        assert chain.tip().hash == hash_of(block)
    # Times creep ahead when blocks come faster than one a second, by far not to what consensus forbids.
    assert (await chain.template()).curtime < time.time() + MAX_FUTURE_S / 10


@pytest.mark.anyio
async def test_the_reward_needs_no_subsidy(make: Make) -> None:
    """A coinbase of subsidy plus the fee is accepted, one sat more is not: so the fee is there, exactly."""
    chain = make()
    template = await chain.template()
    most = subsidy_sat(template.height) + REWARD
    greedy = mine(template, pay_sat=most + 1)
    refused = await chain.submit(greedy)
    assert not refused.accepted
    assert refused.reason == "rejected"
    assert chain.tip().hash == template.prevhash
    assert await chain.confirmations(hash_of(greedy)) == -1
    again = await chain.submit(greedy)
    assert not again.accepted
    assert (await chain.submit(mine(template, pay_sat=most))).accepted


@pytest.mark.anyio
async def test_a_stale_block_is_not_accepted_until_its_branch_wins(make: Make) -> None:
    chain = make()
    template = await chain.template()
    first, second = mine(template, tag=b"/a/"), mine(template, tag=b"/b/")
    assert (await chain.submit(first)).accepted
    stale = await chain.submit(second)
    assert (stale.accepted, stale.reason) == (False, "inconclusive")
    assert chain.tip().hash == hash_of(first)
    assert await chain.confirmations(hash_of(second)) == -1
    # A block on the stale one reorganises the chain; an empty one, so that the purse's fold is put to the test.
    on_second = replace(
        template,
        height=template.height + 1,
        prevhash=hash_of(second),
        mintime=template.mintime + 1,
        curtime=template.curtime + 1,
        transactions=(),
        txids=(),
        witness_commitment=None,
    )
    third = mine(on_second)
    assert (await chain.submit(third)).accepted
    assert await chain.confirmations(hash_of(first)) == -1
    assert await chain.confirmations(hash_of(second)) == 2
    assert await chain.confirmations(hash_of(third)) == 1
    following = await chain.template()
    assert len(following.txids) == 1
    assert (await chain.submit(mine(following))).accepted


@pytest.mark.anyio
async def test_a_tie_is_kept_over_a_restart(make: Make) -> None:
    """The first seen of two equal branches stays the tip, whatever the saved engine remembers of the order."""
    for turn in range(4):
        chain = make(f"tie{turn}")
        template = await chain.template()
        first, second = mine(template, tag=b"/a%d/" % turn), mine(template, tag=b"/b%d/" % turn)
        assert (await chain.submit(first)).accepted
        assert not (await chain.submit(second)).accepted
        chain.close()
        assert make(f"tie{turn}").tip().hash == hash_of(first)


@pytest.mark.anyio
async def test_junk_is_refused_and_never_stored(make: Make, tmp_path: Path) -> None:
    chain = make()
    template = await chain.template()
    block = mine(template)
    stored = (tmp_path / "chain" / "blocks.dat").stat().st_size
    weak = next(
        raw
        for nonce in range(1000)
        if hash_value(hash_of(raw := block[:76] + nonce.to_bytes(4, "little") + block[80:])) > REGTEST_TARGET
    )
    orphan = mine(replace(template, prevhash=b"\x01" * 32))
    future = mine(replace(template, curtime=int(time.time()) + MAX_FUTURE_S + 60))
    for raw, reason in (
        (b"", "rejected"),
        (block[:-1], "rejected"),
        (block + b"\x00", "rejected"),
        (weak, "high-hash"),
        (orphan, "prev-blk-not-found"),
        (future, "time-too-new"),
    ):
        submitted = await chain.submit(raw)
        assert not submitted.accepted
        assert submitted.reason.startswith(reason)
    assert (tmp_path / "chain" / "blocks.dat").stat().st_size == stored
    assert await chain.confirmations(hash_of(orphan)) is None
    assert (await chain.submit(block)).accepted
    # Handing it in again is no error: it is in the chain.
    assert (await chain.submit(block)).accepted


@pytest.mark.anyio
async def test_a_block_of_another_merkle_root_is_refused(make: Make) -> None:
    chain = make()
    template = await chain.template()
    swapped = mine(replace(template, transactions=()))  # the header commits to a transaction the block lacks
    submitted = await chain.submit(swapped)
    assert not submitted.accepted
    assert chain.tip().hash == template.prevhash


@pytest.mark.anyio
async def test_a_block_that_cannot_be_stored_is_not_accepted(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    chain = make()
    block = mine(await chain.template())

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        submitted = await chain.submit(block)
    assert (submitted.accepted, submitted.reason) == (False, "not stored: No space left on device")
    assert await chain.confirmations(hash_of(block)) is None
    assert (await chain.submit(block)).accepted
    chain.close()
    assert make().tip().hash == hash_of(block)


@pytest.mark.anyio
async def test_confirmations_count_down_the_chain(make: Make) -> None:
    chain = make()
    hashes = []
    for _ in range(3):
        block = mine(await chain.template())
        assert (await chain.submit(block)).accepted
        hashes.append(hash_of(block))
    assert [await chain.confirmations(block_hash) for block_hash in hashes] == [3, 2, 1]
    assert await chain.confirmations(b"\x02" * 32) is None


@pytest.mark.anyio
async def test_wait_tip_returns_at_once_or_with_the_next_block(make: Make) -> None:
    chain = make()
    known = chain.tip()
    assert await chain.wait_tip(b"\x00" * 32) == known
    seen = []

    async def wait() -> None:
        seen.append(await chain.wait_tip(known.hash))

    block = mine(await chain.template())
    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert not seen
        assert (await chain.submit(block)).accepted
    assert [tip.hash for tip in seen] == [hash_of(block)] * 2


@pytest.mark.anyio
async def test_the_network_mines_until_cancelled_and_the_pool_in_between(make: Make) -> None:
    chain = make(network_block_ms=1)
    start = chain.tip()
    ours = 0
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(chain.run)
            while chain.tip().height < start.height + 60:
                await chain.wait_tip(chain.tip().hash)
                ours += (await chain.submit(mine(await chain.template()))).accepted
            group.cancel_scope.cancel()
    assert ours > 0
    tip = chain.tip()
    chain.close()
    assert make().tip() == tip
    assert len((await make("other").template()).txids) == 1


@pytest.mark.anyio
async def test_without_a_network_only_the_pool_finds_blocks(make: Make) -> None:
    chain = make(network_block_ms=None)
    before = chain.tip()
    async with anyio.create_task_group() as group:
        group.start_soon(chain.run)
        await anyio.wait_all_tasks_blocked()
        assert chain.tip() == before
        group.cancel_scope.cancel()


@pytest.mark.anyio
async def test_a_larger_reward_than_the_purse_leaves_the_subsidy(make: Make) -> None:
    """With 60,000 BTC a block asked of 6,000, templates are empty, worth the subsidy, and still valid."""
    chain = make(reward_sat=60_000 * 100_000_000)
    template = await chain.template()
    assert template.transactions == ()
    assert template.coinbase_sat == subsidy_sat(template.height)
    assert (await chain.submit(mine(template))).accepted


def test_a_directory_serves_one_process(make: Make) -> None:
    make()
    with pytest.raises(ChainStoreError, match="in use"):
        make()


@pytest.mark.parametrize("options", [{"reward_sat": 0}, {"network_block_ms": 0}])
def test_nonsense_options_are_refused(make: Make, options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        make(**options)


@pytest.mark.anyio
async def test_an_engine_that_does_not_load_is_rebuilt(make: Make, tmp_path: Path) -> None:
    chain = make()
    assert (await chain.submit(mine(await chain.template()))).accepted
    tip = chain.tip()
    chain.close()
    for file in (tmp_path / "chain" / "engine" / "blocks" / "index").iterdir():
        file.write_bytes(b"not a database")
    assert make().tip() == tip


@pytest.mark.anyio
async def test_a_torn_tail_costs_that_block_only(make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    chain = make()
    assert (await chain.submit(mine(await chain.template()))).accepted
    tip = chain.tip()
    assert (await chain.submit(mine(await chain.template()))).accepted
    chain.close()
    path = tmp_path / "chain" / "blocks.dat"
    path.write_bytes(path.read_bytes()[:-20])
    with caplog.at_level(logging.WARNING):
        chain = make()
    assert "torn record" in caplog.text
    assert chain.tip() == tip
    assert (await chain.submit(mine(await chain.template()))).accepted


CHILD = """
import sys, time
from pathlib import Path
import anyio
from stratum_edge.adapters.embedded_chain import EmbeddedChain

class SystemClock:
    def now_ms(self):
        return time.time_ns() // 1_000_000

async def main():
    chain = EmbeddedChain(Path(sys.argv[1]), clock=SystemClock(), network_block_ms=1)
    async with anyio.create_task_group() as group:
        group.start_soon(chain.run)
        while True:
            tip = await chain.wait_tip(chain.tip().hash)
            print(tip.height, tip.hash.hex(), flush=True)

anyio.run(main)
"""


def run_and_kill(directory: Path, tips: int) -> list[tuple[int, bytes]]:
    """Let a process mine in `directory`, read that many tips of it, then kill it in the middle of its work."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(directory)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child.stdout:
        told = [child.stdout.readline().split() for _ in range(tips)]
        child.send_signal(signal.SIGKILL)
        child.stdout.read()
    assert child.wait() == -signal.SIGKILL
    return [(int(height), bytes.fromhex(block_hash)) for height, block_hash in told]


@pytest.mark.anyio
async def test_kill_9_loses_no_block_that_was_the_tip(make: Make, tmp_path: Path) -> None:
    """Killed twice over the same directory: every tip that was told is still in the chain, and it goes on."""
    told = run_and_kill(tmp_path / "chain", 25) + run_and_kill(tmp_path / "chain", 25)
    chain = make()
    tip = chain.tip()
    for height, block_hash in told:
        assert await chain.confirmations(block_hash) == tip.height - height + 1
    assert (await chain.submit(mine(await chain.template()))).accepted
    tip = chain.tip()
    chain.close()
    assert make().tip() == tip
