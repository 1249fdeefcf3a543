"""Journal records, folded to what a restart needs; format 1 as the first edges wrote it."""

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum_edge.errors import JournalDamaged
from stratum_edge.journal import Checkpoint, Kind, encode_json, encode_record, encode_share, read_records, recover
from stratum_edge.journal_v1 import read_records_v1


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


def test_a_cut_record_ends_the_reading():
    whole = checkpoint() + SHARE
    for cut in range(len(whole), len(whole) + len(SHARE)):
        records = list(read_records((whole + SHARE)[:cut]))
        assert len(records) == 2
        assert records[-1].end == len(whole)
    with pytest.raises(JournalDamaged):
        list(read_records(whole + bytes(500)))


def test_the_share_path_writes_the_same_record():
    assert encode_share(bytes(range(28))) == SHARE


def record_v1(kind, payload):
    return struct.pack("<IIB", len(payload), zlib.crc32(payload, kind), kind) + payload


def test_format_1_is_read_with_its_torn_end():
    rows = [(Kind.CHECKPOINT, checkpoint()[5:]), (Kind.SHARE, bytes(range(28)))]
    whole = b"".join(record_v1(*row) for row in rows)
    share = record_v1(Kind.SHARE, bytes(28))
    for cut in range(len(share)):
        records = list(read_records_v1(whole + share[:cut]))
        assert [(record.kind, record.payload) for record in records] == rows
        assert records[-1].end == len(whole)
    assert len(list(read_records_v1(whole + bytes(500)))) == 2


def test_format_1_with_a_broken_record_in_the_middle_is_damaged():
    data = bytearray(record_v1(Kind.CHECKPOINT, checkpoint()[5:]) + 2 * record_v1(Kind.SHARE, bytes(28)))
    start = len(data) - 2 * 37
    for bit in range(8 * 4, 8 * 37):
        flipped = bytearray(data)
        flipped[start + bit // 8] ^= 1 << bit % 8
        with pytest.raises(JournalDamaged):
            list(read_records_v1(bytes(flipped)))


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
