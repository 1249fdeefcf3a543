"""Workers and hashrates over time: told once, not for what the pool itself did not see."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noncestr.notices.watch import (
    BACK_MS,
    BUCKET_MS,
    DAY_MS,
    FORGET_MS,
    HOUR_MS,
    MINUTE_MS,
    OFFLINE_MS,
    QUIET_MS,
    MinerWatch,
    RateSeries,
    WorkerState,
    is_forgotten,
    judge_worker,
)

START = 20_000 * DAY_MS


def walk(shares, *, minutes, steady_ms=START, state=None):
    """What is said, minute by minute; `shares`: minutes in which one comes."""
    state, said = state or WorkerState(START), []
    last = START
    for minute in range(minutes):
        now = START + minute * MINUTE_MS
        if minute in shares:
            last = now
        state, word = judge_worker(state, last_ms=last, now_ms=now, steady_ms=steady_ms)
        if word:
            said.append((minute, word))
    return said, state


def test_offline_and_back():
    said, _ = walk({*range(30), *range(60, 90)}, minutes=90)
    assert said == [(29 + OFFLINE_MS // MINUTE_MS, "offline"), (60 + BACK_MS // MINUTE_MS, "back")]


def test_one_share_is_not_back():
    said, state = walk({*range(30), 60}, minutes=120)
    assert [word for _, word in said] == ["offline"]
    assert state.offline


def test_a_restart_is_nothing():
    assert walk({*range(30), *range(40, 60)}, minutes=60)[0] == []


def test_what_comes_and_goes_is_told_once_in_a_while():
    shares = {minute for minute in range(600) if minute % 40 < 20}
    said, _ = walk(shares, minutes=600)
    offline = [minute for minute, word in said if word == "offline"]
    assert len(offline) >= 2
    assert all(b - a >= QUIET_MS // MINUTE_MS for a, b in pairwise(offline))


def test_the_pools_own_silence_is_not_the_workers():
    now = START + HOUR_MS
    assert judge_worker(WorkerState(START), last_ms=START, now_ms=now, steady_ms=now - MINUTE_MS)[1] == ""
    assert judge_worker(WorkerState(START), last_ms=START, now_ms=now, steady_ms=now - OFFLINE_MS)[1] == "offline"


def test_who_is_gone_for_good_is_forgotten():
    gone = WorkerState(START, offline=True)
    assert not is_forgotten(gone, START + FORGET_MS - 1)
    assert is_forgotten(gone, START + FORGET_MS)
    assert not is_forgotten(replace(gone, offline=False), START + FORGET_MS)


@given(st.lists(st.booleans(), max_size=400))
def test_offline_and_back_take_turns(minutes):
    said, state = walk({minute for minute, sends in enumerate(minutes) if sends}, minutes=len(minutes))
    words = [word for _, word in said]
    assert words[::2] == ["offline"] * len(words[::2])
    assert words[1::2] == ["back"] * len(words[1::2])
    assert state.offline == (len(words) % 2 == 1)


def feed(series, rates):
    """A sample a minute; what is told, with its minute."""
    told = []
    for minute, rate in enumerate(rates):
        now = START + minute * MINUTE_MS
        series.add(now, rate)
        drop = series.judge(now)
        if drop is not None:
            told.append((minute, drop))
    return told


def test_a_drop_and_its_end():
    series = RateSeries()
    told = feed(series, [100] * 720 + [30] * 240 + [90] * 240)
    (at, drop), (again, back) = told
    assert 720 < at <= 720 + 90
    assert not drop.recovered
    assert drop.usual_hs == 100
    assert drop.now_hs < 50
    assert back.recovered
    assert 960 < again <= 960 + 90
    assert back.now_hs >= 75


def test_no_past_no_word():
    assert feed(RateSeries(), [100] * 300 + [10] * 60) == []


def test_small_swings_are_nothing():
    assert feed(RateSeries(), [100, 60, 140, 100] * 400) == []


def test_after_a_day_it_is_what_is_usual():
    series = RateSeries()
    told = feed(series, [100] * 720 + [30] * (1440 * 3))
    assert len(told) == 1
    assert series.usual == 0


def test_a_gap_of_the_pools_is_no_drop():
    series = RateSeries()
    feed(series, [100] * 720)
    for minute in range(5):
        now = START + (720 + 600 + minute) * MINUTE_MS
        series.add(now, 0)
        assert series.judge(now) is None


def test_a_day_is_kept_and_no_more():
    series = RateSeries()
    feed(series, [5] * 5000)
    assert len(series.buckets) <= DAY_MS // BUCKET_MS + 2


def test_through_json():
    series = RateSeries()
    feed(series, [100] * 800)
    watch = MinerWatch({"rig": WorkerState(1, offline=True, back_ms=2, told_ms=3)}, {"": series})
    assert MinerWatch.from_plain(json.loads(json.dumps(watch.to_plain()))) == watch
    for broken in ({}, {"workers": {"a": [1]}, "rates": {}}, {"workers": {}, "rates": {"": ["x", 0, []]}}):
        with pytest.raises((ValueError, TypeError, KeyError)):
            MinerWatch.from_plain(broken)
