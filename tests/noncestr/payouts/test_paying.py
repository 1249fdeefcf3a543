"""What pays, if anything does: without a wallet nobody is paid, and nothing that asks about payouts fails."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import anyio.lowlevel
import pytest

from nips.nip19 import encode_npub
from nips.pool.address import PoolAddress
from noncestr.clock import WallClock
from noncestr.config.sections import Config, DemoConfig, PayoutsConfig, PoolConfig
from noncestr.errors import NoncestrError
from noncestr.payouts.paying import Paying
from noncestr.places import find_places
from noncestr.terms.promises import Keys
from zapper.config import ZapperStatus

# What is not touched.
NOTHING = cast(Any, None)


def paying(data: Path, *, network: str = "regtest", backend: str = "demo") -> Paying:
    config = Config(pool=PoolConfig(network=network), payouts=PayoutsConfig(backend=backend), demo=DemoConfig(miners=3))
    keys = Keys.load(data / "keys")
    pool = PoolAddress(keys.pool.pubkey, network)
    places = find_places(config, lan=True)
    return Paying(config, data, keys=keys, pool=pool, places=places, relays=(), clock=WallClock())


@pytest.mark.anyio
@pytest.mark.parametrize(("network", "backend"), [("regtest", "none"), ("main", "demo")])
async def test_without_a_wallet_nobody_is_paid(tmp_path: Path, network: str, backend: str) -> None:
    found = paying(tmp_path, network=network, backend=backend)
    assert not found.is_on
    async with AsyncExitStack() as stack:
        await found.start(stack, NOTHING, NOTHING, None, anyio.lowlevel.checkpoint)
    assert (found.status(), found.funds, found.mint_url) == (ZapperStatus(), (), "")
    with pytest.raises(NoncestrError, match="nobody is paid by this pool"):
        await found.services()["payouts_plan"]()
    assert await found.payees() == []
    assert not (tmp_path / "payouts.sqlite").exists()


def test_demo_miners_are_of_regtest_and_keep_their_keys(tmp_path: Path) -> None:
    class Bridge:
        publish = None

    bridge = cast(Any, Bridge())
    users = paying(tmp_path).demo_miners(bridge).users()
    assert list(users) == ["alice", "bob", "carol"]
    assert all(encode_npub(key) for key in users.values())
    assert paying(tmp_path).demo_miners(bridge).users() == users
    with pytest.raises(ValueError, match="for regtest"):
        paying(tmp_path, network="main").demo_miners(bridge)
