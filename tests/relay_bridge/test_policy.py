"""The pool's policy: its own keys, miners' own kinds, what names a miner, and nothing else."""

import pytest

from nips.pool import kinds
from relay_bridge.policy import MAX_AHEAD_S, OpenPolicy, PolicyLimits, PoolPolicy

NOW = 1_700_000_000_000
POOL, EDGE, MINER, STRANGER = 1, 2, 3, 4


@pytest.fixture
def policy(sign) -> PoolPolicy:
    edge, miner = sign(who=EDGE).pubkey, sign(who=MINER).pubkey
    return PoolPolicy(sign(who=POOL).pubkey, "regtest", lambda: frozenset({edge}), lambda key: key == miner)


def screen(policy, event, size: int = 1_000):
    refusal = policy.screen(event, size=size, now_ms=NOW)
    return "" if refusal is None else str(refusal)


@pytest.mark.parametrize("kind", sorted(kinds.LEDGER_KINDS | {kinds.BALANCE, kinds.STATISTICS}))
def test_ledger_kinds_come_from_the_pools_keys_on_its_network(policy, sign, kind: int) -> None:
    a = ("a", f"34210:{sign(who=POOL).pubkey}:regtest")
    for ours in (POOL, EDGE):
        assert screen(policy, sign(kind, tags=(a,), who=ours)) == ""
        assert screen(policy, sign(kind, tags=((a[0], a[1].replace("regtest", "main")),), who=ours)).startswith(
            "blocked"
        )
        assert screen(policy, sign(kind, who=ours)).startswith("blocked")
    assert screen(policy, sign(kind, tags=(a,), who=MINER)) == "blocked: this relay keeps the events of one mining pool"


@pytest.mark.parametrize("kind", [0, 3, 10002, 10019, 10050, 4217, 4219, 4222])
def test_anybody_may_leave_these(policy, sign, kind: int) -> None:
    assert screen(policy, sign(kind, who=STRANGER)) == ""


@pytest.mark.parametrize("kind", [1, 5, 4, 7, 62, 9734, 22242, 30023, 4223, 34217, 20000])
def test_strangers_may_not_leave_these(policy, sign, kind: int) -> None:
    assert screen(policy, sign(kind, who=STRANGER)) == "blocked: this relay keeps the events of one mining pool"


def test_settings_are_for_this_pool(policy, sign) -> None:
    assert screen(policy, sign(34216, tags=(("d", sign(who=POOL).pubkey),), who=MINER)) == ""
    assert screen(policy, sign(34216, tags=(("d", "f" * 64),), who=MINER)).startswith("blocked: these settings")


def test_the_announcement_is_for_this_network(policy, sign) -> None:
    assert screen(policy, sign(34210, tags=(("d", "regtest"),), who=POOL)) == ""
    assert screen(policy, sign(34210, tags=(("d", "main"),), who=POOL)).startswith("blocked")


@pytest.mark.parametrize("kind", [9735, 9321, 1059])
def test_what_names_the_pool_or_a_miner_is_taken_from_anybody(policy, sign, kind: int) -> None:
    for named in (POOL, EDGE, MINER):
        assert screen(policy, sign(kind, tags=(("p", sign(who=named).pubkey),), who=STRANGER)) == ""
    for tags in ((), (("p", sign(who=STRANGER).pubkey),), (("p",),), (("p", "not hex"),)):
        assert screen(policy, sign(kind, tags=tags, who=STRANGER)).startswith("blocked: no p tag")


def test_notes_that_mention_the_pool_are_taken_when_it_listens(sign) -> None:
    pool = sign(who=POOL).pubkey
    to_pool = (("p", pool),)
    deaf = PoolPolicy(pool, "regtest", frozenset, lambda key: False)
    assert screen(deaf, sign(1, tags=to_pool, who=STRANGER)).startswith("blocked")
    policy = PoolPolicy(pool, "regtest", frozenset, lambda key: True, mentions=True)
    assert screen(policy, sign(1, tags=to_pool, who=STRANGER)) == ""
    assert screen(policy, sign(1, tags=to_pool, who=STRANGER), size=8_193).startswith("invalid: a note")
    for tags in ((), (("p", "f" * 64),), (("e", pool),), (*((("p", "f" * 64),) * 8), ("p", pool))):
        assert screen(policy, sign(1, tags=tags, who=STRANGER)).startswith("blocked")
    assert screen(policy, sign(6, tags=to_pool, who=STRANGER)).startswith("blocked")


def test_notes_have_a_rate_by_author_and_one_for_all(sign) -> None:
    limits = PolicyLimits(note_author_rate=(2, 1_000), note_rate=(5, 1_000))
    policy = PoolPolicy(sign(who=POOL).pubkey, "regtest", frozenset, lambda key: False, limits, mentions=True)

    def charge(who: int, kind: int = 1) -> str:
        refusal = policy.charge(sign(kind, who=who), source=f"1.2.3.{who}", now_ms=NOW)
        return "" if refusal is None else refusal.prefix

    assert [charge(4) for _ in range(3)] == ["", "", "rate-limited"]
    assert [charge(who) for who in (5, 6, 7, 8)] == ["", "", "", "rate-limited"]
    # Nothing else is held up by it.
    assert charge(4, kind=0) == ""
    assert [charge(POOL) for _ in range(9)] == [""] * 9


def test_limits_of_form_hold_for_the_pool_too(policy, sign) -> None:
    for judge in (policy, OpenPolicy()):
        assert screen(judge, sign(0, who=POOL), size=65_536) == ""
        assert screen(judge, sign(0, who=POOL), size=65_537).startswith("invalid: the event has 65537 bytes")
        assert screen(judge, sign(0, at=MAX_AHEAD_S, who=POOL)) == ""
        assert screen(judge, sign(0, at=MAX_AHEAD_S + 1, who=POOL)).startswith("invalid: created_at")
        assert screen(judge, sign(0, tags=(("t", "x"),) * 2001)).startswith("invalid: the event has 2001 tags")
        assert screen(judge, sign(0, tags=(("t", "x" * 256),))).startswith("invalid: the value of a t tag")
        assert screen(judge, sign(0, tags=(("shares", "x" * 5000),))) == ""


def test_strangers_have_a_rate_and_the_pool_none(sign) -> None:
    limits = PolicyLimits(author_rate=(3, 1_000), source_rate=(5, 1_000))
    pool = sign(who=POOL).pubkey
    policy = PoolPolicy(pool, "regtest", frozenset, lambda key: False, limits)

    def charge(who: int, now_ms: int, source: str = "1.2.3.4") -> str:
        refusal = policy.charge(sign(who=who), source=source, now_ms=now_ms)
        return "" if refusal is None else refusal.prefix

    assert [charge(MINER, NOW) for _ in range(4)] == ["", "", "", "rate-limited"]
    assert charge(MINER, NOW + 999) == "rate-limited"
    # The refused tries took from the address's bucket, not from the author's.
    assert charge(STRANGER, NOW + 1_000) == ""
    assert charge(STRANGER, NOW + 1_000) == "rate-limited"
    assert charge(MINER, NOW + 1_000, source="5.6.7.8") == ""
    assert [charge(POOL, NOW) for _ in range(50)] == [""] * 50


def test_a_wallet_provider_signs_as_many_receipts_as_there_are_payouts(sign) -> None:
    limits = PolicyLimits(author_rate=(3, 1_000), source_rate=(20, 1_000))
    policy = PoolPolicy(sign(who=POOL).pubkey, "regtest", frozenset, lambda key: True, limits)
    answers = [policy.charge(sign(9735, who=STRANGER), source="1.2.3.4", now_ms=NOW) for _ in range(21)]
    assert answers[:20] == [None] * 20
    assert answers[20] is not None


def test_the_log_may_be_ahead_of_a_clock_that_was_set_back(policy, sign) -> None:
    a = ("a", f"34210:{sign(who=POOL).pubkey}:regtest")
    assert screen(policy, sign(kinds.RECEIPT, at=7200, tags=(a,), who=EDGE)) == ""
    assert "ahead" in screen(policy, sign(0, at=7200, who=EDGE))
    assert "ahead" in screen(policy, sign(kinds.RECEIPT, at=7200, tags=(a,), who=MINER))
