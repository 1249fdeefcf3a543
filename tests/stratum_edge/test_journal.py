"""Journal records: torn at every byte, flipped at every bit, folded to what a restart needs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum_edge.errors import JournalDamaged
from stratum_edge.journal import Checkpoint, Kind, encode_json, encode_record, read_records, recover


def checkpoint(**fields):
    values = {"pool": "p", "pubkey": "k", "lane": 0, "from_ms": 1, "newest_s": 0, "seq": None, "head": ""}
    return encode_json(Kind.CHECKPOINT, Checkpoint(**{**values, "pending": [], "blocks": [], **fields}))


SHARE = encode_record(Kind.SHARE, bytes(range(28)))


@given(st.lists(st.tuples(st.sampled_from(Kind), st.binary(max_size=40)), max_size=6))
def test_what_was_written_is_read(rows):
    data = b"".join(encode_record(kind, payload) for kind, payload in rows)
    records = list(read_records(data))
    assert [(record.kind, record.payload) for record in records] == rows
    assert not records or records[-1].end == len(data)


def test_a_torn_tail_ends_the_reading_at_every_cut():
    whole = checkpoint() + SHARE
    for cut in range(len(whole), len(whole) + len(SHARE)):
        records = list(read_records((whole + SHARE)[:cut]))
        assert len(records) == 2
        assert records[-1].end == len(whole)
    assert len(list(read_records(whole + bytes(500)))) == 2


def test_a_flipped_bit_before_the_end_is_damage_and_in_the_last_record_is_torn():
    data = bytearray(checkpoint() + SHARE + SHARE)
    start = len(data) - 2 * len(SHARE)
    for bit in range(8 * 4, 8 * len(SHARE)):
        flipped = bytearray(data)
        flipped[start + bit // 8] ^= 1 << bit % 8
        with pytest.raises(JournalDamaged):
            list(read_records(bytes(flipped)))
        last = bytearray(data)
        last[start + len(SHARE) + bit // 8] ^= 1 << bit % 8
        assert len(list(read_records(bytes(last)))) == 2


def test_a_segment_without_a_whole_checkpoint_is_none_and_one_of_nonsense_is_damaged():
    assert recover([]) is None
    assert recover(read_records(checkpoint()[:-1])) is None
    with pytest.raises(JournalDamaged):
        recover(read_records(SHARE))
    with pytest.raises(JournalDamaged):
        recover(read_records(checkpoint() + checkpoint()))
    with pytest.raises(JournalDamaged):
        recover(read_records(checkpoint() + encode_record(Kind.SHARE, b"short")))
    with pytest.raises(JournalDamaged):
        recover(read_records(checkpoint() + encode_record(Kind.SESSION, b"{")))
    with pytest.raises(JournalDamaged):
        recover(read_records(encode_record(Kind.CHECKPOINT, b"{}")))


def test_the_checkpoint_is_where_the_chain_stands():
    found = recover(read_records(checkpoint(seq=4, head="ab" * 32, from_ms=77, newest_s=9)))
    assert found is not None
    assert found.head is not None
    assert (found.head.seq, found.head.id, found.from_ms, found.newest_s) == (4, "ab" * 32, 77, 9)
