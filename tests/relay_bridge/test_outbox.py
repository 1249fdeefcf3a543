"""The outbox's core: order within chains, quorum, refusals, and nothing lost whatever relays do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.pool import kinds
from relay_bridge.outbox import (
    ANSWER_MS,
    DATE_PAUSE_MS,
    FIRST_PAUSE_MS,
    LONGEST_PAUSE_MS,
    WINDOW,
    Entry,
    Outbox,
    Verdict,
    judge,
)
from relay_bridge.roles import Routes

A, B = "ws://a", "ws://b"


def fill(outbox: Outbox, *entries: tuple[str, str]) -> None:
    for seq, (event_id, chain) in enumerate(entries, 1):
        outbox.add(Entry(seq, event_id, chain))


def sent(outbox: Outbox, relay: str, now_ms: int = 0) -> list[str]:
    return [entry.event_id for entry in outbox.take(relay, now_ms)]


@pytest.mark.parametrize(
    ("accepted", "message", "verdict"),
    [
        (True, "", Verdict.ACCEPTED),
        (True, "anything", Verdict.ACCEPTED),
        (False, "duplicate: have it", Verdict.ACCEPTED),
        (False, "replaced: have newer", Verdict.ACCEPTED),
        (False, "rate-limited: slow down", Verdict.LATER),
        (False, "error: disk", Verdict.LATER),
        (False, "blocked: no", Verdict.REFUSED),
        (False, "invalid: bad", Verdict.REFUSED),
        (False, "auth-required: who", Verdict.AUTH),
        (False, "invalid: event too large: 70000", Verdict.TOO_LARGE),
        (False, "invalid: the event has 70000 bytes, the limit is 65536", Verdict.TOO_LARGE),
        (False, "restricted: no", Verdict.REFUSED),
        (False, "pow: 20", Verdict.REFUSED),
        (False, "invalid: created_at too late", Verdict.NOT_YET),
        (False, "invalid: created_at too far in the future", Verdict.NOT_YET),
        (False, "event too much in the future", Verdict.NOT_YET),
        (False, "invalid: created_at is more than 900 seconds ahead", Verdict.NOT_YET),
        (
            False,
            "The event created_at field is out of the acceptable range (+1800sec) for this relay.",
            Verdict.NOT_YET,
        ),
        (False, "invalid: created_at too early", Verdict.REFUSED),
        (False, "invalid: the event created_at field is out of the acceptable range (-24h)", Verdict.REFUSED),
        (False, "error: created_at too late", Verdict.LATER),
        (False, "no prefix at all", Verdict.REFUSED),
        (False, "we are out: error: x", Verdict.REFUSED),
        (False, "", Verdict.REFUSED),
    ],
)
def test_what_an_ok_means(accepted: bool, message: str, verdict: Verdict) -> None:
    assert judge(accepted, message) is verdict


def test_chains_go_one_by_one_and_side_by_side() -> None:
    outbox = Outbox(Routes([A], quorum=1))
    fill(outbox, ("x0", "x"), ("x1", "x"), ("y0", "y"), ("n0", ""), ("n1", ""))
    assert sent(outbox, A) == ["x0", "y0", "n0", "n1"]
    assert sent(outbox, A) == []
    assert outbox.answered(A, "x0", True, "", 0) is Verdict.ACCEPTED
    assert sent(outbox, A) == ["x1"]
    assert outbox.answered(A, "x1", False, "duplicate: here", 0) is Verdict.ACCEPTED
    assert (outbox.unsettled, outbox.backlog(A)) == (3, 3)


def test_lies_about_what_is_not_in_flight_change_nothing() -> None:
    outbox = Outbox(Routes([A, B], quorum=1))
    fill(outbox, ("x0", "x"), ("x1", "x"))
    assert outbox.answered(A, "x0", True, "", 0) is None
    assert sent(outbox, A) == ["x0"]
    assert outbox.answered(A, "x1", True, "", 0) is None
    assert outbox.answered(B, "x0", True, "", 0) is None
    assert outbox.unsettled == 2


def test_settled_at_the_quorum_and_still_sent_to_the_rest() -> None:
    outbox = Outbox(Routes([A, B], quorum=1))
    fill(outbox, ("e", ""))
    assert sent(outbox, A) == sent(outbox, B) == ["e"]
    outbox.answered(A, "e", True, "", 0)
    assert outbox.unsettled == 0
    assert "e" in outbox
    outbox.answered(B, "e", False, "blocked: no", 0)
    assert "e" not in outbox
    two = Outbox(Routes([A, B], quorum=2))
    fill(two, ("e", ""))
    assert sent(two, A) == ["e"]
    two.answered(A, "e", True, "", 0)
    assert two.unsettled == 1


def test_a_refusal_holds_the_chain_back_until_the_quorum() -> None:
    outbox = Outbox(Routes([A, B], quorum=1))
    fill(outbox, ("x0", "x"), ("x1", "x"), ("n", ""))
    assert sent(outbox, A) == ["x0", "n"]
    assert outbox.answered(A, "x0", False, "invalid: no", 0) is Verdict.REFUSED
    assert outbox.answered(A, "n", False, "invalid: no", 0) is Verdict.REFUSED
    assert sent(outbox, A) == []
    assert sent(outbox, B) == ["x0", "n"]
    assert outbox.answered(B, "x0", True, "", 0) is Verdict.ACCEPTED
    assert sent(outbox, A) == ["x1"]


def test_pauses_double_and_end_with_an_acceptance() -> None:
    outbox = Outbox(Routes([A], quorum=1))
    fill(outbox, ("e", ""), ("f", ""))
    now, pause = 0, FIRST_PAUSE_MS
    for _ in range(9):
        assert sent(outbox, A, now) == ["e", "f"]
        # Two answers of one window are one reason to pause.
        outbox.answered(A, "e", False, "rate-limited: x", now)
        outbox.answered(A, "f", False, "error: x", now)
        assert outbox.wake_at(A) == now + pause
        assert sent(outbox, A, now + pause - 1) == []
        now, pause = now + pause, min(pause * 2, LONGEST_PAUSE_MS)
    assert sent(outbox, A, now) == ["e", "f"]
    outbox.answered(A, "e", True, "", now)
    outbox.answered(A, "f", False, "error: x", now)
    assert outbox.wake_at(A) == now + FIRST_PAUSE_MS


def test_what_is_dated_ahead_is_tried_again_and_holds_up_its_chain_alone() -> None:
    outbox = Outbox(Routes([A, B], quorum=1))
    fill(outbox, ("x0", "x"), ("x1", "x"), ("y0", "y"), ("y1", "y"))
    now = 7
    for _ in range(3):
        assert "x0" in sent(outbox, A, now)
        assert outbox.answered(A, "x0", False, "invalid: created_at too late", now) is Verdict.NOT_YET
        outbox.answered(A, "y0", True, "", now)
        assert "x0" not in sent(outbox, A, now + DATE_PAUSE_MS - 1)
        outbox.lost(A)
        assert outbox.wake_at(A) in (now + DATE_PAUSE_MS, 0)
        now += DATE_PAUSE_MS
    assert outbox.backlog(A) == 3, "y0 alone is there, y1 was sent and lost"
    assert sent(outbox, A, now) == ["x0", "y1"]
    assert outbox.answered(A, "x0", True, "", now) is Verdict.ACCEPTED
    assert sent(outbox, A, now) == ["x1"]
    assert outbox.unsettled == 2


def test_what_is_dated_ahead_and_was_dropped_is_not_sent() -> None:
    outbox = Outbox(Routes([A, B], quorum=1))
    fill(outbox, ("x0", "x"), ("x1", "x"))
    assert sent(outbox, A) == sent(outbox, B) == ["x0"]
    outbox.answered(A, "x0", False, "invalid: created_at too late", 0)
    outbox.answered(B, "x0", True, "", 0)
    outbox.forget("x0")
    assert sent(outbox, A, DATE_PAUSE_MS) == ["x1"]


def test_unanswered_and_lost_events_are_sent_again() -> None:
    outbox = Outbox(Routes([A], quorum=1))
    fill(outbox, ("x0", "x"), ("x1", "x"))
    assert sent(outbox, A, 5) == ["x0"]
    assert outbox.wake_at(A) == 5 + ANSWER_MS
    assert outbox.overdue(A, 4 + ANSWER_MS) == 0
    assert outbox.overdue(A, 5 + ANSWER_MS) == 1
    assert sent(outbox, A, 5 + ANSWER_MS) == []
    assert sent(outbox, A, 5 + ANSWER_MS + FIRST_PAUSE_MS) == ["x0"]
    outbox.lost(A)
    assert sent(outbox, A, 5 + ANSWER_MS + FIRST_PAUSE_MS) == ["x0"]


def test_a_window_bounds_what_is_in_flight() -> None:
    outbox = Outbox(Routes([A], quorum=1))
    fill(outbox, *((f"e{n}", "") for n in range(WINDOW + 10)))
    assert len(sent(outbox, A)) == WINDOW
    outbox.answered(A, "e3", True, "", 0)
    assert sent(outbox, A) == [f"e{WINDOW}"]


def test_taken_up_after_a_crash() -> None:
    """Accepted is accepted; what has no quorum is tried again, also where it was refused."""
    outbox = Outbox(Routes([A, B], quorum=2))
    outbox.add(Entry(1, "done", "x", accepted={A, B}))
    outbox.add(Entry(2, "half", "x", accepted={A}, refused={B}))
    outbox.add(Entry(3, "next", "x"))
    assert "done" not in outbox
    assert outbox.unsettled == 2
    assert sent(outbox, A) == ["next"]
    assert sent(outbox, B) == ["half"]


def test_forgetting_what_a_relay_never_took() -> None:
    outbox = Outbox(Routes([A, B], quorum=1))
    fill(outbox, ("x0", "x"), ("x1", "x"), ("x2", "x"), ("n", ""))
    for event_id in ("x0", "x1", "n"):
        assert event_id in sent(outbox, A) or event_id == "n"
        outbox.answered(A, event_id, True, "", 0)
    outbox.forget("x1")
    outbox.forget("x0")
    outbox.forget("n")
    assert sent(outbox, B) == ["x2"]
    assert outbox.backlog(B) == 1


@pytest.mark.parametrize("quorum", [0, 3])
def test_an_impossible_quorum(quorum: int) -> None:
    with pytest.raises(ValueError, match="quorum"):
        Outbox(Routes([A, B], quorum=quorum))


def test_social_relays_get_what_people_follow_and_no_more() -> None:
    outbox = Outbox(Routes([A], social=[B]))
    outbox.add(Entry(1, "receipt", "lane", kinds.RECEIPT))
    outbox.add(Entry(2, "job", "lane", kinds.JOB))
    outbox.add(Entry(3, "statement", "books", kinds.STATEMENT))
    outbox.add(Entry(4, "status", "books", kinds.STATUS))
    outbox.add(Entry(5, "next statement", "books", kinds.STATEMENT))
    assert sent(outbox, A) == ["receipt", "statement"]
    assert sent(outbox, B) == ["statement"]
    outbox.answered(B, "statement", True, "", 0)
    # The chain skips there what does not go there.
    assert sent(outbox, B) == ["next statement"]
    assert outbox.backlog(B) == 1


def test_a_social_relay_neither_holds_up_its_chain_nor_the_quorum_by_refusing() -> None:
    outbox = Outbox(Routes([A], social=[B]))
    for seq in (1, 2):
        outbox.add(Entry(seq, f"s{seq}", "books", kinds.STATEMENT))
    assert sent(outbox, B) == ["s1"]
    outbox.answered(B, "s1", False, "blocked: kind 4214 is not welcome", 0)
    assert sent(outbox, B) == ["s2"]
    assert sent(outbox, A) == ["s1"]
    outbox.answered(A, "s1", True, "", 0)
    assert outbox.take_whole() == [1]
    assert sent(outbox, A) == ["s2"]
    outbox.answered(A, "s2", True, "", 0)
    # Settled for who waits, but not whole: the social relay may still take it.
    assert outbox.unsettled == 0
    assert outbox.take_whole() == []
    outbox.answered(B, "s2", True, "", 0)
    assert outbox.take_whole() == [2]
    assert "s2" not in outbox


def test_what_is_too_large_for_a_relay_does_not_block_its_chain() -> None:
    outbox = Outbox(Routes([A, B], quorum=1))
    outbox.add(Entry(1, "big", "x", size=70_000))
    outbox.add(Entry(2, "small", "x", size=700))
    assert sent(outbox, A) == sent(outbox, B) == ["big"]
    outbox.too_large(A, "big")
    assert outbox.answered(B, "big", False, "invalid: event too large", 0) is Verdict.TOO_LARGE
    assert sent(outbox, A) == sent(outbox, B) == ["small"]
    # Nobody has the large one: it stays unsettled, and is tried again at the next start.
    outbox.answered(A, "small", True, "", 0)
    assert outbox.unsettled == 1
    outbox.too_large(A, "never taken")


def test_authentication_is_asked_for_once_a_connection() -> None:
    outbox = Outbox(Routes([A]))
    fill(outbox, ("e", ""), ("f", ""))
    assert sent(outbox, A) == ["e", "f"]
    for event_id in ("e", "f"):
        assert outbox.answered(A, event_id, False, "auth-required: who are you", 0) is Verdict.AUTH
    assert outbox.awaits_auth(A)
    assert sent(outbox, A) == []
    outbox.authenticated(A)
    assert sent(outbox, A) == ["e", "f"]
    assert outbox.answered(A, "e", True, "", 0) is Verdict.ACCEPTED
    assert outbox.answered(A, "f", False, "auth-required: not you", 0) is Verdict.REFUSED
    outbox.lost(A)
    outbox.add(Entry(9, "g", ""))
    assert sent(outbox, A) == ["g"]
    assert outbox.answered(A, "g", False, "auth-required: who are you", 0) is Verdict.AUTH


def test_refills_come_after_what_is_new_and_once() -> None:
    outbox = Outbox(Routes([A, B]))
    fill(outbox, ("new", ""))
    assert not outbox.refill(A, "new", 1), "it is on its way there"
    assert outbox.refill(A, "old1", 1)
    assert outbox.refill(A, "old2", 1)
    assert not outbox.refill(A, "old1", 1)
    outbox.add(Entry(9, "newer", ""))
    assert sent(outbox, A) == ["new", "newer", "old1", "old2"]
    assert sent(outbox, B) == ["new", "newer"]
    outbox.lost(A)
    assert sent(outbox, A) == ["new", "newer", "old1", "old2"]
    assert outbox.answered(A, "old1", False, "rate-limited: slow", 0) is Verdict.LATER
    assert sent(outbox, A) == []
    assert sent(outbox, A, FIRST_PAUSE_MS) == ["old1"]
    outbox.answered(A, "old1", True, "", 0)
    outbox.answered(A, "old2", False, "blocked: no", 0)
    assert (outbox.refilling(A), outbox.backlog(A)) == (0, 2)


def test_pauses_have_jitter() -> None:
    outbox = Outbox(Routes([A]), lambda: 0.5)
    fill(outbox, ("e", ""))
    assert sent(outbox, A) == ["e"]
    outbox.answered(A, "e", False, "rate-limited: x", 0)
    assert outbox.wake_at(A) == FIRST_PAUSE_MS + FIRST_PAUSE_MS // 8


@given(
    chains=st.lists(st.sampled_from(["", "x", "y"]), min_size=1, max_size=12),
    quorum=st.integers(1, 3),
    moves=st.lists(
        st.tuples(
            st.sampled_from(["ws://0", "ws://1", "ws://2"]),
            st.sampled_from(["take", "ok", "duplicate", "later", "ahead", "lost", "overdue", "lie"]),
            st.integers(0, 11),
        ),
        max_size=120,
    ),
)
def test_order_holds_and_all_is_settled_whatever_happens(
    chains: list[str], quorum: int, moves: list[tuple[str, str, int]]
) -> None:
    """No chain event goes to a relay before the one before it was accepted there; in the end all have all."""
    relays = ["ws://0", "ws://1", "ws://2"]
    outbox = Outbox(Routes(relays, quorum=quorum))
    fill(outbox, *((str(n), chain) for n, chain in enumerate(chains)))
    accepted: dict[str, list[int]] = {relay: [] for relay in relays}
    flying: dict[str, set[int]] = {relay: set() for relay in relays}
    now = 0

    def take(relay: str) -> None:
        for entry in outbox.take(relay, now):
            number = int(entry.event_id)
            before = [n for n in range(number) if chains[n] == chains[number]] if chains[number] else []
            assert set(before) <= set(accepted[relay])
            assert number not in flying[relay]
            assert number not in accepted[relay]
            flying[relay].add(number)

    def answer(relay: str, number: int, ok: bool, message: str) -> None:
        known = number in flying[relay]
        verdict = outbox.answered(relay, str(number), ok, message, now)
        assert (verdict is not None) == known
        if known:
            flying[relay].discard(number)
            if verdict is Verdict.ACCEPTED:
                accepted[relay].append(number)

    for relay, move, number in moves:
        now += 1_000
        if move == "take":
            take(relay)
        elif move == "lost":
            outbox.lost(relay)
            flying[relay].clear()
        elif move == "overdue":
            now += ANSWER_MS
            outbox.overdue(relay, now)
            flying[relay].clear()
        elif move == "lie":
            answer(relay, number + 100, True, "")
        else:
            said = {"duplicate": "duplicate: x", "later": "rate-limited: x", "ahead": "invalid: created_at too late"}
            answer(relay, number, move == "ok", said.get(move, ""))
    for _ in range(len(chains) + 1):
        now += LONGEST_PAUSE_MS
        for relay in relays:
            take(relay)
            for number in list(flying[relay]):
                answer(relay, number, True, "")
    assert outbox.unsettled == 0
    assert all(sorted(got) == list(range(len(chains))) for got in accepted.values())
    assert all(outbox.backlog(relay) == 0 for relay in relays)
    assert not any(str(number) in outbox for number in range(len(chains)))
