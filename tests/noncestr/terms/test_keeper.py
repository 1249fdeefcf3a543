"""The terms file: one chain through restarts, torn writes and lost files."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

import noncestr.terms.keeper
from nips.keys import AtHand, SecretKey
from nips.nip01 import VerifiedEvent
from nips.pool.address import PoolAddress
from nips.pool.terms import Limits, Offer, TermsBody
from noncestr.errors import NoncestrError
from noncestr.terms.keeper import TermsKeeper
from relay_bridge.errors import RelayUnavailable, StoreError

KEY = SecretKey(hashlib.sha256(b"noncestr test key terms").digest())
POOL = PoolAddress(KEY.pubkey, "regtest")
BODY = TermsBody(offers={"main": Offer()}, keys=((KEY.pubkey, "edge"),))

pytestmark = pytest.mark.anyio


class FakeFeed:
    """A relay that keeps what is published, in order, once."""

    def __init__(self) -> None:
        self.events: list[VerifiedEvent] = []
        # So often the outbox fails before it takes something.
        self.failures = 0
        self.is_away = False

    async def publish(self, event: VerifiedEvent, *, chain: str = "") -> None:
        if self.failures:
            self.failures -= 1
            raise StoreError("database or disk is full")
        if event not in self.events:
            self.events.append(event)

    async def fetch(self, filters, *, timeout_s: float = 10) -> list[VerifiedEvent]:
        if self.is_away:
            raise RelayUnavailable({"ws://relay": "away"})
        return [event for event in self.events if any(wanted.matches(event) for wanted in filters)]


async def test_issues_a_chain_and_only_on_change(tmp_path: Path) -> None:
    feed = FakeFeed()
    keeper = TermsKeeper(tmp_path / "terms.jsonl", AtHand(KEY), POOL, feed)
    await keeper.open()
    with pytest.raises(LookupError):
        keeper.current()
    first = await keeper.issue(BODY, 5_000)
    assert await keeper.issue(BODY, 9_000) is first
    second = await keeper.issue(replace(BODY, limits=Limits(batch_seconds=20)), 4_000)
    assert (second.link.seq, second.link.prev) == (1, first.id)
    assert second.created_at == first.created_at == 5  # the clock fell back, the chain's dates did not
    assert [event.id for event in feed.events] == [first.id, second.id]


async def test_resumes_from_the_file_and_drops_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "terms.jsonl"
    keeper = TermsKeeper(path, AtHand(KEY), POOL, FakeFeed())
    await keeper.open()
    first = await keeper.issue(BODY, 5_000)
    path.write_bytes(path.read_bytes() + b'{"id":"torn')
    feed = FakeFeed()
    again = TermsKeeper(path, AtHand(KEY), POOL, feed)
    await again.open()
    assert again.current() == first
    assert [event.id for event in feed.events] == [first.id]
    second = await again.issue(replace(BODY, offers={"main": Offer(fee_ppm=0)}), 6_000)
    third = TermsKeeper(path, AtHand(KEY), POOL, FakeFeed())
    await third.open()
    assert third.current() == second


async def test_continues_the_chain_of_the_relays_when_the_file_is_lost(tmp_path: Path) -> None:
    feed = FakeFeed()
    keeper = TermsKeeper(tmp_path / "a.jsonl", AtHand(KEY), POOL, feed)
    await keeper.open()
    first = await keeper.issue(BODY, 5_000)
    again = TermsKeeper(tmp_path / "b.jsonl", AtHand(KEY), POOL, feed)
    await again.open()
    assert again.current() == first
    assert (tmp_path / "b.jsonl").read_bytes() == (tmp_path / "a.jsonl").read_bytes()


async def test_changed_wakes_on_new_terms(tmp_path: Path) -> None:
    keeper = TermsKeeper(tmp_path / "terms.jsonl", AtHand(KEY), POOL, FakeFeed())
    await keeper.open()
    first = await keeper.issue(BODY, 5_000)
    seen = []

    async def wait() -> None:
        seen.append(await keeper.changed(first.id))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.lowlevel.checkpoint()
        second = await keeper.issue(replace(BODY, offers={"main": Offer(fee_ppm=0)}), 6_000)
    assert seen == [second]


async def test_on_a_full_disk_no_terms_are_made_and_the_file_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "terms.jsonl"
    feed = FakeFeed()
    keeper = TermsKeeper(path, AtHand(KEY), POOL, feed)
    await keeper.open()
    first = await keeper.issue(BODY, 5_000)
    whole = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            await keeper.issue(replace(BODY, limits=Limits(batch_seconds=20)), 6_000)
    assert keeper.current() is first
    assert path.read_bytes() == whole
    second = await keeper.issue(replace(BODY, limits=Limits(batch_seconds=30)), 7_000)
    again = TermsKeeper(path, AtHand(KEY), POOL, feed)
    await again.open()
    assert [terms.id for terms in again.every()] == [first.id, second.id]


async def test_terms_that_are_in_the_file_are_published_however_often_the_outbox_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(noncestr.terms.keeper, "RETRY_S", 0.001)
    feed = FakeFeed()
    keeper = TermsKeeper(tmp_path / "terms.jsonl", AtHand(KEY), POOL, feed)
    await keeper.open()
    feed.failures = 3
    issued = await keeper.issue(BODY, 5_000)
    assert [event.id for event in feed.events] == [issued.id]
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_an_old_copy_of_the_file_is_brought_up_to_what_the_relays_have(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "terms.jsonl"
    feed = FakeFeed()
    keeper = TermsKeeper(path, AtHand(KEY), POOL, feed)
    await keeper.open()
    bodies = [replace(BODY, limits=Limits(batch_seconds=seconds)) for seconds in (10, 20, 30, 40)]
    issued = [await keeper.issue(body, 5_000) for body in bodies[:3]]
    lines = path.read_bytes().splitlines(keepends=True)
    # Put back from a copy, or its end cut off: what is missing was published.
    path.write_bytes(lines[0] + lines[1][:50])
    again = TermsKeeper(path, AtHand(KEY), POOL, feed)
    await again.open()
    assert [terms.id for terms in again.every()] == [terms.id for terms in issued]
    assert path.read_bytes() == b"".join(lines)
    assert [record.getMessage() for record in caplog.records] == [
        "the terms file was behind: 2 terms were taken from the relays"
    ]
    following = await again.issue(bodies[3], 6_000)
    assert (following.link.seq, following.link.prev) == (3, issued[2].id)


async def test_without_a_relay_the_file_counts_and_nothing_else_does(tmp_path: Path) -> None:
    path = tmp_path / "terms.jsonl"
    feed = FakeFeed()
    keeper = TermsKeeper(path, AtHand(KEY), POOL, feed)
    await keeper.open()
    first = await keeper.issue(BODY, 5_000)
    feed.is_away = True
    again = TermsKeeper(path, AtHand(KEY), POOL, feed)
    await again.open()
    assert again.current().id == first.id
    with pytest.raises(RelayUnavailable):
        await TermsKeeper(tmp_path / "other.jsonl", AtHand(KEY), POOL, feed).open()


async def test_a_damaged_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "terms.jsonl"
    keeper = TermsKeeper(path, AtHand(KEY), POOL, FakeFeed())
    await keeper.open()
    await keeper.issue(BODY, 5_000)
    whole = path.read_bytes()
    for damaged in (b"\x00" * 20 + whole[20:], whole.replace(b"pplns", b"pplnx")):
        path.write_bytes(damaged)
        with pytest.raises(NoncestrError, match=r"terms\.jsonl: line 1 is damaged .*: move the file aside and start"):
            await TermsKeeper(path, AtHand(KEY), POOL, FakeFeed()).open()
        assert path.read_bytes() == damaged
