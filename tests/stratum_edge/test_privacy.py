"""Names that stay out of the log."""

import msgspec

from nips.pool.receipt import is_worker_name
from stratum_edge.privacy import Hidden, HiddenNames, from_plain, to_plain

ALICE, BOB = "aa" * 32, "bb" * 32
NOTHING = Hidden(everything=False, workers=frozenset())


def test_a_pseudonym_is_a_workers_own_and_the_edges_own():
    names, elsewhere = HiddenNames(bytes(32)), HiddenNames(bytes([1]) * 32)
    for each in (names, elsewhere):
        assert each.put(ALICE, Hidden(everything=True, workers=frozenset()))
    first = names.in_log(ALICE, "cellar")
    assert is_worker_name(first)
    assert first.startswith("#")
    assert names.in_log(ALICE, "cellar") == first
    assert len({first, names.in_log(ALICE, "attic"), elsewhere.in_log(ALICE, "cellar"), names.in_log(ALICE, "")}) == 4
    assert names.in_log(BOB, "cellar") == "cellar"


def test_some_workers_or_all_and_back_again():
    names = HiddenNames(bytes(32))
    assert names.put(ALICE, Hidden(everything=False, workers=frozenset({"attic"})))
    assert names.in_log(ALICE, "cellar") == "cellar"
    assert names.in_log(ALICE, "attic") != "attic"
    assert not names.put(ALICE, Hidden(everything=False, workers=frozenset({"attic"})))
    assert not names.put(BOB, NOTHING)
    assert names.put(ALICE, NOTHING)
    assert names.in_log(ALICE, "attic") == "attic"
    assert names.table == {}


def test_the_table_crosses_to_another_process():
    names, lane = HiddenNames(bytes(32)), HiddenNames(bytes(32))
    names.put(ALICE, Hidden(everything=False, workers=frozenset({"a", "b"})))
    names.put(BOB, Hidden(everything=True, workers=frozenset()))
    lane.replace(from_plain(msgspec.msgpack.decode(msgspec.msgpack.encode(to_plain(names.table)))))
    assert lane.table == names.table
    assert lane.in_log(BOB, "x") == names.in_log(BOB, "x")
