"""A miner's year as CSV."""

import csv
import io

import pytest

from accounting.entries import Entry, Reference, RewardOf
from accounting.ledger import Posting, Transaction
from accounting.tax_csv import COLUMNS, tax_csv, year_bounds
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent
from nips.pool.address import PoolAddress
from nips.pool.chain import Link
from nips.pool.payout import Payout

ALICE, BOB = "aa" * 32, "bb" * 32
EVENT = SecretKey(bytes([9] * 32)).sign(UnsignedEvent(4215, 1, (), "{}"))
NOON = 1_767_268_800


def payout(name, msat):
    return Payout(
        payout_id=name,
        miner=ALICE,
        amount_msat=msat,
        network_fee_msat=7,
        to="ff" * 32,
        method="zap",
        proof={},
        reverses="x" if msat < 0 else None,
        id="ee" * 32,
        signer="dd" * 32,
        pool=PoolAddress("aa" * 32, "regtest"),
        link=Link(0, None),
        created_at=NOON,
    )


def rows_of(*entries):
    async def each():
        for entry in entries:
            yield entry

    text, pieces = tax_csv(each(), ALICE), []
    while True:
        try:
            text.__anext__().send(None)
        except StopIteration as piece:
            pieces.append(piece.value)
        except StopAsyncIteration:
            return list(csv.DictReader(io.StringIO("".join(pieces))))


def entry(*postings):
    return Entry(Transaction("ee" * 32, NOON, "", tuple(Posting(*each) for each in postings)), EVENT)


def test_earnings_losses_and_payouts_with_what_proves_them():
    reward = Reference("cc" * 32, RewardOf("0b" * 32, 800_000, NOON * 1000 - 60_000))
    rows = rows_of(
        (entry((f"miner:{ALICE}:owed", -1_234_567), (f"miner:{BOB}:owed", -5)), reward),
        (entry((f"miner:{ALICE}:owed", 1_234_567)), reward),
        (
            entry((f"miner:{ALICE}:owed", 1_007), (f"miner:{ALICE}:paid", -1_000), (f"miner:{ALICE}:fees", -7)),
            Reference(payout=payout("=1+1", 1_000)),
        ),
        (entry((f"miner:{ALICE}:owed", -993), (f"miner:{ALICE}:paid", 993)), Reference(payout=payout("back", -993))),
    )
    assert tuple(rows[0]) == COLUMNS
    assert [(row["type"], row["sat"], row["msat"]) for row in rows] == [
        ("earned", "1234.567", "1234567"),
        ("taken back", "-1234.567", "-1234567"),
        ("payout", "-1.000", "-1000"),
        ("network fee", "-0.007", "-7"),
        ("paid back", "0.993", "993"),
    ]
    assert rows[0]["time"] == "2026-01-01T12:00:00Z"
    assert (rows[0]["block"], rows[0]["height"], rows[0]["found"]) == ("0b" * 32, "800000", "2026-01-01T11:59:00Z")
    assert rows[0]["statement"] == "cc" * 32
    assert rows[0]["payout"] == ""
    assert rows[2]["payout"] == "'=1+1", "no spreadsheet reckons with a payout's name"
    assert rows[2]["event"] == "ee" * 32


def test_what_moves_nothing_that_is_owed_is_left_out():
    assert rows_of((entry((f"miner:{ALICE}:pending", -5)), Reference("cc" * 32))) == []


def test_a_year_is_utc_and_has_bounds():
    assert year_bounds(2026) == (1_767_225_600, 1_798_761_600)
    for year in (2008, 9999, -1):
        with pytest.raises(ValueError, match="no year"):
            year_bounds(year)
