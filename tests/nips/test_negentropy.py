"""Negentropy against recordings of its reference implementation, against itself, and against liars."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips import negentropy
from nips.negentropy import FRAME_LIMIT, Initiator, InvalidNegentropy, RecordSet, Responder, UnsupportedVersion

Record = tuple[int, str]
# The recordings without a limit fit frames of any size.
UNLIMITED = 10**9
INFINITE = b"\0\0"


def wide(number: int) -> Record:
    return 1_700_000_000 + 7 * number, hashlib.sha256(f"record {number}".encode()).hexdigest()


def dense(number: int) -> Record:
    return 1_700_000_000 + number // 40, "ab" * 20 + wide(number)[1][:24]


RULES = {"wide": wide, "dense": dense}


def recorded(case: dict[str, Any], side: str) -> list[Record]:
    return [RULES[case["rule"]](number) for start, end in case[side] for number in range(start, end)]


def reconcile(ours: list[Record], theirs: list[Record], limit: int) -> tuple[list[str], list[str], int]:
    """Both sides ours: what the initiator learnt, and how many turns it took."""
    initiator, responder = (
        Initiator(RecordSet(ours), frame_limit=limit),
        Responder(RecordSet(theirs), frame_limit=limit),
    )
    have: list[str] = []
    need: list[str] = []
    turns = 0
    message: bytes | None = initiator.open()
    while message is not None:
        assert len(message) <= limit
        answer = responder.answer(message)
        assert len(answer) <= limit
        turn = initiator.receive(answer)
        have += turn.have
        need += turn.need
        message = turn.reply
        turns += 1
    return have, need, turns


def comparable(message: str, limit: int) -> str:
    """A message without the fingerprint that ends a full frame: the reference leaves out of it the range that did not
    fit, so that it can agree with a peer that lacks just those records; ours has all that the range covers.
    """
    return message[:-32] if limit and len(message) > limit else message


def test_the_reference_says_the_same_to_the_byte(vectors: Callable[[str], Any]) -> None:
    cases = vectors("negentropy")["cases"]
    assert len(cases) == 13
    assert sum(len(case["messages"]) for case in cases) == 26
    for case in cases:
        limit = case["limit"] or UNLIMITED
        ours, theirs = recorded(case, "ours"), recorded(case, "theirs")
        initiator = Initiator(RecordSet(ours), frame_limit=limit)
        responder = Responder(RecordSet(reversed(theirs)), frame_limit=limit)
        said: bytes | None = initiator.open()
        have: list[str] = []
        need: list[str] = []
        for asked, answered in case["messages"]:
            assert said is not None
            answer = responder.answer(bytes.fromhex(asked))
            assert comparable(said.hex(), case["limit"]) == comparable(asked, case["limit"]), case["name"]
            assert comparable(answer.hex(), case["limit"]) == comparable(answered, case["limit"]), case["name"]
            turn = initiator.receive(bytes.fromhex(answered))
            have += turn.have
            need += turn.need
            said = turn.reply
        assert said is None
        assert (len(have), len(need)) == (case["have"], case["need"])
        assert sorted(have) == sorted(id_ for _, id_ in set(ours) - set(theirs))
        assert sorted(need) == sorted(id_ for _, id_ in set(theirs) - set(ours))


numbers = st.integers(0, 300)


@given(
    st.sets(numbers),
    st.sets(numbers),
    st.booleans(),
    st.sampled_from([4096, 5000, FRAME_LIMIT]),
    st.sampled_from([1, 7]),
)
def test_both_sides_end_with_the_whole_difference(
    ours: set[int], theirs: set[int], close: bool, limit: int, every: int
) -> None:
    rule = dense if close else wide
    left = [rule(number * every) for number in ours]
    right = [rule(number * every) for number in theirs]
    have, need, _ = reconcile(left, right, limit)
    assert sorted(have) == sorted(rule(number * every)[1] for number in ours - theirs)
    assert sorted(need) == sorted(rule(number * every)[1] for number in theirs - ours)


def test_ten_thousand_records_with_five_differences_take_few_bytes() -> None:
    ours = [wide(number) for number in range(10_000) if number not in (17, 9_000)]
    theirs = [wide(number) for number in range(10_000) if number not in (5_000, 5_001, 7_777)]
    have, need, turns = reconcile(ours, theirs, FRAME_LIMIT)
    assert set(have) == {wide(number)[1] for number in (5_000, 5_001, 7_777)}
    assert set(need) == {wide(number)[1] for number in (17, 9_000)}
    assert turns == 2


def test_full_frames_leave_nothing_out() -> None:
    have, need, turns = reconcile([wide(n) for n in range(0, 6000, 2)], [wide(n) for n in range(0, 6000, 3)], 4096)
    assert (len(have), len(need)) == (2000, 1000)
    assert len(set(have)) == 2000
    assert len(set(need)) == 1000
    assert turns > 10


def test_a_fingerprint_is_the_same_however_it_is_added_up() -> None:
    records = sorted(wide(number) for number in range(1000))
    whole = RecordSet(records)
    assert len(whole) == 1000
    for lower, upper in [(0, 0), (0, 1), (0, 1000), (127, 384), (128, 640), (1, 999), (300, 300), (5, 700)]:
        total = sum(int.from_bytes(bytes.fromhex(id_), "little") for _, id_ in records[lower:upper]) % 2**256
        count = upper - lower
        varint = bytes([count]) if count < 128 else bytes([count >> 7 | 128, count & 127])
        expected = hashlib.sha256(total.to_bytes(32, "little") + varint).digest()[:16]
        assert whole.fingerprint(lower, upper) == expected


def test_a_record_counts_once() -> None:
    assert len(RecordSet([wide(1), wide(1), wide(2)])) == 2


@pytest.mark.parametrize("record", [(2**64 - 1, "ab" * 32), (1, "ab" * 31), (1, "ab" * 33)])
def test_what_is_no_record(record: Record) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        RecordSet([record])


def test_another_version_is_answered_with_ours() -> None:
    responder = Responder(RecordSet([wide(1)]))
    assert responder.answer(b"\x62whatever follows") == b"\x61"
    with pytest.raises(UnsupportedVersion, match="version 2"):
        Initiator(RecordSet([wide(1)])).receive(b"\x62")


def test_a_frame_has_some_room() -> None:
    for side in (Initiator, Responder):
        with pytest.raises(ValueError, match="4096"):
            side(RecordSet([]), frame_limit=4095)


ID = bytes(32)
LIES = {
    "empty": b"",
    "no negentropy": b"\x00",
    "no negentropy either": b"\x70",
    "a bound cut short": b"\x61\x02",
    "a bound without a mode": b"\x61\x00\x00",
    "an id prefix cut short": b"\x61\x02\x05\xab",
    "an id prefix of 33 bytes": b"\x61\x02\x21" + bytes(33) + b"\x00",
    "infinity with an id": b"\x61\x00\x01\xab\x00",
    "an unknown mode": b"\x61" + INFINITE + b"\x03",
    "a fingerprint cut short": b"\x61" + INFINITE + b"\x01" + bytes(15),
    "ids cut short": b"\x61" + INFINITE + b"\x02\x02" + ID,
    "more ids than fit": b"\x61" + INFINITE + b"\x02\xff\xff\xff\x7f" + ID,
    "an absurd number of ids": b"\x61" + INFINITE + b"\x02" + b"\xff" * 9 + b"\x7f" + ID,
    "a number without end": b"\x61" + b"\xff" * 11,
    "a number with a zero before it": b"\x61\x80\x02\x00\x00",
    "a time beyond infinity": b"\x61\x82" + b"\x80" * 8 + b"\x02\x00\x00",
    "ranges out of order": b"\x61\x02\x01\xab\x00\x01\x01\xaa\x00",
    "a range after infinity": b"\x61" + INFINITE + b"\x00" + b"\x05\x00\x00",
    "trailing garbage": b"\x61" + INFINITE + b"\x00" + b"\x07",
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_what_breaks_the_protocol_is_refused(lie: bytes) -> None:
    records = RecordSet(wide(number) for number in range(100))
    with pytest.raises(InvalidNegentropy):
        Responder(records).answer(lie)
    with pytest.raises(InvalidNegentropy):
        Initiator(records).receive(lie)


def test_a_huge_message_is_not_read() -> None:
    with pytest.raises(InvalidNegentropy, match="500000"):
        Responder(RecordSet([])).answer(b"\x61" + b"\x01\x00\x00" * 200_000)


def test_who_never_ends_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(negentropy, "MAX_TURNS", 20)
    initiator = Initiator(RecordSet(wide(number) for number in range(100)))
    differs = b"\x61" + INFINITE + b"\x01" + bytes(16)
    for _ in range(20):
        assert initiator.receive(differs).reply
    with pytest.raises(InvalidNegentropy, match="no end"):
        initiator.receive(differs)


def test_who_invents_ids_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(negentropy, "MAX_NEED", 100)
    initiator = Initiator(RecordSet([]))
    for turn in range(2):
        ids = b"".join(hashlib.sha256(bytes([turn, n])).digest() for n in range(50))
        assert len(initiator.receive(b"\x61" + INFINITE + b"\x02\x32" + ids).need) == 50
    with pytest.raises(InvalidNegentropy, match="more than 100 ids"):
        initiator.receive(b"\x61" + INFINITE + b"\x02\x01" + ID)


def test_an_id_said_twice_is_needed_once() -> None:
    turn = Initiator(RecordSet([])).receive(b"\x61" + INFINITE + b"\x02\x02" + ID + ID)
    assert turn.need == (ID.hex(),)


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda data: b"\x61" + data))
def test_no_bytes_upset_either_side(data: bytes) -> None:
    records = RecordSet(wide(number) for number in range(50))
    for read in (Responder(records).answer, Initiator(records).receive):
        try:
            read(data)
        except InvalidNegentropy:
            continue


@given(st.data())
def test_a_flipped_bit_upsets_neither_side(data: st.DataObject) -> None:
    records = RecordSet(wide(number) for number in range(100))
    message = bytearray(Initiator(RecordSet(wide(number) for number in range(20, 120))).open())
    place = data.draw(st.integers(0, 8 * len(message) - 1))
    message[place // 8] ^= 1 << place % 8
    try:
        answer = Responder(records, frame_limit=4096).answer(bytes(message))
    except InvalidNegentropy:
        return
    assert len(answer) <= 4096
