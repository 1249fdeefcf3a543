"""The pool's metrics: what they say, that counters only grow, that no label is unbounded."""

from dataclasses import replace

import pytest

from nips.nip19 import encode_npub
from noncestr.disk_trend import Trend
from noncestr.disk_watch import Disk
from noncestr.edge.orders import LaneReport
from noncestr.web.metrics import MAX_OUTCOMES, Facts, PayoutCount, metrics
from relay_bridge.status import RelayStatus
from stratum_edge.status import EdgeStatus
from zapper.config import ZapperStatus

MINER = "ab" * 32
EDGE = EdgeStatus(
    sessions=3, miners=2, workers=2, hashrate_hs=5, accepted=9, rejected={23: 1, 21: 2}, bad_lines=4, height=7, job="a",
    batch_seq=1, batch_id="b", unpublished=1, stalled=False, blocks={"accepted": 1}, node_lost_s=2.5,
)  # fmt: skip
RELAY = RelayStatus("ws://a", True, "", 11, 1, 12, 2, 3, refused_by_size=1, refilled=6, unwanted=7, complaints=("x",))
TOTALS = {"pending_msat": 1, "matured_msat": 2, "owed_msat": 3, "paid_msat": 4, "fee_msat": 5}


def facts(**changes: object) -> Facts:
    told = Facts(
        now_ms=100_000,
        pool={
            "hashrate_hs": {"5m": "10", "1h": "20"}, "miners": 1, "workers": 2, "shares": 3, "rejects": 4, "work": "5",
            "blocks_found": 6, "height": 7, "effort_ppm": 1_500_000, "totals": TOTALS,
        },
        health={
            "parts": {
                "accounting": {
                    "synced": True, "signing": "yes", "statements_waiting": {"aa": "why"}, "unpublished": 2,
                    "findings": {"contradicted": 1},
                }
            }
        },
        statements=8,
        payout_records=9,
        lanes=[LaneReport(0, 1, 0, {}, EDGE), LaneReport(1, 2, 1, {}, replace(EDGE, accepted=1, blocks={}))],
        relays=[RELAY],
        alarms={"gaps": 2},
        relay_counts={"events_stored": 5},
        zapper=ZapperStatus(why_unpaid={MINER: "no address"}, unknown=("p1",)),
        payouts={
            "settled": PayoutCount(4, 1), "sending": PayoutCount(2, 40_000), "failed": PayoutCount(1, 2),
            "returned": PayoutCount(3, 1),
        },
    )  # fmt: skip
    return replace(told, **changes)  # type: ignore[arg-type] - the tests name the fields


@pytest.fixture
def read(read_openmetrics):
    def samples(**changes: object) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
        return {name: family.samples for name, family in read_openmetrics(metrics(facts(**changes))).items()}

    return samples


def by_state(**counts: int) -> dict[tuple[tuple[str, str], ...], int]:
    return {(("state", state),): count for state, count in counts.items()}


NODE = (("place", "node"), ("source", ""))


def test_debts_and_funds_are_told_by_place(read) -> None:
    holdings = [
        {"name": "node", "source": None, "msat": 700, "age_ms": 1500, "silence": None},
        {"name": "cold", "source": "npub1far", "msat": None, "age_ms": None, "silence": "it never told"},
    ]
    told = {"owed_msat": 500, "spare_msat": None, "alert": "not known", "holdings": holdings}
    found = read(treasury=told)
    assert found["noncestr_treasury_owed_msat"] == {(): 500}
    assert found["noncestr_treasury_funds_msat"] == {NODE: 700}
    assert found["noncestr_treasury_age_seconds"] == {NODE: 1.5}
    assert found["noncestr_treasury_silent"] == {NODE: 0, (("place", "cold"), ("source", "npub1far")): 1}
    assert found["noncestr_treasury_alert"] == {(): 1}
    assert "noncestr_treasury_spare_msat" not in found
    assert read(treasury={**told, "spare_msat": -5})["noncestr_treasury_spare_msat"] == {(): -5}
    assert "noncestr_treasury_owed_msat" not in read()


def test_the_disk_is_told_and_when_it_is_full_only_if_it_is_known(read) -> None:
    disk = Disk(500, {"ledger.sqlite": 7, "relay.sqlite": 9}, None)
    found = read(disk=disk)
    assert found["noncestr_disk_free_bytes"] == {(): 500}
    assert found["noncestr_disk_file_bytes"] == {(("file", "ledger.sqlite"),): 7, (("file", "relay.sqlite"),): 9}
    assert not {"noncestr_disk_growth_bytes", "noncestr_disk_left_seconds"} & set(found)
    found = read(disk=replace(disk, trend=Trend(bytes=200, ms=2 * 86_400_000, left_ms=5 * 86_400_000)))
    assert found["noncestr_disk_growth_bytes"] == {(): 100}
    assert found["noncestr_disk_left_seconds"] == {(): 5 * 86_400}
    assert not [name for name in read() if "disk" in name]


def test_every_part_is_told(read) -> None:
    found = read()
    assert found["noncestr_pool_hashrate"] == {(("window", "5m"),): 10, (("window", "1h"),): 20}
    assert found["noncestr_pool_effort_ratio"] == {(): 1.5}
    assert found["noncestr_edge_shares_accepted"] == {(("lane", "0"),): 9, (("lane", "1"),): 1}
    assert found["noncestr_edge_shares_rejected"][(("lane", "0"), ("code", "21"))] == 2
    assert found["noncestr_edge_batches"][(("lane", "0"),)] == 2
    assert found["noncestr_edge_unpublished"][(("lane", "0"),)] == 1
    relay = (("relay", "ws://a"),)
    assert [found[f"noncestr_relay_{name}"][relay] for name in ("connected", "backlog", "published", "refused")] == [
        1,
        3,
        11,
        1,
    ]
    more = ("refused_by_size", "refilled", "unwanted", "down_seconds", "complaints")
    assert [found[f"noncestr_relay_{name}"][relay] for name in more] == [1, 6, 7, 0, 1]
    assert found["noncestr_log_alarms"] == {(("what", "forks"),): 0, (("what", "gaps"),): 2}
    assert found["noncestr_ledger_msat"][(("account", "owed"),)] == 3
    assert found["noncestr_ledger_statements"] == {(): 8}
    assert found["noncestr_ledger_findings"] == {(("grade", "contradicted"),): 1}
    assert found["noncestr_payouts"] == {
        (("state", "settled"),): 7,
        (("state", "failed"),): 1,
        (("state", "returned"),): 3,
    }
    assert found["noncestr_payouts_open"] == {(("state", "sending"),): 2}
    assert found["noncestr_payouts_oldest_open_seconds"] == {(): 60}
    assert found["noncestr_node_lost_seconds"][(("lane", "0"),)] == 2.5
    assert found["noncestr_node_submissions"] == {(("outcome", "accepted"),): 1}


def test_a_pool_that_has_just_begun_can_be_told(read) -> None:
    quiet = {**facts().pool, "effort_ppm": None}
    found = read(pool=quiet, lanes=[], relays=[], payouts={}, relay_counts={}, zapper=ZapperStatus())
    assert "noncestr_pool_effort_ratio" not in found
    assert found["noncestr_payouts"] == {
        (("state", "settled"),): 0,
        (("state", "failed"),): 0,
        (("state", "returned"),): 0,
    }
    assert found["noncestr_payouts_oldest_open_seconds"] == {(): 0}


def test_no_miner_is_named() -> None:
    text = metrics(facts())
    assert MINER not in text
    assert encode_npub(MINER) not in text
    assert "no address" not in text


def test_outcomes_of_any_text_and_number_are_bounded(read) -> None:
    reasons = {f"reason {number}": 1 for number in range(100)} | {'evil"\n{} ' * 9: 5}
    found = read(lanes=[LaneReport(0, 1, 0, {}, replace(EDGE, blocks=reasons))])["noncestr_node_submissions"]
    assert len(found) <= MAX_OUTCOMES + 1
    assert sum(found.values()) == 105
    assert found[(("outcome", "other"),)] >= 5


def test_money_that_came_back_takes_nothing_off_a_counter_and_is_not_under_way(read) -> None:
    before = read(payouts={"settled": PayoutCount(2, 1)})
    after = read(payouts={"settled": PayoutCount(1, 1), "returned": PayoutCount(1, 1)})
    assert all(after["noncestr_payouts"][key] >= before["noncestr_payouts"][key] for key in before["noncestr_payouts"])
    assert after["noncestr_payouts"] == by_state(settled=2, failed=0, returned=1)
    assert "noncestr_payouts_open" not in after
    assert after["noncestr_payouts_oldest_open_seconds"] == {(): 0}
