"""The read API's model: the books, and beside them how each part is doing."""

from dataclasses import replace
from typing import Any

import pytest

from noncestr.web.readmodel import PoolReadModel
from relay_bridge.status import RelayStatus
from stratum_edge.status import EdgeStatus
from zapper.config import ZapperStatus

EDGE = EdgeStatus(
    sessions=3, miners=2, workers=2, hashrate_hs=5, accepted=9, rejected={23: 1, 21: 2}, bad_lines=4, height=7, job="a",
    batch_seq=1, batch_id="b", unpublished=0, stalled=False, blocks={"accepted": 1},
)  # fmt: skip
RELAY = RelayStatus("ws://a", True, "", 1, 0, 1, 0, 0)
MINER = "ab" * 32

pytestmark = pytest.mark.anyio


class FakeBooks:
    ok = True

    async def pool(self) -> dict[str, Any]:
        return {"shares": 9}

    async def miner(self, pubkey_hex: str) -> dict[str, Any] | None:
        return {"owed_msat": 1} if pubkey_hex == MINER else None

    async def health(self) -> dict[str, Any]:
        return {"ok": self.ok, "parts": {"books": "balanced"}}


async def health(
    *, edge: EdgeStatus = EDGE, relay: RelayStatus = RELAY, zapper: ZapperStatus | None = None, books: bool = True
) -> dict[str, Any]:
    fake = FakeBooks()
    fake.ok = books
    return await PoolReadModel(fake, lambda: edge, lambda: [relay], lambda: zapper or ZapperStatus(), dict).health()


async def test_a_pool_shows_what_its_edge_refused() -> None:
    pool = await PoolReadModel(
        FakeBooks(), lambda: EDGE, lambda: [RELAY], ZapperStatus, lambda: {"b": 2, "a": 1}
    ).pool()
    assert pool["shares"] == 9
    assert pool["edge"]["rejected"] == {"21": 2, "23": 1}
    assert list(pool["relay"].items()) == [("a", 1), ("b", 2)]
    assert (pool["edge"]["bad_lines"], pool["edge"]["hashrate_hs"]) == (4, "5")


async def test_a_miner_reads_why_it_is_not_paid() -> None:
    status = ZapperStatus(why_unpaid={MINER: "no lightning address in the profile"})
    model = PoolReadModel(FakeBooks(), lambda: EDGE, lambda: [RELAY], lambda: status, dict)
    assert await model.miner(MINER) == {
        "owed_msat": 1,
        "unpaid_because": "no lightning address in the profile",
        "cannot_be_paid": "",
    }
    assert await model.miner("cd" * 32) is None


async def test_a_miner_reads_what_it_takes_to_be_paid() -> None:
    async def advice(miner: str) -> str | None:
        assert miner == MINER
        return "your profile names no lightning address"

    model = PoolReadModel(FakeBooks(), lambda: EDGE, lambda: [RELAY], ZapperStatus, dict, advice)
    found = await model.miner(MINER)
    assert found is not None
    assert found["cannot_be_paid"] == "your profile names no lightning address"


async def test_the_pool_shows_its_lanes() -> None:
    rows = [{"lane": "npub/0", "silent": False}]
    model = PoolReadModel(FakeBooks(), lambda: EDGE, lambda: [RELAY], ZapperStatus, dict, lanes=lambda: rows)
    assert (await model.pool())["lanes"] == rows
    assert (await PoolReadModel(FakeBooks(), lambda: EDGE, lambda: [RELAY], ZapperStatus, dict).pool())["lanes"] == []


async def test_all_well() -> None:
    found = await health()
    assert found["ok"] is True
    assert set(found["parts"]) == {"accounting", "edge", "relays", "zapper"}


@pytest.mark.parametrize(
    ("part", "sick"),
    [
        ("accounting", {"books": False}),
        ("edge", {"edge": replace(EDGE, stalled=True)}),
        ("relays", {"relay": RelayStatus("ws://a", False, "refused", 0, 0, 0, 0, 3)}),
        ("zapper", {"zapper": ZapperStatus(blocked="the store is behind")}),
        ("zapper", {"zapper": ZapperStatus(alerts=("p1",))}),
    ],
)
async def test_one_sick_part_is_named(part: str, sick: dict[str, Any]) -> None:
    found = await health(**sick)
    assert found["ok"] is False
    assert [name for name, state in found["parts"].items() if not state["ok"]] == [part]
