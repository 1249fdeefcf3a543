"""The vectors of the bonus (loyalty.json), out of batches as a log holds them."""

import json
from array import array
from pathlib import Path
from typing import Any

import pytest

from accounting.attendance import Attendance
from accounting.chains import Chain
from accounting.lanes import Batch, Lane, LaneKey, Lanes
from accounting.schemes.loyalty import Worker, bonuses
from accounting.shares import CheckedShares, JobRef, Session
from accounting.shelves import MemoryShelves
from nips.pool.address import PoolAddress
from nips.pool.attestation import Attestation, AttestationBody
from nips.pool.attestation_part import AttestationPart
from nips.pool.chain import FIRST
from nips.pool.terms import PPM, Loyalty, Model

VECTORS: Any = json.loads((Path(__file__).parents[1] / "vectors" / "loyalty.json").read_text())
SIGNER, POOL = "a" * 64, PoolAddress("b" * 64, "regtest")
LANES = 2
# Times of one batch: some hours are torn between batches, and some batches hold several hours.
TIMES = 3


def rows_of(rows: list[str]) -> list[list[str]]:
    return [row.split(" ") for row in rows]


def lanes_of(told: list[str], by_worker: bool) -> Lanes:
    """The shares, every second one in the other lane; `by_worker`: their sums are kept so."""
    shares = [(int(t), miner, worker, int(work)) for t, miner, worker, work in rows_of(told)]
    lanes = Lanes()
    for number in range(LANES):
        key = LaneKey("edge", number)
        lane = lanes.setdefault(key, Lane(key, Chain(str(key), lambda _: None)))
        rows = shares[number::LANES]
        times = sorted({row[0] for row in rows})
        start = times[0]
        for seq, at in enumerate(range(0, len(times), TIMES)):
            mine = [row for row in rows if row[0] in times[at : at + TIMES]]
            end = mine[-1][0] + 1
            checked = CheckedShares(
                t=array("q", [row[0] for row in mine]),
                index=array("I", range(len(mine))),
                session=array("H", range(len(mine))),
                job=array("B", [0] * len(mine)),
                sessions=tuple(Session(miner, worker, work) for _, miner, worker, work in mine),
                jobs=(JobRef("", 1, "main", by_worker=by_worker),),
            )
            lane.add(Batch(seq, f"{key}/{seq}", start, end, end // 1000 + 1, checked.pack()), follows=True)
            start = end
    return lanes


@pytest.mark.parametrize("by_worker", [True, False])
@pytest.mark.parametrize("case", VECTORS["cases"], ids=range(len(VECTORS["cases"])))
def test_vector(case: dict[str, Any], by_worker: bool) -> None:
    hardware = {name: Model(int(hs), factor) for name, (hs, factor) in case["hardware"].items()}
    rules = Loyalty(case["part_ppm"], case["full_hours"], case["full_days"], hardware)
    attendance, end_ms = Attendance(MemoryShelves()), case["end_ms"]
    for told, miner, worker, model, nominal, second in rows_of(case["attestations"]):
        body = AttestationBody(worker, model, "", int(nominal), "00" * 32)
        held = Attestation(told, miner, POOL, int(second), body)
        attendance.add(AttestationPart("c" * 64, SIGNER, POOL, FIRST, end_ms // 1000, (held,)))
    lanes = lanes_of(case["shares"], by_worker)
    cuts = {key: lane.batches[-1] for key, lane in lanes.in_order()}
    for _ in range(2):  # the second time by the hours kept
        standings = attendance.standings(rules, lanes, cuts, SIGNER, end_ms)
        assert {miner: each.hours for miner, each in standings.miners.items() if each.hours} == case["hours"]
        assert {miner: each.days for miner, each in standings.miners.items() if each.days} == case["days"]
        models = {
            Worker(miner, name): hardware[model].factor_milli if model in hardware else 1000
            for miner, name, model in rows_of(case["models"])
        }
        assert standings.hardware == models
    work = {Worker(miner, name): int(part) for miner, name, part in rows_of(case["counted"])}
    fee_msat = case["gross_msat"] * case["fee_ppm"] // PPM
    assert bonuses(fee_msat, rules, work, standings.miners, standings.hardware) == case["bonuses"]


def test_the_vectors_are_not_all_alike() -> None:
    cases = VECTORS["cases"]
    assert len(cases) >= 40
    assert sum(bool(case["bonuses"]) for case in cases) > 10
    assert sum(bool(case["models"]) for case in cases) > 10
    assert max(count for case in cases for count in case["days"].values()) > 1
    assert any("#" in told for case in cases for told in case["attestations"])
