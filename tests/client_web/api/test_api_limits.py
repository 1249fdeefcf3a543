"""How often one address may ask, and who that is."""

from collections.abc import Callable

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_web.api.limits import FLAT, READ, Buckets, Limit, address_of, parse_proxies
from client_web.doors import Doors
from client_web.fakes import FakeReadModel, FakeRelayGate
from client_web.server import create_app
from client_web.site import Site

LIMIT = Limit("test", 2, 3)


def test_a_burst_then_so_many_a_second() -> None:
    buckets = Buckets(LIMIT)
    assert [buckets.take("a", 0) for _ in range(3)] == [0, 0, 0]
    assert buckets.take("a", 0) == 1
    assert buckets.take("b", 0) == 0
    assert buckets.take("a", 499) == 1
    assert buckets.take("a", 500) == 0
    assert buckets.take("a", 500) == 1


def test_who_is_refused_is_served_after_the_wait_told() -> None:
    buckets = Buckets(Limit("slow", 0.2, 1))
    assert buckets.take("a", 0) == 0
    wait = buckets.take("a", 1000)
    assert wait == 4
    assert buckets.take("a", 1000 + wait * 1000) == 0


@given(st.lists(st.integers(0, 3000), max_size=200))
def test_nobody_gets_more_than_the_limit(steps: list[int]) -> None:
    buckets, now, served = Buckets(LIMIT), 0, 0
    for step in steps:
        now += step
        served += buckets.take("a", now) == 0
    assert served <= LIMIT.burst + LIMIT.per_second * now / 1000


def test_the_table_is_bounded_and_strangers_then_share_a_bucket() -> None:
    buckets = Buckets(LIMIT, max_addresses=2)
    assert [buckets.take(name, 0) for name in ("a", "b", "c", "d", "e")] == [0] * 5
    assert buckets.take("f", 0) == 1
    assert len(buckets) == 3
    assert buckets.take("g", 60_000) == 0
    assert len(buckets) <= 2


@pytest.mark.parametrize(
    ("peer", "forwarded", "asker"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, garbage", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("2001:db8:1:2:3::4", "", "2001:db8:1:2::/64"),
        ("::ffff:198.51.100.1", "", "198.51.100.1"),
        ("testclient", "", "testclient"),
    ],
)
def test_only_a_proxy_of_ours_says_who_asks(peer: str, forwarded: str, asker: str) -> None:
    assert address_of(peer, forwarded, parse_proxies(["10.0.0.0/8"])) == asker


def test_a_proxy_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="nowhere"):
        parse_proxies(["nowhere"])


@pytest.mark.anyio
async def test_who_asks_too_often_is_told_to_wait(site: Site, model: FakeReadModel) -> None:
    now = [0]
    app = create_app(site, model, FakeRelayGate(), clock_ms=lambda: now[0])
    transport = httpx.ASGITransport(app=app, client=("198.51.100.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://pool.test") as client:
        for _ in range(FLAT.burst):
            assert (await client.get("/api/v1/balance")).status_code == 200
        refused = await client.get("/api/v1/total", headers={"x-forwarded-for": "192.0.2.1"})
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) == 5
        assert refused.headers["access-control-allow-origin"] == "*"
        assert list(refused.json()) == ["error"]
        for _ in range(READ.burst - FLAT.burst - 1):
            assert (await client.get("/api/v1/pool")).status_code == 200
        assert (await client.get("/api/v1/pool")).status_code == 429
        assert (await client.get("/metrics")).status_code == 429
        # The page and the health check are no questions to the API.
        assert (await client.get("/")).status_code == 200
        assert (await client.get("/healthz")).status_code == 200
        now[0] = 1000
        assert (await client.get("/api/v1/pool")).status_code == 200


@pytest.mark.anyio
async def test_behind_a_proxy_each_asker_has_its_own_limit(
    site: Site, model: FakeReadModel, patient: Callable[[], int]
) -> None:
    app = create_app(
        site, model, FakeRelayGate(), doors=Doors(proxies=parse_proxies(["192.0.2.7"])), clock_ms=lambda: 0
    )
    transport = httpx.ASGITransport(app=app, client=("192.0.2.7", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://pool.test") as client:
        for asker in ("198.51.100.1", "198.51.100.2"):
            headers = {"x-forwarded-for": asker}
            codes = [(await client.get("/api/v1/total", headers=headers)).status_code for _ in range(FLAT.burst + 1)]
            assert codes == [200] * FLAT.burst + [429]
