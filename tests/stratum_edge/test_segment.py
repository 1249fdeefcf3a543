"""Segments: cut at every byte, flipped at every bit, with holes as a lost power leaves them: whole, torn or damaged."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum_edge.segment import (
    FRAME_HEAD_SIZE,
    HEADER_SIZE,
    MAGIC,
    SegmentHeader,
    decode_header,
    encode_frame_head,
    encode_header,
    frame_at,
    scan,
)

HEADER = SegmentHeader(b"\x11\x22\x33\x44\x55\x66\x77\x88", 6)
BODIES = [b"checkpoint" * 9, b"s" * 33, b"x" * 66, b"", b"sealed" * 100, b"t" * 33]


def build(bodies=BODIES, synced_after=0, header=HEADER):
    """A segment whose frames say that what stood before the last sync was durable; the offsets of its frames.

    `synced_after`: how many frames back a sync had come, None for never.
    """
    data, places = encode_header(header), []
    for count, body in enumerate(bodies):
        durable = HEADER_SIZE
        if synced_after is not None and count > synced_after:
            durable = places[count - synced_after] if synced_after else len(data)
        places.append(len(data))
        data += encode_frame_head(header.salt, len(data), body, durable, count, 0) + body
    return data, [*places, len(data)]


def bodies_of(frames):
    return [frame.body for frame in frames]


def test_a_header_is_read_again_and_no_flipped_bit_passes():
    data = encode_header(HEADER)
    assert len(data) == HEADER_SIZE
    assert decode_header(data + b"more") == HEADER
    assert decode_header(data[:-1]) is None
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        assert decode_header(bytes(flipped)) is None


def test_the_magic_can_not_be_a_length_of_format_1():
    for bit in range(8):
        assert MAGIC[3] ^ 1 << bit >= 0x10


@given(st.lists(st.binary(max_size=80), max_size=8))
def test_what_was_written_is_read(bodies):
    data, places = build(bodies)
    found = scan(data, HEADER)
    assert bodies_of(found.whole) == bodies
    assert [frame.records for frame in found.whole] == list(range(len(bodies)))
    assert (found.end, found.behind, found.damaged) == (places[-1], (), False)


@pytest.mark.parametrize("synced_after", [0, 2, None])
def test_every_cut_is_a_torn_end(synced_after):
    data, places = build(synced_after=synced_after)
    for cut in range(HEADER_SIZE, len(data)):
        found = scan(data[:cut], HEADER)
        whole = sum(end <= cut for end in places[1:])
        assert bodies_of(found.whole) == BODIES[:whole]
        assert found.end == places[whole]
        assert not found.damaged


@pytest.mark.parametrize("synced_after", [0, 2, None])
def test_every_flipped_bit_before_the_last_frame_is_damage_and_in_it_a_torn_end(synced_after):
    data, places = build(synced_after=synced_after)
    last = places[-2]
    counts = {"damaged": 0, "torn": 0}
    for bit in range(8 * HEADER_SIZE, 8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        found = scan(bytes(flipped), HEADER)
        hit = sum(bit // 8 >= end for end in places[1:])
        assert found.end == places[hit], "all before the break is whole"
        assert found.damaged == (bit // 8 < last)
        counts["damaged" if found.damaged else "torn"] += 1
    assert counts == {"damaged": 8 * (last - HEADER_SIZE), "torn": 8 * (len(data) - last)}


def test_every_damaged_byte_of_what_was_synced_is_damage():
    data, places = build()
    chance = random.Random(4)
    count = 0
    for at in range(HEADER_SIZE, places[-2]):
        for value in {0, 0xFF, chance.getrandbits(8)} - {data[at]}:
            found = scan(data[:at] + bytes([value]) + data[at + 1 :], HEADER)
            assert found.damaged
            count += 1
    assert count > 2 * (places[-2] - HEADER_SIZE)


def test_zeros_behind_the_end_are_a_torn_end():
    data, places = build()
    for cut in (places[-1], places[-2] + 5, places[-2] + FRAME_HEAD_SIZE + 3):
        found = scan(data[:cut] + bytes(5000), HEADER)
        assert not found.damaged
        assert found.end == max(place for place in places if place <= cut)


def blocks_lost(data, lost, block=512):
    """The segment with some disk blocks never written."""
    out = bytearray(data)
    for number in lost:
        piece = slice(number * block, min((number + 1) * block, len(data)))
        out[piece] = bytes(piece.stop - piece.start)
    return bytes(out)


def test_disk_blocks_lost_with_the_power_are_cut_off_if_unsynced_and_damage_if_synced():
    bodies = [bytes([n + 1]) * (37 * n % 400) for n in range(60)]
    for synced in (0, 20, 40):
        data, places = encode_header(HEADER), []
        for count, body in enumerate(bodies):
            durable = HEADER_SIZE if count < synced or not synced else places[synced - 1]
            places.append(len(data))
            data += encode_frame_head(HEADER.salt, len(data), body, durable, count, 0) + body
        durable_to = places[synced - 1] if synced else HEADER_SIZE
        for number in range(1, len(data) // 512):
            lost = blocks_lost(data, [number])
            if number * 512 < durable_to:
                # The page that was synced in part is written again whole: only what came after can be lost of it.
                assert scan(lost, HEADER).damaged
            else:
                found = scan(lost, HEADER)
                assert not found.damaged
                assert found.end == max(place for place in places if place <= number * 512)


@given(st.data())
def test_any_unsynced_blocks_may_be_lost(data):
    bodies = data.draw(st.lists(st.binary(min_size=1, max_size=900).filter(any), min_size=2, max_size=12))
    segment, places = build(bodies, synced_after=None)
    lost = data.draw(
        st.sets(st.integers(1, 1 + len(segment) // 512)).map(
            lambda numbers: {n for n in numbers if n * 512 < len(segment)}
        )
    )
    found = scan(blocks_lost(segment, lost), HEADER)
    whole = bodies_of(found.whole)
    assert not found.damaged
    assert whole == bodies[: len(whole)]
    assert found.end == places[len(whole)]


def test_a_frame_inside_of_a_body_or_of_another_segment_is_none():
    inner, _ = build([b"inner"] * 3)
    other, _ = build([b"other"] * 3, header=SegmentHeader(b"\x99" * 8, 1))
    data, places = build([inner, other, b"last"])
    found = scan(data, HEADER)
    assert len(found.whole) == 3
    torn = scan(data[: places[2] - 1], HEADER)
    assert (len(torn.whole), torn.behind, torn.damaged) == (1, (), False)
    assert frame_at(other, HEADER.salt, HEADER_SIZE) is None
