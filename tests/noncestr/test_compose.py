"""The wiring's own decisions: ports, terms, what the banner says, what the zapper is told."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nips.keys import SecretKey
from nips.pool.targets import work_from_bits
from nips.pool.views import Balance
from noncestr.compose import ANYWHERE, Keys, OwedByAccounting, Pool, find_places, terms_body
from noncestr.config import Config, RelayConfig

KEY = SecretKey(hashlib.sha256(b"noncestr test key compose").digest())


def test_places_are_distinct_and_lan_opens_stratum_and_web_only() -> None:
    places = find_places(Config(), lan=True)
    assert places.relay is not None
    ports = {places.relay.port, places.stratum.port, places.web.port, places.lightning.port}
    assert len(ports) == 4
    assert (places.stratum.host, places.web.host) == (ANYWHERE, ANYWHERE)
    assert (places.relay.host, places.lightning.host) == ("127.0.0.1", "127.0.0.1")
    without = find_places(replace(Config(), relay=RelayConfig(embedded=False, relays=("ws://a",))), lan=False)
    assert without.relay is None


def test_terms_say_what_the_configuration_promises(tmp_path: Path) -> None:
    keys = Keys.load(tmp_path)
    body = terms_body(Config(), keys, ("ws://a",), 0x1E1FFFE0)
    assert dict(body.keys) == {
        keys.edge.pubkey: "edge", keys.accounting.pubkey: "accounting", keys.zapper.pubkey: "zapper",
    }  # fmt: skip
    assert body.offers["main"].window_min_work == 8 * work_from_bits(0x1E1FFFE0)
    assert (body.limits.block_bits, body.limits.maturity_blocks) == (0x1E1FFFE0, 6)
    assert body.log.relays == ("ws://a",)


def test_the_banner_names_the_pool_first_and_says_what_moved(tmp_path: Path) -> None:
    said: list[str] = []
    pool = Pool(Config(), tmp_path, lan=False, demo=True, say=said.append)
    moved = replace(pool.places, web=replace(pool.places.web, asked=pool.places.web.port - 1))
    pool.places = moved
    pool.banner()
    text = "\n".join(said)
    assert f"port {moved.web.asked} is busy: the web port is {moved.web.port}" in text
    npub = next(line for line in said if "npub1" in line)
    assert npub.split()[:2] == ["pool", "npub:"]
    for part in ("Stratum", "relay", "web"):
        assert sum(line.strip().startswith(part + ":") for line in said) == 1


class FakeAccounting:
    def __init__(self, synced: bool) -> None:
        self.synced = synced

    def condition(self) -> Any:
        return self

    async def balances(self) -> dict[str, Balance]:
        return {"b" * 64: Balance("b" * 64, 5, 7_000, 2_000, None), "a" * 64: Balance("a" * 64, 9, 0, 0, None)}

    def applied_payouts(self, miner: str) -> dict[str, int]:
        return {"p1": 2_000}


@pytest.mark.anyio
async def test_the_zapper_hears_of_matured_earnings_once_the_log_is_read() -> None:
    assert await OwedByAccounting(FakeAccounting(False)).owed() == []
    (owed,) = await OwedByAccounting(FakeAccounting(True)).owed()
    assert (owed.miner, owed.earned_msat, owed.applied) == ("b" * 64, 7_000, {"p1": 2_000})
