"""extranonce1: unique among live and resumable connections, resumed for ten minutes."""

import pytest

from stratum_edge.extranonce import MAX_PROCESSES, RESUME_MS, Seats


def test_seats_are_unique_and_resumed_by_id_only_after_they_were_left():
    seats = Seats(b"\x01" * 32)
    taken = [seats.take(0) for _ in range(100)]
    assert len({seat.extranonce1 for seat in taken}) == len({seat.session_id for seat in taken}) == 100
    first = taken[0]
    assert seats.take(0, first.session_id).extranonce1 != first.extranonce1
    seats.leave(first, 1000)
    assert seats.take(2000, first.session_id) == first
    assert seats.take(2000, first.session_id) != first


def test_a_seat_is_forgotten_after_ten_minutes():
    seats = Seats(b"\x01" * 32)
    seat = seats.take(0)
    seats.leave(seat, 0)
    assert seats.take(RESUME_MS, seat.session_id) != seat


def test_the_counter_goes_round_past_the_taken():
    seats = Seats(b"\xff\xff\xff" + bytes(29))
    first = seats.take(0)
    assert first.extranonce1 == bytes(4)
    seats._count = 0xFFFFFF
    assert seats.take(0).extranonce1 == b"\x00\x00\x00\x01"


def test_two_processes_of_one_key_never_hand_out_the_same():
    seed = b"\xff\xff\xfe" + bytes(29)
    first, last = Seats(seed, 1), Seats(seed, MAX_PROCESSES - 1)
    assert {first.take(0).extranonce1[0] for _ in range(4)} == {1}
    assert {last.take(0).extranonce1[0] for _ in range(4)} == {MAX_PROCESSES - 1}
    for process in (-1, MAX_PROCESSES):
        with pytest.raises(ValueError, match="at most 256 processes"):
            Seats(seed, process)
