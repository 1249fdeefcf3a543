"""What wakes an operator, and when."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noncestr.alerts.conditions import (
    DAY_MS,
    FILLING,
    HOUR_MS,
    MINUTE_MS,
    SETTLE_MS,
    Alert,
    AlertLimits,
    Facts,
    conditions,
    news,
    report,
)
from noncestr.disk_trend import Trend

NOW = 1_800_000_000_000
LIMITS = AlertLimits()
RELAY = {"url": "wss://a", "connected": True, "backlog": 0}
PLACE = {"name": "lnd", "source": None, "silence": None}
WELL = Facts(
    NOW,
    {
        "ok": True,
        "parts": {
            "accounting": {"ok": True, "signing": "yes"},
            "edge": {"ok": True, "stalled": False, "unpublished": 0},
            "relays": {"ok": True, "alarms": {"forks": 0, "gaps": 0}, "dead": [], "each": [RELAY]},
            "zapper": {"ok": True, "blocked": "", "settled": 3, "failed": 0, "unknown": [], "alerts": []},
        },
    },
    lanes=({"lane": "npub1edge/0", "quiet_ms": 30_000},),
    treasury={"owed_msat": 5_000, "funds_msat": 5_000, "alert": None, "holdings": [PLACE]},
    free_bytes=2**40,
)


def treasury(alert, **changes):
    return replace(WELL, treasury={"alert": alert, "holdings": [PLACE, {**PLACE, **changes}]})


def filling(days):
    return Trend(bytes=21 * 10**9, ms=7 * DAY_MS, left_ms=round(days * DAY_MS))


def part(name, **changes):
    parts = WELL.health["parts"]
    return replace(WELL, health={"ok": False, "parts": {**parts, name: {**parts[name], **changes}}})


def test_a_pool_that_is_well():
    assert conditions(WELL, LIMITS) == []
    assert conditions(replace(WELL, unsigned=((NOW - 59 * MINUTE_MS, "p1"),)), LIMITS) == []


@pytest.mark.parametrize(
    ("facts", "key", "text"),
    [
        (part("zapper", blocked="the store is behind"), "payouts", "the store is behind"),
        (part("zapper", alerts=["p1", "p2"]), "unknown", "2 payouts .* p1, p2"),
        (treasury("the pool owes too much"), "treasury", "Treasury: the pool owes too much"),
        (treasury("not known", source="npub1far", silence="it is silent"), "funds lnd npub1far", "it is silent"),
        (treasury("not known", silence="it is silent"), "treasury", "Treasury: not known"),
        (treasury(None, source="npub1far", silence="it is silent"), "funds lnd npub1far", "not counted: it is silent"),
        (replace(WELL, oldest_payout_ms=NOW - 7 * HOUR_MS), "oldest", "7 hours"),
        (
            replace(WELL, sent_all_the_same=("ab" * 32,)),
            "sent " + "ab" * 32,
            "was cancelled, and sent all the same",
        ),
        (
            replace(WELL, unsigned=((NOW - 61 * MINUTE_MS, "p1"), (NOW, "p2"))),
            "unsigned",
            "2 payouts .* your signature",
        ),
        (replace(WELL, dead={"ab" * 32: "no address"}), "dead", "1 miner.*abab.*no address"),
        (part("accounting", ok=False, signing="our chain forks"), "accounting", "signing: our chain forks"),
        (part("relays", ok=False), "relays", "No relay"),
        (part("relays", dead=["wss://b"]), "relay wss://b", "wss://b has been away"),
        (part("relays", each=[{**RELAY, "backlog": 10_001}]), "backlog wss://a", "10,001 events"),
        (part("relays", alarms={"forks": 2, "gaps": 0}), "forks 2", "2 forks"),
        (part("edge", stalled=True), "edge", "store shares"),
        (replace(WELL, node_lost_ms=3 * MINUTE_MS), "node", "3 minutes"),
        (replace(WELL, lanes=({"lane": "x/0", "quiet_ms": 11 * MINUTE_MS},)), "lane x/0", "11 minutes"),
        (replace(WELL, free_bytes=2**20), "disk", "1 MiB"),
        (replace(WELL, disk=filling(13.9)), FILLING, "full in 13.9 days: 21.0 GB went in 7.0 days"),
        (replace(WELL, disk=filling(20.9), told=frozenset({FILLING})), FILLING, "full in 20.9 days"),
    ],
)
def test_each_trouble_has_a_key_and_says_what(facts, key, text):
    [alert] = conditions(facts, LIMITS)
    assert alert.key == key
    assert re.search(text, alert.text), alert.text


def test_nothing_is_made_of_what_nobody_knows():
    assert conditions(replace(WELL, treasury=None), LIMITS) == []
    assert conditions(treasury(None, silence="never told"), LIMITS) == [], "a wallet here, with nothing owed"
    assert conditions(replace(WELL, free_bytes=None), LIMITS) == []


def test_a_disk_that_fills_slowly_is_no_trouble_and_one_that_was_told_is_over_once_it_is_well_over():
    told = frozenset({FILLING})
    for facts in (
        replace(WELL, disk=filling(14)),
        replace(WELL, disk=filling(14), told=frozenset({"disk"})),
        replace(WELL, disk=filling(21), told=told),
        replace(WELL, disk=None, told=told),
    ):
        assert conditions(facts, LIMITS) == []
    assert conditions(replace(WELL, disk=filling(0)), replace(LIMITS, disk_ms=0)) == []


def told(alerts, memory, at_ms):
    return news(alerts, memory, now_ms=NOW + at_ms, repeat_ms=HOUR_MS)


def test_said_once_again_and_over():
    trouble = Alert("disk", "full")
    first = told([trouble], {}, 0)
    assert first.lines == ("full",)
    assert told([trouble], first.memory, MINUTE_MS).lines == ()
    again = told([trouble], first.memory, HOUR_MS)
    assert again.lines == ("Still, for 60 min: full",)
    over = told([], again.memory, 3 * HOUR_MS)
    assert (over.lines, dict(over.memory)) == (("Over after 3 h: full",), {})


def test_what_settles_by_itself_is_not_said():
    restart = Alert("relays", "away", settles=True)
    first = told([restart], {}, 0)
    assert first.lines == ()
    assert told([], first.memory, MINUTE_MS).lines == ()
    assert told([restart], first.memory, SETTLE_MS).lines == ("away",)


def test_what_happened_is_said_once_and_is_never_over():
    one, two = (Alert(f"gaps {count}", f"{count} gaps", happened=True) for count in (1, 2))
    first = told([one], {}, 0)
    assert first.lines == ("1 gaps",)
    assert told([one], first.memory, 9 * HOUR_MS).lines == ()
    second = told([two], first.memory, MINUTE_MS)
    assert second.lines == ("2 gaps",)
    # After a restart nothing is counted yet.
    assert told([], second.memory, HOUR_MS).lines == ()


@given(st.lists(st.sets(st.sampled_from("abc")), max_size=30))
def test_every_word_has_an_end(steps):
    """Whatever comes and goes: what was said is said to be over once it is, and nothing else is."""
    memory, open_ = {}, set()
    for number, keys in enumerate([*steps, set()]):
        said = told([Alert(key, key) for key in sorted(keys)], memory, number)
        begun = {line for line in said.lines if len(line) == 1}
        ended = {line[-1] for line in said.lines if line.startswith("Over")}
        assert begun == keys - open_
        assert ended == open_ - keys
        memory, open_ = said.memory, set(keys)
    assert memory == {}


def test_the_report_tells_how_things_are():
    pool = {"hashrate_hs": {"1h": "1230000000000"}, "miners": 1, "workers": 2, "blocks_found": 3, "height": 900}
    text = report(WELL, pool, [])
    assert "1.23 TH/s" in text
    assert "1 miner, 2 workers" in text
    assert "3 blocks so far" in text
    assert "owed 5 sat, the treasury holds 5 sat" in text
    assert text.endswith("No trouble is known.")
    assert report(WELL, pool, ["full"]).endswith("Trouble: full")
