"""NIP-47's commands: what is asked, and what wallets' results mean."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.keys import SecretKey
from nips.nip01 import VerifiedEvent
from nips.nip44 import KeyCipher
from nips.nip47 import InvalidNwc, Notification, Request, parse_response
from nips.nip47_commands import (
    MAX_MSAT,
    Direction,
    PaidInvoice,
    State,
    get_balance,
    get_info,
    list_transactions,
    lookup_invoice,
    make_invoice,
    parse_balance,
    parse_node_info,
    parse_paid,
    parse_payment_notification,
    parse_transaction,
    parse_transactions,
    pay_invoice,
)

CLIENT = SecretKey(b"\x22" * 32)
HASH, PREIMAGE = "aa" * 32, "42" * 32


def test_what_is_asked() -> None:
    assert pay_invoice("lnbc1x") == Request("pay_invoice", {"invoice": "lnbc1x"})
    assert pay_invoice("lnbc1x", amount_msat=5) == Request("pay_invoice", {"invoice": "lnbc1x", "amount": 5})
    assert lookup_invoice(payment_hash=HASH) == Request("lookup_invoice", {"payment_hash": HASH})
    assert get_balance() == Request("get_balance", {})
    assert get_info() == Request("get_info", {})
    assert make_invoice(5, description="x", expiry_s=60).params == {"amount": 5, "description": "x", "expiry": 60}
    assert list_transactions(since_s=0, unpaid=True, direction=Direction.OUTGOING).params == {
        "from": 0,
        "limit": 20,
        "unpaid": True,
        "type": "outgoing",
    }
    for limit in (0, 21):
        with pytest.raises(ValueError, match="1 to 20"):
            list_transactions(limit=limit)


def test_the_recorded_results(vectors: Callable[[str], Any], verified: Callable[[Any], VerifiedEvent]) -> None:
    """What @getalby/sdk's wallet service answered."""
    cases = vectors("nip47")["answered"]

    def result(number: int) -> Any:
        case = cases[number]
        return parse_response(
            verified(case["response"]),
            asked=verified(case["request"]),
            method=case["method"],
            cipher=KeyCipher(CLIENT),
        )

    info = parse_node_info(result(0))
    assert (info.alias, info.pubkey, info.network, info.block_height) == ("demo", "02" + "ab" * 32, "regtest", 7)
    assert (info.methods, info.notifications) == ({"pay_invoice"}, {"payment_sent"})
    assert parse_balance(result(1)) == 123_456
    made = parse_transaction(result(2))
    assert (made.direction, made.state, made.amount_msat) == (Direction.INCOMING, State.PENDING, 7000)
    assert (made.preimage, made.settled_at, made.description_hash, made.is_settled) == (None, None, None, False)
    paid = parse_transaction(result(3))
    assert (paid.direction, paid.state, paid.amount_msat, paid.fee_msat) == (
        Direction.OUTGOING,
        State.SETTLED,
        5000,
        3,
    )
    assert (paid.payment_hash, paid.preimage, paid.is_settled) == (HASH, PREIMAGE, True)
    assert [each.state for each in parse_transactions(result(5))] == [State.SETTLED, State.EXPIRED]
    assert parse_paid(result(6)) == PaidInvoice(PREIMAGE, 3)


SMALLEST: dict[str, Any] = {"payment_hash": HASH, "amount": 0}


def test_the_least_a_wallet_may_say() -> None:
    assert parse_paid({"preimage": PREIMAGE.upper()}) == PaidInvoice(PREIMAGE, None)
    found = parse_transaction(SMALLEST)
    assert (found.payment_hash, found.amount_msat, found.state, found.invoice) == (HASH, 0, None, None)
    assert not found.is_settled
    assert parse_transaction({**SMALLEST, "settled_at": 5}).is_settled
    assert not parse_transaction({**SMALLEST, "settled_at": 5, "state": "failed"}).is_settled
    assert parse_transactions({"transactions": []}) == ()
    assert parse_node_info({}).methods == frozenset()


@pytest.mark.parametrize(
    "changes",
    [
        {"payment_hash": None},
        {"payment_hash": "aa"},
        {"payment_hash": 5},
        {"amount": None},
        {"amount": -1},
        {"amount": 1.5},
        {"amount": True},
        {"amount": "5"},
        {"amount": MAX_MSAT + 1},
        {"fees_paid": -1},
        {"state": "perhaps"},
        {"type": "sideways"},
        {"invoice": "x" * 9000},
        {"invoice": ["x"]},
        {"preimage": "zz" * 32},
        {"created_at": 10**13},
        {"settled_at": "now"},
    ],
)
def test_a_transaction_out_of_form_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidNwc):
        parse_transaction({**SMALLEST, **changes})
    with pytest.raises(InvalidNwc):
        parse_transactions({"transactions": [SMALLEST, {**SMALLEST, **changes}]})


@pytest.mark.parametrize(
    ("parse", "result"),
    [
        (parse_paid, {}),
        (parse_paid, {"preimage": ""}),
        (parse_paid, {"preimage": "42"}),
        (parse_paid, {"preimage": PREIMAGE, "fees_paid": -1}),
        (parse_balance, {}),
        (parse_balance, {"balance": -5}),
        (parse_balance, {"balance": 5.0}),
        (parse_transactions, {}),
        (parse_transactions, {"transactions": {}}),
        (parse_transactions, {"transactions": [5]}),
        (parse_transactions, {"transactions": [SMALLEST] * 21}),
        (parse_node_info, {"methods": "pay_invoice"}),
        (parse_node_info, {"methods": [1]}),
        (parse_node_info, {"block_height": -1}),
        (parse_node_info, {"alias": 5}),
    ],
)
def test_a_result_out_of_form_is_refused(parse: Callable[[Any], Any], result: Any) -> None:
    with pytest.raises(InvalidNwc):
        parse(result)


def test_news_of_payments() -> None:
    found = parse_payment_notification(Notification("payment_sent", {**SMALLEST, "state": "settled"}))
    assert found is not None
    assert found.is_settled
    assert parse_payment_notification(Notification("hold_invoice_accepted", {})) is None
    with pytest.raises(InvalidNwc):
        parse_payment_notification(Notification("payment_received", {}))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from(
    [
        "preimage",
        "fees_paid",
        "balance",
        "payment_hash",
        "amount",
        "type",
        "state",
        "transactions",
        "methods",
        "settled_at",
    ]
)


@given(st.dictionaries(names, json_values))
def test_no_result_upsets_the_reader(result: dict[str, Any]) -> None:
    for parse in (parse_paid, parse_balance, parse_transaction, parse_transactions, parse_node_info):
        try:
            parse(result)
        except InvalidNwc:
            continue
