"""What of a `getblocktemplate` answer is taken, and what is refused."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.pool.hashing import display, sha256d
from stratum_edge.errors import SourceUnavailable
from stratum_edge.gbt import RULES, SIGNET_RULES, BadTemplate, parse_bits, parse_template, rules_of, unhex
from stratum_edge.wire import OutPoint, Transaction, TxInput, TxOutput, witness_commitment

TXS = tuple(
    Transaction(
        2,
        (TxInput(OutPoint(bytes([n]) * 32, 0), b"", 0xFFFFFFFF, (b"\x30" * 71,) if n % 2 else ()),),
        (TxOutput(1000 * n, b"\x00\x14" + bytes([n]) * 20),),
    )
    for n in range(1, 6)
)


def answer(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "capabilities": ["proposal"],
        "version": 0x20000000,
        "rules": ["csv", "!segwit", "taproot"],
        "previousblockhash": "00" * 31 + "aa",
        "transactions": [
            {"data": tx.serialise().hex(), "txid": display(tx.txid), "hash": display(tx.wtxid), "fee": 1, "depends": []}
            for tx in TXS
        ],
        "coinbasevalue": 312_500_005,
        "longpollid": "00" * 32 + "7",
        "target": "00" * 8 + "ffff" + "00" * 22,
        "mintime": 1_700_000_000,
        "curtime": 1_700_000_600,
        "bits": "1900ffff",
        "height": 840_000,
        "default_witness_commitment": witness_commitment([tx.wtxid for tx in TXS]).hex(),
    }
    return {**found, **changes}


def parse(network: str = "main", **changes: Any) -> Any:
    return parse_template(json.dumps(answer(**changes)).encode(), network)


def test_a_template_in_bytes() -> None:
    found = parse()
    template = found.template
    assert found.longpoll_id == "00" * 32 + "7"
    assert template.height == 840_000
    assert template.version == 0x20000000
    assert template.prevhash == b"\xaa" + bytes(31)
    assert template.nbits == 0x1900FFFF
    assert (template.curtime, template.mintime) == (1_700_000_600, 1_700_000_000)
    assert template.coinbase_sat == 312_500_005
    assert template.transactions == tuple(tx.serialise() for tx in TXS)
    assert template.txids == tuple(tx.txid for tx in TXS)
    assert template.witness_commitment == witness_commitment([tx.wtxid for tx in TXS])


def test_without_transactions_or_long_polling() -> None:
    empty = parse(transactions=[], default_witness_commitment=witness_commitment(()).hex(), longpollid=None)
    assert empty.longpoll_id is None
    assert empty.template.witness_commitment == witness_commitment(())
    bare = parse(transactions=[], default_witness_commitment=None)
    assert bare.template.witness_commitment is None
    assert bare.template.txids == ()


def test_a_version_may_be_written_signed() -> None:
    assert parse(version=-1).template.version == 0xFFFFFFFF


def changed(number: int, **fields: str) -> Callable[[], dict[str, Any]]:
    def change() -> dict[str, Any]:
        entries = answer()["transactions"]
        entries[number].update(fields)
        return {"transactions": entries}

    return change


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"default_witness_commitment": witness_commitment(()).hex()}, "not that of the template's transactions"),
        ({"default_witness_commitment": None}, "no witness commitment"),
        ({"default_witness_commitment": "6a"}, "not that of"),
        ({"rules": ["!segwit", "!hardfork"]}, "follows rule '!hardfork'"),
        ({"rules": ["!signet"]}, "follows rule '!signet'"),
        ({"bits": "1900fffe"}, "differ"),
        ({"bits": "19000001"}, "canonical"),
        ({"bits": "1900fff"}, "bits is not hex"),
        ({"bits": "1900ffff00"}, "bits is not 4 bytes of hex"),
        ({"target": "ff"}, "target is not 32 bytes"),
        ({"previousblockhash": "00" * 31}, "previousblockhash is not 32 bytes"),
        ({"previousblockhash": "00 " * 31 + "aa"}, "previousblockhash is not 32 bytes"),
        ({"previousblockhash": "é" * 64}, "previousblockhash is not hex"),
        ({"height": 0}, "height 0"),
        ({"height": -5}, "height -5"),
        ({"height": 1 << 31}, "height"),
        ({"height": "840000"}, "not what getblocktemplate answers"),
        ({"version": 1 << 32}, "version"),
        ({"curtime": 1_699_999_999}, "two times in this order"),
        ({"mintime": -1}, "two times in this order"),
        ({"curtime": 1 << 32}, "two times in this order"),
        ({"coinbasevalue": -1}, "no amount"),
        ({"coinbasevalue": 21_000_001 * 10**8}, "no amount"),
        ({"coinbasevalue": 3.125}, "not what getblocktemplate answers"),
        ({"transactions": {}}, "not what getblocktemplate answers"),
        ({"signet_challenge": "5121aa"}, "keepers' signature"),
        (changed(0, data="zz"), "data of transaction 0 is not hex"),
        (changed(0, data=""), "transaction 0 is not the one its hash names"),
        (changed(1, data=TXS[0].serialise().hex()), "transaction 1 is not the one its hash names"),
        (changed(1, txid=display(TXS[0].txid)), "transaction 1 has no witness, but a txid"),
        (changed(2, txid=display(TXS[1].txid)), "twice"),
        (changed(2, hash="00"), "hash of transaction 2 is not 32 bytes"),
    ],
)
def test_refusals(changes: Any, says: str) -> None:
    with pytest.raises(BadTemplate, match=says):
        parse(**(changes() if callable(changes) else changes))


def test_a_refusal_is_a_reason_to_ask_elsewhere() -> None:
    assert issubclass(BadTemplate, SourceUnavailable)


def test_signet() -> None:
    assert rules_of("signet") == SIGNET_RULES
    assert rules_of("main") == rules_of("testnet4") == rules_of("regtest") == RULES
    assert parse("signet", rules=["!segwit", "!signet"], signet_challenge="51").template.height == 840_000


@given(st.binary(max_size=200))
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(BadTemplate):
        parse_template(garbage, "main")


@given(st.sampled_from(sorted(answer())), st.none() | st.integers() | st.text() | st.lists(st.integers()))
def test_a_field_of_another_kind_is_refused_or_a_template(field: str, value: Any) -> None:
    try:
        found = parse(**{field: value}).template
    except BadTemplate:
        return
    assert len(found.prevhash) == 32
    assert len(found.transactions) == len(found.txids)
    assert all(sha256d(tx.serialise(witness=False)) == txid for tx, txid in zip(TXS, found.txids, strict=True))


def test_hex_is_hex() -> None:
    assert unhex("00Ff", "it") == b"\x00\xff"
    for wrong in ("0", "0 0", "0x00", " 00", "00\n", "\u0660\u0660"):
        with pytest.raises(BadTemplate, match="it is not hex"):
            unhex(wrong, "it")


def test_bits() -> None:
    assert parse_bits("207fffff", "7fffff" + "00" * 29) == 0x207FFFFF
    assert parse_bits("207fffff", None) == 0x207FFFFF
    with pytest.raises(BadTemplate):
        parse_bits("00000000", None)
