"""What is told to whom, once, and within limits."""

from dataclasses import replace

import pytest

from noncestr.citizen.facts import BlockFacts
from noncestr.notices.channels import CODES_PER_DAY
from noncestr.notices.news import DESTINATION_MS, Measured
from noncestr.notices.watch import DAY_MS, HOUR_MS, MINUTE_MS, OFFLINE_MS
from zapper.ports import Payee
from zapper.said import Move

pytestmark = pytest.mark.anyio


async def told(notices, notifier, name="alice"):
    """Look, send, and the messages there are now, without those before."""
    before = len(notices.read(name))
    await notifier.look()
    await notifier.send()
    return notices.read(name)[before:]


async def test_paid_once_across_restarts(notices):
    notices.settle("alice", notify=("paid",))
    notices.settle("bob")
    notices.pay("alice", 1)
    async with notices.notifier() as notifier:
        # Before the pool began to tell.
        assert await told(notices, notifier) == []
        payout = notices.pay("alice")
        notices.pay("bob")
        [text] = await told(notices, notifier)
        assert "paid you 1,234 sat by a zap" in text
        assert payout.payout_id in text
        assert payout.id in text
        assert "5" * 64 in text
        assert "56 sat" in text
        assert "noncestr verify --pool npub1" in text
        assert notices.read("bob") == []
        # Who asks for it later is not told of what was before.
        notices.settle("bob", notify=("paid",))
        assert await told(notices, notifier, "bob") == []
    async with notices.notifier() as notifier:
        assert await told(notices, notifier) == []
        notices.pay("alice", -5_000, reverses="pay1")
        [text] = await told(notices, notifier)
        assert "5 sat of payout pay1 came back" in text


async def test_nothing_before_the_books_are_whole(notices):
    notices.settle("alice", notify=("paid",))
    notices.books.is_synced = False
    async with notices.notifier() as notifier:
        notices.pay("alice")
        assert await told(notices, notifier) == []
        notices.books.is_synced = True
        # All of this is what there was when the pool began to tell.
        assert await told(notices, notifier) == []
        notices.pay("alice")
        assert len(await told(notices, notifier)) == 1


async def test_a_failing_payout_and_its_end(notices):
    miner = notices.key("alice").pubkey
    notices.settle("alice", notify=("failed",))
    async with notices.notifier() as notifier:
        payee = Payee(miner, 2, 0, "the wallet is  away\n" + "x" * 900, since_ms=notices.clock.ms)
        notices.books.payees = [payee]
        assert await told(notices, notifier) == []
        notices.books.payees = [replace(payee, failures=3)]
        [text] = await told(notices, notifier)
        assert "the wallet is away x" in text
        assert len(text) < 900
        notices.books.payees = [replace(payee, failures=9, reason="another")]
        assert await told(notices, notifier) == []
        notices.books.payees = [replace(payee, failures=10, dead_ms=5)]
        [text] = await told(notices, notifier)
        assert "not tried any more" in text
        notices.books.payees = []
        assert await told(notices, notifier) == []
        notices.books.payees = [replace(payee, failures=3, since_ms=notices.clock.ms + 1)]
        assert len(await told(notices, notifier)) == 1


async def test_a_changed_destination_is_always_told(notices):
    notices.settle("alice", lightning="old@example.com")
    async with notices.notifier(per_day=1) as notifier:
        assert await told(notices, notifier) == []
        notices.clock.ms += 1000
        known = notices.settle("alice", lightning="thief@example.com")
        [text] = await told(notices, notifier)
        assert "lightning thief@example.com" in text
        assert known.settings.id in text
        # Away and back within the hour: the newest is told when the hour is over.
        notices.clock.ms += 1000
        notices.settle("alice", lightning="thief@example.org")
        notices.clock.ms += 1000
        notices.settle("alice", lightning="old@example.com")
        assert await told(notices, notifier) == []
        notices.clock.ms += DESTINATION_MS
        [text] = await told(notices, notifier)
        assert "old@example.com" in text
    async with notices.notifier() as notifier:
        assert await told(notices, notifier) == []


async def test_first_settings_are_a_change_when_they_name_a_destination(notices):
    async with notices.notifier() as notifier:
        notices.settle("alice", notify=("paid",))
        assert await told(notices, notifier) == []
        notices.settle("bob", onchain="bcrt1qxyz")
        [text] = await told(notices, notifier, "bob")
        assert "on chain bcrt1qxyz" in text


async def test_a_thief_can_not_use_up_the_limit(notices):
    notices.settle("alice", notify=("paid",), lightning="old@example.com")
    async with notices.notifier(per_day=2, per_day_all=2) as notifier:
        for _ in range(9):
            notices.pay("alice")
        texts = await told(notices, notifier)
        assert len(texts) == 2
        assert "That is all for 24 hours: you had 2 notices." in texts[1]
        notices.clock.ms += 1000
        notices.settle("alice", notify=("paid",), lightning="thief@example.com")
        assert len(await told(notices, notifier)) == 1
    async with notices.notifier(per_day=2) as notifier:
        notices.pay("alice")
        assert await told(notices, notifier) == []
        notices.clock.ms += DAY_MS + 1
        notices.pay("alice")
        assert len(await told(notices, notifier)) == 1


async def test_all_together_have_a_limit(notices):
    notices.settle("alice", notify=("paid",))
    notices.settle("bob", notify=("paid",))
    async with notices.notifier(per_day_all=1) as notifier:
        notices.pay("alice")
        notices.pay("bob")
        assert len(await told(notices, notifier)) == 1
        assert notices.read("bob") == []


async def test_a_block(notices):
    notices.settle("alice", notify=("block",))
    async with notices.notifier() as notifier:
        finder = notices.key("alice").pubkey
        notices.books.found.append(BlockFacts("e" * 64, "b" * 64, 77, finder, notices.clock.ms, 5_000_000_000_000, 1))
        [text] = await told(notices, notifier)
        assert "You found block 77 with Example: 5,000,000,000 sat" in text
        assert "b" * 64 in text
        assert await told(notices, notifier) == []
        # Of what was told the node is not asked again; of what it does not have nothing is told, until it has it.
        assert notices.books.asked == ["b" * 64]
        notices.books.orphans.add("c" * 64)
        notices.books.found.append(BlockFacts("f" * 64, "c" * 64, 78, finder, notices.clock.ms, 5, 1))
        assert await told(notices, notifier) == []
        notices.books.orphans.clear()
        assert len(await told(notices, notifier)) == 1


def sends(notices, *names, rate=100):
    now = notices.clock.ms
    miner = notices.key("alice").pubkey
    notices.books.rates[miner] = Measured(rate, dict.fromkeys(names, (rate, now)), {"#0011aabb": "cellar"})


async def pass_time(notices, notifier, minutes, *names, rate=100):
    texts = []
    for _ in range(minutes):
        notices.clock.ms += MINUTE_MS
        if names or rate:
            sends(notices, *names, rate=rate)
        texts += await told(notices, notifier)
    return texts


async def test_a_worker_goes_and_comes_back(notices):
    notices.settle("alice", notify=("worker",))
    async with notices.notifier() as notifier:
        assert await pass_time(notices, notifier, 5, "rig1", "#0011aabb") == []
        texts = await pass_time(notices, notifier, OFFLINE_MS // MINUTE_MS + 1, "rig1")
        assert len(texts) == 1
        assert "Your worker cellar has sent Example no share since" in texts[0]
    async with notices.notifier() as notifier:
        texts = await pass_time(notices, notifier, 10, "rig1", "#0011aabb")
        assert texts == ["Your worker cellar sends shares to Example again."]


async def test_a_worker_that_went_while_the_pool_was_down(notices):
    notices.settle("alice", notify=("worker",))
    async with notices.notifier() as notifier:
        await pass_time(notices, notifier, 20, "rig1")
    notices.clock.ms += 30 * MINUTE_MS
    async with notices.notifier() as notifier:
        assert await pass_time(notices, notifier, OFFLINE_MS // MINUTE_MS - 1, rate=0) == []
        assert len(await pass_time(notices, notifier, 2, rate=0)) == 1


async def test_the_pools_silence_is_not_told(notices):
    notices.settle("alice", notify=("worker",))
    async with notices.notifier() as notifier:
        await pass_time(notices, notifier, 5, "rig1")
        notices.books.behind_ms = HOUR_MS
        assert await pass_time(notices, notifier, 60, rate=0) == []
        notices.books.behind_ms = 0
        assert await pass_time(notices, notifier, 5, "rig1") == []


async def test_only_watched_workers(notices):
    notices.settle("alice", private={"watch": {"rig1": ["offline"], "rig2": ["hashrate"]}})
    async with notices.notifier() as notifier:
        assert await pass_time(notices, notifier, 5, "rig1", "rig2", "rig3") == []
        texts = await pass_time(notices, notifier, 20, rate=0)
        assert len(texts) == 1
        assert "rig1" in texts[0]


async def test_a_hashrate_drops(notices):
    notices.settle("alice", notify=("hashrate",), private={"watch": {"rig2": ["hashrate"]}})
    async with notices.notifier() as notifier:
        assert await pass_time(notices, notifier, 12 * 60, "rig2", rate=10**12) == []
    async with notices.notifier() as notifier:
        texts = await pass_time(notices, notifier, 120, "rig2", rate=3 * 10**11)
        assert len(texts) == 2
        assert "Your hashrate at Example fell to" in texts[0]
        assert "The hashrate of your worker rig2 at Example fell to" in texts[1]
        assert "its mean of a day" in texts[0]


async def test_who_watches_no_more_is_let_go(notices):
    notices.settle("alice", notify=("worker",))
    async with notices.notifier() as notifier:
        await pass_time(notices, notifier, 5, "rig1")
        notices.clock.ms += 1000
        notices.settle("alice")
        assert await pass_time(notices, notifier, 30, rate=0) == []
        assert notifier._memory.watches == {}


def mailed(notices):
    got, notices.mail.got = notices.mail.got, []
    return got


async def test_a_channel_is_used_after_its_code_came_back(notices):
    settings = {"notify": ("paid",)}
    notices.settle("alice", **settings, private={"channels": [["email", "a@example.com", ""]]})
    async with notices.notifier() as notifier:
        await told(notices, notifier)
        [(address, title, text)] = mailed(notices)
        assert (address, title) == ("a@example.com", "Example: your code")
        code = text.partition("settings: ")[2].split()[0]
        notices.pay("alice")
        await told(notices, notifier)
        # Neither a second code, nor a notice before the code is there.
        assert mailed(notices) == []
        for guess in ("", "WRONGCODE2", code[:-1]):
            notices.clock.ms += 1000
            notices.settle("alice", **settings, private={"channels": [["email", "a@example.com", guess]]})
            notices.pay("alice")
            await told(notices, notifier)
            assert mailed(notices) == []
        notices.clock.ms += 1000
        notices.settle("alice", **settings, private={"channels": [["email", "a@example.com", code.lower()]]})
        notices.pay("alice")
        await told(notices, notifier)
        [(address, title, text)] = mailed(notices)
        assert (address, title) == ("a@example.com", "Paid: 1,234 sat")
        assert text.endswith("take the email channel out of your settings at the pool.")
    async with notices.notifier(messages=False) as notifier:
        notices.pay("alice")
        assert await told(notices, notifier) == []
        assert len(mailed(notices)) == 1
        # Another's code is no code.
        notices.settle("bob", **settings, private={"channels": [["email", "a@example.com", code]]})
        await told(notices, notifier)
        [(_, title, _)] = mailed(notices)
        assert title == "Example: your code"
        notices.clock.ms += 1000
        notices.settle("alice", **settings)
        notices.pay("alice")
        await told(notices, notifier)
        [(address, title, text)] = mailed(notices)
        assert (address, title) == ("a@example.com", "Example: no more notices here")
        assert "somebody else has your key" in text
        notices.pay("alice")
        await told(notices, notifier)
        assert mailed(notices) == []


async def test_who_takes_a_channel_out_is_told_there_once_a_day(notices):
    """A thief who changes the address has no e-mail sent of that, but for this one."""
    channel = ["email", "a@example.com", ""]
    notices.settle("alice", lightning="old@example.com", private={"channels": [channel]})
    async with notices.notifier() as notifier:
        await told(notices, notifier)
        channel[2] = mailed(notices)[0][2].partition("settings: ")[2].split()[0]
        notices.clock.ms += 1000
        notices.settle("alice", lightning="old@example.com", private={"channels": [channel]})
        await told(notices, notifier)
        assert mailed(notices) == []
    # Killed, and down while the thief does it.
    notices.clock.ms += 1000
    notices.settle("alice", lightning="thief@example.com")
    async with notices.notifier() as notifier:
        await notifier.send()
        assert [title for _, title, _ in mailed(notices)] == ["Example: no more notices here"]
    async with notices.notifier() as notifier:
        assert await told(notices, notifier) == []
        for _ in range(3):
            for private in ({"channels": [channel]}, None):
                notices.clock.ms += 1000
                notices.settle("alice", lightning="thief@example.com", private=private)
                await told(notices, notifier)
        assert mailed(notices) == []
        notices.clock.ms += DAY_MS
        for private in ({"channels": [channel]}, {"channels": [["email", "a@example.com", "WRONG"]]}):
            notices.clock.ms += 1000
            notices.settle("alice", lightning="thief@example.com", private=private)
            await told(notices, notifier)
        assert len(mailed(notices)) == 1


async def test_settings_that_were_not_read_take_no_channel_out(notices):
    channel = ["email", "a@example.com", ""]
    notices.settle("alice", private={"channels": [channel]})
    async with notices.notifier() as notifier:
        await told(notices, notifier)
        channel[2] = mailed(notices)[0][2].partition("settings: ")[2].split()[0]
        notices.clock.ms += 1000
        notices.settle("alice", private={"channels": [channel]})
        await told(notices, notifier)
        notices.clock.ms += 1000
        notices.settle("alice", notify=("paid",), private={"channels": [channel]})
        lost = notices.feed.stored.pop()
        notices.clock.ms += DAY_MS
        await told(notices, notifier)
        assert mailed(notices) == []
        notices.feed.stored.append(lost)
        notices.clock.ms += DAY_MS
        notices.pay("alice")
        await told(notices, notifier)
        assert [title for _, title, _ in mailed(notices)] == ["Paid: 1,234 sat"]
    # Nor does an operator who closes e-mail.
    async with notices.notifier(kinds=frozenset()) as notifier:
        await told(notices, notifier)
    async with notices.notifier() as notifier:
        notices.pay("alice")
        await told(notices, notifier)
        assert len(mailed(notices)) == 1


async def test_the_pool_is_no_means_to_write_to_strangers(notices):
    notices.settle("alice", private={"channels": [["email", f"v{n}@example.com", ""] for n in range(5)]})
    async with notices.notifier() as notifier:
        await told(notices, notifier)
        assert len(mailed(notices)) == CODES_PER_DAY
        for name in ("bob", "carol", "dave"):
            notices.settle(name, private={"channels": [["email", "v0@example.com", ""]]})
        await told(notices, notifier)
        assert len(mailed(notices)) == 1


async def test_channels_are_off_unless_the_operator_opens_them(notices):
    notices.settle("alice", private={"channels": [["email", "a@example.com", ""]]})
    async with notices.notifier(kinds=frozenset()) as notifier:
        await told(notices, notifier)
        assert mailed(notices) == []


def moved(notices, name, event, goes="thief@example.com", kind=0):
    notices.books.moved.append(Move(event * 64, notices.key(name).pubkey, kind, goes, notices.clock.ms))


async def test_an_address_that_changed_in_the_profile_is_told_once(notices):
    """Without settings, without the word, beside the limits; and what was before the pool began to tell is no news."""
    moved(notices, "alice", "0")
    async with notices.notifier(per_day=1) as notifier:
        assert await told(notices, notifier) == []
        moved(notices, "alice", "1")
        moved(notices, "bob", "2", "", 10019)
        [text] = await told(notices, notifier)
        assert "by your profile, signed with your key. Now: payments go to thief@example.com." in text
        assert "1" * 64 in text
        assert "somebody else has your key" in text
        [text] = notices.read("bob")
        assert "your nutzap info (kind 10019), signed with your key. Now: it names no mint and key for nutzaps" in text
    async with notices.notifier() as notifier:
        assert await told(notices, notifier) == []
        # Killed before it was told of one that came meanwhile, and down for a day.
        notices.clock.ms += DAY_MS
        moved(notices, "alice", "3", "back@example.com")
        notices.clock.ms += DAY_MS
    async with notices.notifier() as notifier:
        await notifier.send()
        assert "back@example.com" in notices.read("alice")[-1]
        assert len(notices.read("alice")) == 2


async def test_of_many_changes_the_newest_of_an_hour_is_told(notices):
    notices.settle("alice", lightning="old@example.com")
    async with notices.notifier() as notifier:
        moved(notices, "alice", "1")
        assert len(await told(notices, notifier)) == 1
        for event in "2345":
            notices.clock.ms += 1000
            moved(notices, "alice", event, f"thief{event}@example.com")
            assert await told(notices, notifier) == []
        # Changes by settings share the hour.
        notices.settle("alice", lightning="thief@example.org")
        assert await told(notices, notifier) == []
        notices.clock.ms += DESTINATION_MS
        texts = await told(notices, notifier)
        assert len(texts) == 2
        assert "lightning thief@example.org" in texts[0]
        assert "thief5@example.com" in texts[1]
        notices.clock.ms += DESTINATION_MS
        assert await told(notices, notifier) == []


async def test_first_settings_after_a_changed_profile_are_no_change(notices):
    async with notices.notifier() as notifier:
        moved(notices, "alice", "1")
        assert len(await told(notices, notifier)) == 1
        notices.clock.ms += DESTINATION_MS
        notices.settle("alice", notify=("paid",))
        assert await told(notices, notifier) == []
