"""The accounting as a whole over a feed in memory: issuing, maturing, restarting, recovering, refusing."""

import json
import random
import sqlite3
from itertools import pairwise
from pathlib import Path

import anyio
import pytest

from accounting import mining, parked, service
from accounting.adapters.store import AccountingStore
from accounting.adapters.stored_log import StoredLog
from accounting.ports import Held
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, encode_event
from nips.nip57 import build_zap_receipt, build_zap_request, check_zap_request, zap_request_text
from nips.pool import summary as summaries
from nips.pool.archive import ArchiveBody, Digest, parse_archive
from nips.pool.chain import Head, link_of, next_link
from nips.pool.kinds import ARCHIVE, BALANCE, LEDGER_KINDS, STATEMENT, STATEMENT_PART, STATISTICS, STATUS, SUMMARY
from nips.pool.statement import build_status, parse_statement, parse_status
from nips.pool.summary import HOUR_MS, parse_summary, parse_summary_part

pytestmark = pytest.mark.anyio
GROSS = 100_000_000
FEE = 1_000_000


def mined(pool):
    """Terms, two batches (the second with a block) and a heartbeat that passes it. Returns the 4213."""
    pool.log.terms()
    pool.log.batch([pool.log.alice, pool.log.bob, pool.log.alice])
    block = pool.log.batch([pool.log.bob], block=True)
    pool.log.batch([])
    return block


def statuses(pool):
    return [parse_status(event).status for event in pool.relay.of_kind(STATUS)]


async def stop(tasks):
    tasks.cancel_scope.cancel()


async def test_a_block_is_split_once_its_lanes_have_passed_it(pool, eventually):
    pool.log.terms()
    pool.log.batch([pool.log.alice, pool.log.bob, pool.log.alice])
    pool.log.batch([pool.log.bob], block=True)
    pool.tell()
    accounting = pool.accounting()
    async with anyio.create_task_group() as tasks:
        await tasks.start(accounting.run)
        await eventually(lambda: pool.relay.of_kind(STATEMENT))
        statement = parse_statement(pool.relay.of_kind(STATEMENT)[0])
        assert {row.miner: row.msat for row in statement.rows} == {
            pool.log.alice: (GROSS - FEE) // 2,
            pool.log.bob: (GROSS - FEE) // 2,
        }
        assert statement.fee_msat == FEE
        balances = await accounting.balances()
        assert balances[pool.log.alice].pending_msat == (GROSS - FEE) // 2
        assert balances[pool.log.alice].earned_msat == 0
        assert accounting.condition().findings == {}
        assert accounting.condition().violations == ()
        await stop(tasks)


async def test_matured_paid_and_paid_back(pool, eventually):
    block = mined(pool)
    pool.tell()
    accounting = pool.accounting()
    async with anyio.create_task_group() as tasks:
        await tasks.start(accounting.run)
        await eventually(lambda: pool.relay.of_kind(STATEMENT))
        assert not pool.relay.of_kind(STATUS)
        pool.chain.seen[pool.log.block_hash(block)] = 6
        pool.chain.tip = 106
        await eventually(lambda: accounting.balance(pool.log.alice).owed_msat == (GROSS - FEE) // 2)
        await eventually(lambda: statuses(pool) == ["matured"])
        pool.log.payout("one", pool.log.alice, 1_000_000)
        pool.tell()
        await eventually(lambda: accounting.balance(pool.log.alice).paid_msat == 1_000_000)
        pool.log.payout("one back", pool.log.alice, -1_000_000, reverses="one")
        pool.tell()
        await eventually(lambda: accounting.balance(pool.log.alice).paid_msat == 0)
        assert accounting.applied_payouts(pool.log.alice) == {"one": 1_000_000, "one back": -1_000_000}
        assert accounting.applied_payouts(pool.log.bob) == {}
        # The network fees are the pool's by these terms.
        assert accounting.fold.ledger.accounts["treasury"] == 20
        await stop(tasks)


@pytest.mark.parametrize(("seen", "tip"), [(-1, 106), (None, 112)])
async def test_an_orphan_is_reversed(pool, eventually, seen, tip):
    block = mined(pool)
    pool.tell()
    accounting = pool.accounting()
    if seen is not None:
        pool.chain.seen[pool.log.block_hash(block)] = seen
    pool.chain.tip = tip - 1
    async with anyio.create_task_group() as tasks:
        await tasks.start(accounting.run)
        await eventually(lambda: accounting.balance(pool.log.alice).pending_msat)
        await anyio.sleep(0.1)
        assert not pool.relay.of_kind(STATUS), "one block earlier it is too early to say"
        pool.chain.tip = tip
        await eventually(lambda: pool.relay.of_kind(STATUS))
        assert statuses(pool) == ["orphaned"]
        assert set(accounting.fold.ledger.accounts.values()) == {0}
        await stop(tasks)


async def test_a_new_key_matures_what_a_closed_one_has_split(pool, eventually, tmp_path: Path):
    """Else the miners of the last blocks before a key is changed would never be paid."""
    block = mined(pool)
    pool.tell()
    async with anyio.create_task_group() as tasks:
        await tasks.start(pool.accounting().run)
        await eventually(lambda: pool.relay.of_kind(STATEMENT))
        await stop(tasks)
    old = pool.log.accounting
    statement = pool.relay.of_kind(STATEMENT)[0]
    pool.log.accounting = SecretKey(bytes([7] * 32))
    pool.log.terms(closed={f"{old.pubkey}/accounting": Head(0, statement.id)})
    pool.tell()
    pool.chain.seen[pool.log.block_hash(block)] = 6
    pool.chain.tip = 106
    accounting = pool.accounting(tmp_path / "new.sqlite")
    async with anyio.create_task_group() as tasks:
        await tasks.start(accounting.run)
        await eventually(lambda: statuses(pool) == ["matured"])
        assert pool.relay.of_kind(STATUS)[0].pubkey == pool.log.accounting.pubkey
        assert accounting.balance(pool.log.bob).owed_msat
        assert accounting.condition().findings == {}
        assert len(pool.relay.of_kind(STATEMENT)) == 1
        await stop(tasks)


async def test_the_feed_hears_what_is_on_the_disk(pool, eventually, monkeypatch):
    """Not before: while the disk fails, nothing of what was read counts as taken."""
    mined(pool)
    pool.tell()
    full, tries = True, 0

    async def add_events(store, events):
        nonlocal tries
        tries += 1
        if full:
            raise sqlite3.OperationalError("database or disk is full")
        await add(store, events)

    add = AccountingStore.add_events
    monkeypatch.setattr(AccountingStore, "add_events", add_events)
    monkeypatch.setattr(service, "RETRY_S", 0.01)
    accounting = pool.accounting()
    async with anyio.create_task_group() as tasks:
        await tasks.start(accounting.run)
        await eventually(lambda: tries > 2)
        assert [text for text in accounting.condition().troubles if "full" in text] == [
            "the disk failed, or the database: OperationalError('database or disk is full')"
        ]
        assert pool.relay.held == [(0, 0)]
        assert pool.relay.stored == []
        full = False
        log = [event.id for event in pool.relay.order if event.kind in LEDGER_KINDS]
        await eventually(lambda: set(pool.relay.stored) >= set(log))
        await stop(tasks)
    async with anyio.create_task_group() as tasks:
        await tasks.start(pool.accounting().run)
        await eventually(lambda: len(pool.relay.held) == 2)
        assert pool.relay.held[1].events >= len(log)
        await stop(tasks)


async def test_an_orphan_long_after_maturity_is_reversed_too(pool, eventually):
    block = mined(pool)
    pool.chain.seen[pool.log.block_hash(block)] = 7
    pool.chain.tip = 107
    pool.tell()
    accounting = pool.accounting()
    async with anyio.create_task_group() as tasks:
        await tasks.start(accounting.run)
        await eventually(lambda: accounting.balance(pool.log.bob).owed_msat)
        pool.chain.seen[pool.log.block_hash(block)] = -1
        pool.chain.tip = 108
        await eventually(lambda: accounting.balance(pool.log.bob).earned_msat == 0)
        await eventually(lambda: statuses(pool) == ["matured", "orphaned"])
        await stop(tasks)


async def test_a_kill_between_signing_and_publishing_sends_the_same_event(pool, eventually):
    mined(pool)
    pool.tell()
    pool.relay.refuse_publish = True
    first = pool.accounting()
    async with anyio.create_task_group() as tasks:
        await tasks.start(first.run)
        await eventually(lambda: first.fold.ledger.rewards)
        await stop(tasks)
    (signed,) = first.fold.ledger.rewards
    assert not pool.relay.of_kind(STATEMENT)
    pool.relay.refuse_publish = False
    pool.clock.ms += 60_000
    second = pool.accounting()
    async with anyio.create_task_group() as tasks:
        await tasks.start(second.run)
        await eventually(lambda: pool.relay.of_kind(STATEMENT))
        await anyio.sleep(0.1)
        await stop(tasks)
    assert [event.id for event in pool.relay.of_kind(STATEMENT)] == [signed]


async def test_a_lost_file_is_recovered_from_the_relays_before_anything_is_signed(pool, eventually, tmp_path: Path):
    block = mined(pool)
    pool.tell()
    first = pool.accounting()
    async with anyio.create_task_group() as tasks:
        await tasks.start(first.run)
        await eventually(lambda: pool.relay.of_kind(STATEMENT))
        before = await first.balances()
        await stop(tasks)
    pool.relay.refuse_fetch = True
    pool.log.batch([pool.log.alice], block=True)
    pool.log.batch([])
    pool.tell()
    second = pool.accounting(tmp_path / "new.sqlite")
    async with anyio.create_task_group() as tasks:
        await tasks.start(second.run)
        await eventually(lambda: len(second.fold.blocks) == 2)
        await anyio.sleep(0.1)
        assert len(pool.relay.of_kind(STATEMENT)) == 1, "signed without knowing its own chain"
        assert second.balance(pool.log.bob).pending_msat == before[pool.log.bob].pending_msat
        pool.relay.refuse_fetch = False
        pool.clock.ms += 10_000
        await eventually(lambda: len(pool.relay.of_kind(STATEMENT)) == 2)
        pool.chain.seen[pool.log.block_hash(block)] = 6
        pool.chain.tip = 110
        await eventually(lambda: pool.relay.of_kind(STATUS))
        await stop(tasks)
    own = [event for event in pool.relay.order if event.kind in (STATEMENT, STATUS)]
    assert [link_of(event).seq for event in own] == [0, 1, 2]
    assert [link_of(event).prev for event in own[1:]] == [event.id for event in own[:-1]]


async def test_a_second_accounting_of_the_same_key_stops_the_first(pool, eventually):
    mined(pool)
    pool.tell()
    accounting = pool.accounting()
    async with anyio.create_task_group() as tasks:
        await tasks.start(accounting.run)
        await eventually(lambda: pool.relay.of_kind(STATEMENT))
        assert accounting.condition().may_sign is None
        (statement,) = pool.relay.of_kind(STATEMENT)
        place = next_link(Head(0, statement.id))
        pool.relay.put(
            pool.log.accounting.sign(build_status(pool.log.pool, place, statement.id, "void", pool.clock.ms // 1000))
        )
        await eventually(lambda: "not signed here" in (accounting.condition().may_sign or ""))
        pool.log.batch([pool.log.alice], block=True)
        pool.log.batch([])
        pool.tell()
        await eventually(lambda: len(accounting.fold.blocks) == 2)
        await anyio.sleep(0.1)
        assert len(pool.relay.of_kind(STATEMENT)) == 1
        await stop(tasks)


async def test_replayed_and_permuted_logs_give_the_same_books(pool, eventually, tmp_path: Path):
    block = mined(pool)
    pool.chain.seen[pool.log.block_hash(block)] = 6
    pool.chain.tip = 106
    pool.tell()
    live = pool.accounting()
    async with anyio.create_task_group() as tasks:
        await tasks.start(live.run)
        await eventually(lambda: live.balance(pool.log.alice).owed_msat)
        pool.log.payout("one", pool.log.alice, 5000)
        pool.tell()
        await eventually(lambda: live.balance(pool.log.alice).paid_msat)
        await stop(tasks)
    events = list(pool.relay.order)
    restarted = pool.accounting()
    async with anyio.create_task_group() as tasks:
        await tasks.start(restarted.run)
        assert restarted.fold.ledger.accounts == live.fold.ledger.accounts
        assert restarted.fold.statistics.work == live.fold.statistics.work
        await stop(tasks)
    for seed in range(3):
        random.Random(seed).shuffle(events)
        pool.relay.order[:] = events
        other = pool.accounting(tmp_path / f"{seed}.sqlite")
        async with anyio.create_task_group() as tasks:
            await tasks.start(other.run)
            assert await other.balances() == await live.balances()
            await stop(tasks)
        assert other.fold.ledger.accounts == live.fold.ledger.accounts
        assert other.condition().findings == live.condition().findings


async def test_terms_that_close_a_lane_below_what_was_read_fold_the_books_anew(
    pool, eventually, monkeypatch, tmp_path: Path
):
    hashed, draft = [], mining.draft_batch
    monkeypatch.setattr(mining, "draft_batch", lambda *of: (hashed.append(1), draft(*of))[1])
    mined(pool)
    end = pool.log.head
    pool.log.batch([pool.log.alice] * 5)
    pool.tell()
    live = pool.accounting()
    async with anyio.create_task_group() as tasks:
        await tasks.start(live.run)
        await eventually(lambda: pool.relay.of_kind(STATEMENT))
        assert live.fold.statistics.shares == 9
        before = live.fold.ledger.accounts
        pool.log.terms(closed={f"{pool.log.edge.pubkey}/0": end})
        pool.tell()
        known = len(hashed)
        await eventually(lambda: live.fold.statistics.shares == 4)
        assert live.fold.ledger.accounts == before
        assert len(hashed) == known == 4, "each batch was hashed once"
        assert live.condition().may_sign is None
        await stop(tasks)
    again = pool.accounting(tmp_path / "again.sqlite")
    async with anyio.create_task_group() as tasks:
        await tasks.start(again.run)
        assert await again.balances() == await live.balances()
        assert again.fold.statistics.shares == 4
        await stop(tasks)


async def test_views_go_out_on_change_and_not_more_often_than_set(pool, eventually):
    mined(pool)
    pool.tell()
    accounting = pool.accounting()
    async with anyio.create_task_group() as tasks:
        await tasks.start(accounting.run)
        await eventually(lambda: len(pool.relay.of_kind(BALANCE)) == 2 and pool.relay.of_kind(STATEMENT))
        balance = json.loads(pool.relay.of_kind(BALANCE)[0].content)
        assert balance["pending_msat"] == (GROSS - FEE) // 2
        assert balance["as_of"] == [0, pool.relay.of_kind(STATEMENT)[0].id]
        assert {event.tag_value("d") for event in pool.relay.of_kind(STATISTICS)} == {
            "pool",
            pool.log.alice,
            pool.log.bob,
        }
        told = len(pool.relay.of_kind(STATISTICS))
        await anyio.sleep(0.1)
        assert len(pool.relay.of_kind(STATISTICS)) == told
        pool.log.batch([pool.log.alice])
        pool.tell()
        pool.clock.ms += 15_000
        await eventually(lambda: len(pool.relay.of_kind(STATISTICS)) > told)
        assert len(pool.relay.of_kind(BALANCE)) == 2
        await stop(tasks)


async def test_junk_and_strangers_change_nothing(pool, eventually):
    mined(pool)
    pool.tell()
    stranger = pool.log.zapper
    for event in pool.log.events[:4]:
        for content in (event.content, "not JSON"):
            pool.relay.put(stranger.sign(UnsignedEvent(event.kind, event.created_at, event.tags, content)))
    accounting = pool.accounting()
    async with anyio.create_task_group() as tasks:
        await tasks.start(accounting.run)
        await eventually(lambda: pool.relay.of_kind(STATEMENT))
        assert accounting.balance(pool.log.alice).pending_msat == (GROSS - FEE) // 2
        await stop(tasks)


async def test_a_flood_of_strangers_is_not_stored_and_a_new_keys_events_are_asked_for_again(
    pool, eventually, monkeypatch
):
    monkeypatch.setattr(parked, "MAX_PARKED", 5)
    mined(pool)
    pool.tell()
    accounting = pool.accounting()
    stranger, second = SecretKey(b"\x07" * 32), SecretKey(b"\x08" * 32)
    tags = (("a", str(pool.log.pool)),)
    flood = [stranger.sign(UnsignedEvent(4211, number, tags, "{}")) for number in range(50)]
    async with anyio.create_task_group() as tasks:
        await tasks.start(accounting.run)
        await eventually(lambda: pool.relay.of_kind(STATEMENT))
        pool.relay.put(*flood)
        await eventually(lambda: set(pool.relay.stored) >= {event.id for event in flood})
        # A second edge begins to mine before terms name it.
        closed = {f"{pool.log.edge.pubkey}/0": pool.log.head}
        pool.log.edge, pool.log._lane, known = second, None, len(pool.log.events)
        pool.log.batch([pool.log.alice])
        early = pool.log.events[known:]
        pool.tell()
        await eventually(lambda: set(pool.relay.stored) >= {event.id for event in early})
        assert not [event for event in early if event.id in accounting.fold]
        assert len([event for event in flood if event.id in accounting.fold]) == 5
        assert len(pool.relay.held) == 1
        pool.log.terms(closed=closed)
        pool.tell()
        await eventually(lambda: all(event.id in accounting.fold for event in early))
        assert pool.relay.held[1:] == [Held(0, 0)]
        assert len([event for event in flood if event.id in accounting.fold]) == 5
        await stop(tasks)
    with StoredLog(pool.place()) as log:
        kept = {event.id for event in log.between(0, 2**40)}
    assert len(kept & {event.id for event in flood}) == 5
    assert {event.id for event in early} <= kept


def hours(pool, count=3):
    """Terms, a batch with shares and one without in each hour, and a last one that passes them."""
    pool.log.terms()
    for hour in range(count):
        pool.log.batch([pool.log.alice, pool.log.bob, pool.log.alice], rejects=hour)
        pool.log.batch([], seconds=3_500)
    pool.log.batch([], seconds=3_600)


async def test_hours_are_summed_up_once_over_restarts(pool, eventually):
    hours(pool)
    pool.tell()
    async with anyio.create_task_group() as tasks:
        await tasks.start(pool.accounting().run)
        await eventually(lambda: len(pool.relay.of_kind(SUMMARY)) == 4)
        await stop(tasks)
    found = [parse_summary(event) for event in pool.relay.of_kind(SUMMARY)]
    assert [summary.link.seq for summary in found] == [0, 1, 2, 3]
    assert all(left.to_ms == right.from_ms for left, right in pairwise(found))
    assert sum(summary.shares for summary in found) == 9
    assert [summary.rejects for summary in found] == [(), ((23, 1),), ((23, 2),), ()]
    # The same again from the file, from the relays alone, and one hour later.
    for path in (None, pool.path.with_name("fresh.sqlite")):
        async with anyio.create_task_group() as tasks:
            accounting = pool.accounting(path)
            await tasks.start(accounting.run)
            await accounting.balances()
            await eventually(lambda accounting=accounting: accounting.fold.summaries.to_ms == found[-1].to_ms)
            assert accounting.condition().violations == ()
            assert len(pool.relay.of_kind(SUMMARY)) == 4
            await stop(tasks)
    pool.log.batch([pool.log.bob], seconds=3_600)
    pool.tell()
    async with anyio.create_task_group() as tasks:
        accounting = pool.accounting()
        await tasks.start(accounting.run)
        await eventually(lambda: len(pool.relay.of_kind(SUMMARY)) == 5)
        last = parse_summary(pool.relay.of_kind(SUMMARY)[-1])
        assert (last.from_ms, last.to_ms) == (found[-1].to_ms, found[-1].to_ms + HOUR_MS)
        assert accounting.condition().violations == ()
        await stop(tasks)


async def test_an_hour_of_many_rows_stands_in_parts(pool, eventually, monkeypatch):
    monkeypatch.setattr(summaries, "ROWS_BYTES", 150)
    hours(pool, 1)
    pool.tell()
    async with anyio.create_task_group() as tasks:
        accounting = pool.accounting()
        await tasks.start(accounting.run)
        await eventually(lambda: pool.relay.of_kind(SUMMARY))
        summary = parse_summary(pool.relay.of_kind(SUMMARY)[0])
        parts = [parse_summary_part(event) for event in pool.relay.of_kind(STATEMENT_PART)]
        assert (summary.parts, [part.part for part in parts]) == (2, [0, 1])
        assert sorted(row.miner for part in parts for row in part.rows) == sorted((pool.log.alice, pool.log.bob))
        assert accounting.condition().violations == ()
        await stop(tasks)


async def test_an_archive_is_announced_once(pool, eventually):
    mined(pool)
    pool.tell()
    heads = {f"{'dd' * 32}/0": Head(1, "cc" * 32)}
    body = ArchiveBody(1, 2, 3, Digest("aa" * 32, 4), Digest("bb" * 32, 5), heads, ("https://x",))
    async with anyio.create_task_group() as tasks:
        await tasks.start(pool.accounting().run)
        await eventually(lambda: pool.relay.of_kind(STATEMENT))

        def request() -> None:
            with StoredLog(pool.place()) as log:
                assert (log.pool, log.signer) == (pool.log.pool, pool.log.accounting.pubkey)
                log.request_announcement(body)
                log.request_announcement(body)

        # As from another process: it may wait for the accounting's own transaction.
        await anyio.to_thread.run_sync(request)
        await eventually(lambda: pool.relay.of_kind(ARCHIVE))
        await stop(tasks)
    (event,) = pool.relay.of_kind(ARCHIVE)
    archive = parse_archive(event)
    with StoredLog(pool.place()) as log:
        name = log.announced(body.stream.sha256)
    assert (archive.id, archive.stream, archive.heads, archive.urls) == (name, body.stream, body.heads, body.urls)
    async with anyio.create_task_group() as tasks:
        accounting = pool.accounting()
        await tasks.start(accounting.run)
        await accounting.balances()
        await stop(tasks)
    assert len(pool.relay.of_kind(ARCHIVE)) == 1


async def test_zap_receipts_are_asked_for_by_their_ids(pool, eventually, invoice):
    """A receipt comes late, without an address of the pool: the payout that names it gets its grade by it."""
    mined(pool)
    second, preimage, provider = pool.log.now_ms // 1000, bytes(32), SecretKey(bytes([9] * 32))
    asked = build_zap_request(
        recipient=pool.log.alice, amount_msat=1000, lnurl="lnurl1x", relays=("ws://a",), content="", created_at=second
    )
    request = pool.log.zapper.sign(asked)
    text = zap_request_text(request)
    paid = invoice(provider, 1000, preimage, text, second)
    told = build_zap_receipt(check_zap_request(text), bolt11=paid, preimage=preimage.hex(), paid_at=second)
    receipt = provider.sign(told)
    proof = {"bolt11": paid, "preimage": preimage.hex(), "zap_request": json.loads(encode_event(request))}
    pool.log.payout("one", pool.log.alice, 1000, zap={**proof, "provider": provider.pubkey, "receipt": receipt.id})
    pool.tell()
    async with anyio.create_task_group() as tasks:
        accounting = pool.accounting()
        await tasks.start(accounting.run)
        await eventually(lambda: accounting.fold.wanted)
        assert receipt.id not in accounting.fold
        pool.relay.put(receipt)
        pool.clock.ms += 60_000
        await eventually(lambda: receipt.id in accounting.fold)
        await stop(tasks)
