"""What payees said is kept: replays bring nothing back, changes are told once, payouts under way go where they go."""

import json
from typing import Any

import pytest

from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.nip61 import ListedMint, build_info
from nips.pool.settings import SettingsBody, build_settings
from zapper.payout import State
from zapper.said import MAX_SHOWN, Move, moves_of

pytestmark = pytest.mark.anyio
LOCK = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"


def profile(around: Any, name: str, lightning: str, *, age_s: int = 60) -> VerifiedEvent:
    """A profile of this miner, at the relay."""
    content = json.dumps({"lud16": lightning} if lightning else {"name": name})
    event: VerifiedEvent = around.miners[name].sign(UnsignedEvent(0, around.clock.seconds() - age_s, (), content))
    around.feed.add(event)
    return event


def settings(around: Any, name: str, body: SettingsBody, *, age_s: int = 60) -> VerifiedEvent:
    """Settings of this miner, at the relay."""
    unsigned = build_settings(around.address.pubkey, body, around.clock.seconds() - age_s)
    event: VerifiedEvent = around.miners[name].sign(unsigned)
    around.feed.add(event)
    return event


def nutzap_info(around: Any, name: str, mint: str, *, age_s: int = 60) -> VerifiedEvent:
    """A nutzap info of this miner."""
    unsigned = build_info(pubkey=LOCK, mints=[ListedMint(mint)], relays=[], created_at=around.clock.seconds() - age_s)
    event: VerifiedEvent = around.miners[name].sign(unsigned)
    return event


async def pay_more(around: Any, zapper: Any, name: str) -> None:
    around.ledger.earned[around.miners[name].pubkey] += 5_000_000
    await zapper.pay_round()


@pytest.mark.parametrize("restarted", [False, True])
async def test_an_older_profile_that_is_replayed_brings_no_old_address_back(around: Any, restarted: bool) -> None:
    """The relay forgets the new profile and shows the old one again: money goes where the new one says."""
    around.miner("old", 5_000_000)
    [old] = [event for event in around.feed.events.values() if event.kind == 0]
    new = profile(around, "old", "new@pay.example")
    async with around.open() as (zapper, _):
        await zapper.pay_round()
        del around.feed.events[new.id]
        if not restarted:
            await pay_more(around, zapper, "old")
    if restarted:
        async with around.open() as (zapper, _):
            await pay_more(around, zapper, "old")
    assert around.feed.events[old.id] == old
    assert [record.to for record in around.records()] == [new.id, new.id]
    assert around.provider.asked == {"new": 2}


async def test_older_settings_that_are_replayed_bring_no_old_address_back(around: Any) -> None:
    around.miner("own", 5_000_000)
    old = settings(around, "own", SettingsBody(lightning="first@pay.example"), age_s=100)
    new = settings(around, "own", SettingsBody(lightning="second@pay.example"))
    async with around.open() as (zapper, store):
        await zapper.pay_round()
        del around.feed.events[new.id]
        await pay_more(around, zapper, "own")
        # Who follows the settings tells of them.
        assert await store.moves(0) == []
    assert around.feed.events[old.id] == old
    assert around.provider.asked == {"second": 2}


async def test_a_profile_dated_ahead_is_not_kept(around: Any) -> None:
    around.miner("old", 5_000_000)
    profile(around, "old", "ahead@pay.example", age_s=-3600)
    async with around.open() as (zapper, store):
        await zapper.pay_round()
        [kept] = await store.said(around.miners["old"].pubkey)
    assert kept.created_at < around.clock.seconds()
    assert around.provider.asked == {"old": 1}


async def test_a_clock_set_back_makes_nothing_older_count_for_good(around: Any) -> None:
    around.miner("old", 5_000_000)
    new = profile(around, "old", "new@pay.example")
    async with around.open() as (zapper, store):
        await zapper.pay_round()
        around.clock.pass_s(-2000)
        await pay_more(around, zapper, "old")
        assert await store.said(around.miners["old"].pubkey) == [new]
        around.clock.pass_s(2000)
        await pay_more(around, zapper, "old")
    assert around.provider.asked == {"new": 2, "old": 1}


async def test_a_new_address_is_kept_to_be_told_and_counts_for_later_payouts_alone(around: Any) -> None:
    """Of a payout that is under way while the profile changes nothing changes, whatever restarts in between."""
    miner = around.miner("old", 5_000_000)
    [old] = [event for event in around.feed.events.values() if event.kind == 0]
    around.wallet.script.append("pending")
    async with around.open() as (zapper, store):
        await zapper.pay_round()
        new = profile(around, "old", "new@pay.example")
        around.ledger.earned[miner] += 5_000_000
        # Nothing else is paid meanwhile.
        await zapper.pay_round()
        assert await store.moves(0) == []
    async with around.open() as (zapper, store):
        await zapper.reconcile()
        [intent] = await store.open_intents()
        assert (intent.to, intent.state) == (old.id, State.UNKNOWN)
        around.wallet.finish()
        await zapper.reconcile()
        assert [record.to for record in around.records()] == [old.id]
        await zapper.pay_round()
        assert await store.moves(0) == [Move(new.id, miner, 0, "new@pay.example", around.clock())]
    assert [record.to for record in around.records()] == [old.id, new.id]
    assert around.provider.asked == {"old": 1, "new": 1}
    # And is told of once.
    async with around.open() as (zapper, store):
        await pay_more(around, zapper, "old")
        assert len(await store.moves(0)) == 1
        assert await store.moves(around.clock() + 1) == []


async def test_a_kill_where_the_change_is_kept_loses_neither_it_nor_what_is_told(around: Any) -> None:
    class Killed(Exception):
        pass

    def dies(store: Any) -> Any:
        class Dying:
            def __getattr__(self, name: str) -> Any:
                return getattr(store, name)

            async def keep_said(self, *_: Any) -> None:
                raise Killed

        return Dying()

    miner = around.miner("old", 5_000_000)
    async with around.open() as (zapper, _):
        await zapper.pay_round()
    new = profile(around, "old", "new@pay.example")
    async with around.open(dies) as (zapper, store):
        await pay_more(around, zapper, "old")
        # Nothing goes to an address of which nothing is to be told.
        assert around.provider.asked == {"old": 1}
        assert await store.moves(0) == []
    around.clock.pass_s(3600)
    async with around.open() as (zapper, store):
        await zapper.pay_round()
        assert [move.event for move in await store.moves(0)] == [new.id]
    assert around.provider.asked == {"old": 1, "new": 1}
    assert around.records()[-1].miner == miner


async def test_what_changes_nothing_is_not_told(around: Any) -> None:
    around.miner("old", 5_000_000)
    async with around.open() as (zapper, store):
        await zapper.pay_round()
        # Another picture, the same address.
        content = json.dumps({"lud16": " old@pay.example", "picture": "https://example.com/a.png"})
        around.feed.add(around.miners["old"].sign(UnsignedEvent(0, around.clock.seconds() - 50, (), content)))
        await pay_more(around, zapper, "old")
        # An address of its own in the settings: what the profile says is of no matter.
        settings(around, "old", SettingsBody(lightning="own@pay.example"))
        profile(around, "old", "thief@pay.example", age_s=40)
        await pay_more(around, zapper, "old")
        assert await store.moves(0) == []
    assert around.provider.asked == {"old": 2, "own": 1}


async def test_an_address_that_goes_away_is_told(around: Any) -> None:
    around.miner("old", 5_000_000)
    async with around.open() as (zapper, store):
        await zapper.pay_round()
        profile(around, "old", "")
        await pay_more(around, zapper, "old")
        [move] = await store.moves(0)
        assert move.goes == ""


def test_nutzap_infos_and_orders(around: Any) -> None:
    around.miner("one", 0)
    first, second = (nutzap_info(around, "one", f"https://mint{n}.example") for n in (1, 2))
    known = {0: profile(around, "one", "one@pay.example")}
    both = {"order": ("zap", "nutzap"), "now_ms": 5}
    # A first nutzap info of somebody known is a new way that money can go.
    [move] = moves_of(known, [first], None, **both)
    assert (move.kind, move.goes) == (10019, f"ecash locked to {LOCK}, of https://mint1.example")
    [move] = moves_of({10019: first}, [second], None, **both)
    assert "mint2" in move.goes
    assert moves_of({10019: first}, [nutzap_info(around, "one", "https://mint1.example", age_s=5)], None, **both) == []
    # Not of somebody unknown, nor where nobody is paid that way.
    assert moves_of({}, [first], None, **both) == []
    assert moves_of(known, [first], None, order=("zap",), now_ms=5) == []
    assert moves_of(known, [first], SettingsBody(methods=("lnurl",)), **both) == []
    assert moves_of(known, [first], SettingsBody(methods=("nutzap",)), order=("zap",), now_ms=5) != []
    other = profile(around, "one", "other@pay.example")
    assert moves_of(known, [other], SettingsBody(methods=("nutzap", "onchain")), **both) == []
    assert moves_of(known, [other], SettingsBody(methods=("lnurl",)), **both) != []


def test_an_address_is_shown_on_one_line(around: Any) -> None:
    around.miner("one", 0)
    before = {0: profile(around, "one", "one@pay.example")}
    long = [profile(around, "one", f"a\nb{'x' * 9 * MAX_SHOWN}@pay.example")]
    [move] = moves_of(before, long, None, order=("zap",), now_ms=5)
    assert move.goes.startswith("a bx")
    assert len(move.goes) == MAX_SHOWN
