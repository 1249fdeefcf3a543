"""What counts nowhere, share by share: beyond the end alone, credited alone, whole or said to lack something."""

import hashlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from nips.keys import SecretKey
from nips.nip19 import encode_npub
from nips.pool.address import PoolAddress
from nips.pool.chain import Head, Link
from nips.pool.receipt import (
    CREDITED,
    LATE_BLOCK,
    Receipt,
    ReceiptBody,
    Session,
    ShareRecord,
    build_receipt,
    parse_receipt,
)
from nips.pool.targets import work_from_bits
from noncestr.edge.lost_work import ClosedLane, lost_report, read_reports, write_report

EDGE, ALICE, BOB = (SecretKey(hashlib.sha256(f"noncestr test key lost {n}".encode()).digest()) for n in range(3))
POOL = PoolAddress(EDGE.pubkey, "regtest")
BITS = 0x1F00FFFF
WORK = work_from_bits(BITS)
MINERS = tuple(sorted((ALICE.pubkey, BOB.pubkey)))


def batch(seq: int, *shares: tuple[SecretKey, int], lane: int = 3) -> Receipt:
    """A batch with a share a miner and status."""
    records = [
        ShareRecord(MINERS.index(miner.pubkey), 0, status, 0, 1, number, 1, bytes(8))
        for number, (miner, status) in enumerate(shares)
    ]
    body = ReceiptBody(
        lane=lane,
        link=Link(seq, None if seq == 0 else "00" * 32),
        from_ms=1000 * seq,
        to_ms=1000 * seq + 1000,
        jobs=("11" * 32,),
        miners=MINERS,
        sessions=tuple(Session(number, "rig", bytes(4), BITS) for number in range(2)),
        shares=b"".join(record.pack() for record in records),
        rejects=(),
        work=WORK * sum(status == CREDITED for _, status in shares),
    )
    return parse_receipt(EDGE.sign(build_receipt(POOL, body, seq + 1)))


def block(receipt: Receipt, height: int) -> Any:
    return SimpleNamespace(receipt=receipt.id, height=height, block=f"{height:064x}", finder=ALICE.pubkey)


def test_what_lies_beyond_the_end_is_counted_by_miner() -> None:
    kept, first, second = (
        batch(4, (ALICE, CREDITED)),
        batch(5, (ALICE, CREDITED), (BOB, CREDITED), (BOB, LATE_BLOCK)),
        batch(6, (ALICE, CREDITED)),
    )
    receipts = [kept, second, first, replace(first), batch(7, (ALICE, CREDITED), lane=2)]
    lane = ClosedLane(EDGE.pubkey, 3, Head(4, kept.id), 6)
    report = lost_report(lane, receipts, [block(second, 9), block(kept, 8)])
    assert report == {
        "lane": f"{encode_npub(EDGE.pubkey)}/3",
        "number": 3,
        "batch": 4,
        "receipt": kept.id,
        "last": 6,
        "from_ms": 5000,
        "to_ms": 7000,
        "batches": 2,
        "missing": [],
        "complete": True,
        "shares": 3,
        "work": str(3 * WORK),
        "miners": [
            {"miner": encode_npub(ALICE.pubkey), "shares": 2, "work": str(2 * WORK)},
            {"miner": encode_npub(BOB.pubkey), "shares": 1, "work": str(WORK)},
        ],
        "blocks": [{"height": 9, "block": f"{9:064x}", "miner": encode_npub(ALICE.pubkey)}],
    }


def test_a_report_says_what_it_lacks() -> None:
    report = lost_report(ClosedLane(EDGE.pubkey, 3, Head(4, "e"), 7), [batch(6, (ALICE, CREDITED))], [])
    assert (report["complete"], report["missing"], report["shares"]) == (False, [5, 7], 1)
    nothing = lost_report(ClosedLane(EDGE.pubkey, 3, Head(4, "e"), 5), [], [])
    assert (nothing["complete"], nothing["from_ms"], nothing["work"]) == (False, 0, "0")


def test_reports_are_kept_a_lane_each(tmp_path: Path) -> None:
    assert read_reports(tmp_path) == []
    for number in (10, 9, 10):
        write_report(tmp_path, number, {"number": number})
    assert read_reports(tmp_path) == [{"number": 9}, {"number": 10}]
