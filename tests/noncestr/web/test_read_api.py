"""The read API's model: which question goes where, and what live readers and metrics are told."""

from typing import Any

import pytest

from accounting.paging import Page, Place
from noncestr.edge.orders import LaneReport
from noncestr.web.metrics import PayoutCount
from noncestr.web.read_api import MAX_LIVE, Parts, ReadApi
from relay_bridge.status import RelayStatus
from stratum_edge.status import EdgeStatus
from zapper.config import ZapperStatus

MINER = "ab" * 32
EDGE = EdgeStatus(
    sessions=3, miners=2, workers=2, hashrate_hs=5, accepted=9, rejected={}, bad_lines=4, height=7, job="a",
    batch_seq=1, batch_id="b", unpublished=0, stalled=False, blocks={},
)  # fmt: skip

pytestmark = pytest.mark.anyio


class FakePages:
    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        def page(*arguments: Any) -> Page[dict[str, Any]]:
            self.asked.append((name, *arguments))
            return Page([{"list": name}], None)

        return page

    async def rewards_of(self, *arguments: Any) -> Page[dict[str, Any]]:
        self.asked.append(("rewards_of", *arguments))
        return Page([{"list": "rewards_of"}], None)

    def counts(self) -> tuple[int, int]:
        return 5, 6

    def statement(self, name: str) -> dict[str, Any] | None:
        return {"name": name}


class FakeHashrates:
    async def series(self, pubkey: str | None, span: str) -> list[dict[str, Any]]:
        return [{"of": pubkey, "span": span}]


class FakeReads:
    def __init__(self) -> None:
        self.pages = FakePages()

    async def pool(self) -> dict[str, Any]:
        return {
            "hashrate_hs": {"5m": "1"}, "miners": 1, "workers": 1, "height": 9, "blocks_found": 0, "effort_ppm": None,
            "shares": 3, "rejects": 0, "work": "4", "totals": {"owed_msat": 1}, "ms": 5,
        }  # fmt: skip

    async def miner(self, pubkey: str) -> dict[str, Any] | None:
        return {"owed_msat": 1} if pubkey == MINER else None

    async def health(self) -> dict[str, Any]:
        parts = {"synced": True, "signing": "yes", "statements_waiting": {}, "unpublished": 0, "findings": {}}
        return {"ok": True, "parts": parts}

    def knows(self, pubkey: str) -> bool:
        return pubkey == MINER

    def workers(self, pubkey: str) -> list[dict[str, Any]] | None:
        return [{"name": "rig"}] if pubkey == MINER else None

    @property
    def hashrates(self) -> FakeHashrates:
        return FakeHashrates()


async def payouts() -> dict[str, PayoutCount]:
    return {"settled": PayoutCount(7, 1)}


async def advice(miner: str) -> str | None:
    return "add a lightning address" if miner == MINER else None


@pytest.fixture
def reads() -> FakeReads:
    return FakeReads()


@pytest.fixture
def api(reads: FakeReads) -> ReadApi:
    parts = Parts(
        edge=lambda: EDGE,
        reports=lambda: [LaneReport(0, 1, 0, {}, EDGE)],
        relays=lambda: [RelayStatus("ws://a", True, "", 1, 0, 1, 0, 0)],
        relay_counts=dict,
        zapper=ZapperStatus,
        payouts=payouts,
        lanes=list,
        advice=advice,
        now_ms=lambda: 1000,
    )
    return ReadApi(reads, parts)  # type: ignore[arg-type] - a fake of what is asked


async def test_a_miners_lists_are_its_own(api: ReadApi, reads: FakeReads) -> None:
    await api.rewards(None, None, 3)
    await api.rewards(MINER, (4, "aa"), 3)
    await api.payouts(None, (4, "aa"), 3)
    await api.payouts(MINER, None, 3)
    assert reads.pages.asked == [
        ("rewards", None, 3),
        ("rewards_of", MINER, Place(4, "aa"), 3),
        ("payouts", Place(4, "aa"), 3),
        ("payouts_of", MINER, None, 3),
    ]
    assert await api.knows(MINER)
    assert await api.workers(MINER) == [{"name": "rig"}]
    assert await api.workers("cd" * 32) == ()
    assert await api.hashrate(MINER, "24h") == [{"of": MINER, "span": "24h"}]
    assert await api.statement("7") == {"name": "7"}


async def test_a_miner_is_told_what_it_takes_to_be_paid(api: ReadApi) -> None:
    assert await api.miner(MINER) == {
        "owed_msat": 1,
        "unpaid_because": "",
        "cannot_be_paid": "add a lightning address",
    }


async def test_live_readers_are_told_what_changes_only(api: ReadApi, reads: FakeReads) -> None:
    live = await api.live()
    assert "ms" not in live["pool"]
    assert live["pool"]["height"] == 9
    assert [live[name] for name in ("blocks", "statements", "payouts")] == [
        [{"list": name}] for name in ("blocks", "statements", "payouts")
    ]
    assert all(asked[2] == MAX_LIVE for asked in reads.pages.asked)


async def test_metrics_are_of_all_parts(api: ReadApi, read_openmetrics) -> None:
    found = read_openmetrics(await api.metrics())
    assert found["noncestr_ledger_statements"].samples == {(): 5}
    assert found["noncestr_ledger_payouts"].samples == {(): 6}
    assert found["noncestr_payouts"].samples[(("state", "settled"),)] == 7
    assert found["noncestr_edge_sessions"].samples == {(("lane", "0"),): 3}
