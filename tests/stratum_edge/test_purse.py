"""The purse: coins are folded from blocks, mature, come round, and pay exactly the fee."""

from hypothesis import given
from hypothesis import strategies as st

from stratum_edge.purse import ANYONE_OUTPUT, ANYONE_SCRIPT, COINBASE_MATURITY, MAX_INPUTS, Purse
from stratum_edge.wire import NULL_HASH, NULL_INDEX, OutPoint, Transaction, TxInput, TxOutput

FEE = 100_000


def a_coinbase(height: int, value_sat: int, script: bytes = ANYONE_OUTPUT) -> Transaction:
    script_sig = height.to_bytes(4, "little")
    return Transaction(2, (TxInput(OutPoint(NULL_HASH, NULL_INDEX), script_sig),), (TxOutput(value_sat, script),))


def test_a_coinbase_matures_in_the_hundredth_block_after_it() -> None:
    purse = Purse()
    purse.connect(7, [a_coinbase(7, 5 * FEE)])
    assert purse.fee_payment(7 + COINBASE_MATURITY - 1, FEE) is None
    payment = purse.fee_payment(7 + COINBASE_MATURITY, FEE)
    assert payment is not None
    assert payment.inputs[0].spends == OutPoint(a_coinbase(7, 5 * FEE).txid, 0)
    assert payment.inputs[0].witness == (ANYONE_SCRIPT,)
    assert payment.outputs == (TxOutput(4 * FEE, ANYONE_OUTPUT),)


def test_change_can_be_spent_at_once_and_to_the_last_sat() -> None:
    purse = Purse()
    purse.connect(1, [a_coinbase(1, 2 * FEE)])
    for height in (101, 102):
        payment = purse.fee_payment(height, FEE)
        assert payment is not None
        purse.connect(height, [a_coinbase(height, FEE, b"\x51"), payment])
    assert purse.value_sat == 0
    assert purse.fee_payment(103, FEE) is None


def test_too_little_pays_nothing() -> None:
    purse = Purse()
    purse.connect(1, [a_coinbase(1, FEE - 1)])
    assert purse.fee_payment(500, FEE) is None
    assert Purse().fee_payment(500, FEE) is None


def test_a_block_without_the_payment_leaves_it_to_the_next() -> None:
    purse = Purse()
    purse.connect(1, [a_coinbase(1, 9 * FEE)])
    first = purse.fee_payment(101, FEE)
    purse.connect(101, [a_coinbase(101, 1, b"\x51")])
    assert purse.fee_payment(102, FEE) == first


@given(st.lists(st.booleans(), min_size=COINBASE_MATURITY + 1, max_size=3 * COINBASE_MATURITY))
def test_value_is_conserved_and_inputs_are_bounded(included: list[bool]) -> None:
    """Whatever blocks leave out, what came in less the fees paid is what the purse holds."""
    purse, paid = Purse(), 0
    for height, include in enumerate(included, 1):
        payment = purse.fee_payment(height, FEE)
        block = [a_coinbase(height, 2 * FEE)]
        if payment is not None and include:
            assert len(payment.inputs) <= MAX_INPUTS
            block.append(payment)
            paid += FEE
        purse.connect(height, block)
    assert purse.value_sat == len(included) * 2 * FEE - paid
