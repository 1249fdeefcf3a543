"""The header of a tip, and the empty block on it."""

import json
from typing import Any

import pytest

from nips.pool.hashing import display
from stratum_edge.chain_head import ChainHead, empty_template, parse_header_answer
from stratum_edge.gbt import BadTemplate
from stratum_edge.ports import Template, Tip
from stratum_edge.wire import witness_commitment

HASH = bytes(range(32))
LAST = Template(800_000, 0x20000004, b"\xaa" * 32, 0x17053894, 1_700_000_000, 1_699_999_000, 5, (), (), b"\x6a")


def answer(**changes: Any) -> bytes:
    found = {
        "hash": display(HASH),
        "confirmations": 1,
        "height": 800_000,
        "time": 1_700_000_100,
        "mediantime": 1_699_999_500,
        "bits": "17053894",
        "difficulty": 5.5e13,
        "nTx": 3,
    }
    return json.dumps({**found, **changes}).encode()


def test_a_header() -> None:
    head = parse_header_answer(answer(), HASH)
    assert head == ChainHead(HASH, 800_000, 1, 0x17053894, 1_699_999_500)
    assert head.tip == Tip(800_000, HASH)


@pytest.mark.parametrize(
    "changes",
    [
        {"hash": "00" * 32},
        {"height": -1},
        {"height": "1"},
        {"confirmations": -2},
        {"mediantime": -1},
        {"mediantime": 0xFFFFFFFF},
        {"bits": "00000000"},
        {"bits": None},
    ],
)
def test_what_is_no_header_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BadTemplate):
        parse_header_answer(answer(**changes), HASH)
    with pytest.raises(BadTemplate):
        parse_header_answer(b"[]", HASH)


def head_at(height: int, nbits: int = 0x17053894) -> ChainHead:
    return ChainHead(HASH, height, 1, nbits, 1_699_999_500)


def test_an_empty_block_pays_the_subsidy_alone() -> None:
    found = empty_template("main", head_at(800_000), LAST, 7)
    assert found == Template(
        height=800_001,
        version=LAST.version,
        prevhash=HASH,
        nbits=0x17053894,
        curtime=LAST.curtime + 7,
        mintime=1_699_999_501,
        coinbase_sat=625_000_000,
        transactions=(),
        txids=(),
        witness_commitment=None,
    )
    halving = empty_template("main", head_at(839_999), LAST, 7)
    assert halving is not None
    assert halving.coinbase_sat == 312_500_000


def test_its_time_is_never_below_the_median() -> None:
    head = ChainHead(HASH, 800_000, 1, 0x17053894, LAST.curtime + 50)
    found = empty_template("main", head, LAST, 7)
    assert found is not None
    assert found.curtime == found.mintime == LAST.curtime + 51


def test_none_where_it_could_be_wrong() -> None:
    assert empty_template("main", head_at(800_000), None, 0) is None
    assert empty_template("testnet4", head_at(80_000), LAST, 0) is None
    assert empty_template("main", head_at(2016 * 400 - 1), LAST, 0) is None
    assert empty_template("main", head_at(2016 * 400), LAST, 0) is not None
    assert empty_template("main", head_at(2016 * 400 - 2), LAST, 0) is not None
    assert empty_template("regtest", head_at(2015, 0x207FFFFF), LAST, 0) is not None
    assert empty_template("regtest", head_at(300), LAST, 0) is None


def test_signet_wants_a_commitment_in_every_block() -> None:
    found = empty_template("signet", head_at(100), LAST, 0)
    assert found is not None
    assert found.witness_commitment == witness_commitment(())
