"""The accounting of a pool in parts tells its operator of funds that nobody knows, and that they are known again."""

from contextlib import AsyncExitStack

import anyio
import pytest

from accounting.service import Accounting
from accounting.treasury import Holding
from nips.keys import SecretKey
from nips.pool.address import PoolAddress
from nips.pool.chain import FIRST
from nips.pool.terms import Offer, TermsBody, build_terms
from noncestr.alerts import conditions as alerts
from noncestr.alerts import watch as alert_watch
from noncestr.alerts.accounting_watch import watch_pool
from noncestr.books.place import LEDGER
from noncestr.books.treasury import Treasurer
from noncestr.config.file import load_config
from noncestr.errors import NoncestrError
from noncestr.keys.files import load_or_create
from noncestr.outpost import Outpost
from noncestr.running import running
from relay_bridge.adapters.event_store import SqliteEventStore
from relay_bridge.adapters.relay_server import RelayServer
from relay_bridge.policy import OpenPolicy

pytestmark = pytest.mark.anyio
POOL_KEY = SecretKey(bytes([9]) * 32)
POOL = PoolAddress(POOL_KEY.pubkey, "regtest")
ZAPPER = SecretKey(bytes([1]) * 32).pubkey


class NoBlocks:
    """A chain that nobody has mined on."""

    async def confirmations(self, _block_hash: bytes) -> int | None:
        return None

    def height(self) -> int:
        return 0


@pytest.fixture
async def outpost(tmp_path):
    key = load_or_create(tmp_path / "keys", "accounting").pubkey
    body = TermsBody(offers={"main": Offer()}, keys=tuple(sorted([(key, "accounting"), (ZAPPER, "zapper")])))
    async with SqliteEventStore(tmp_path / "events.db") as store:
        store.put(POOL_KEY.sign(build_terms(POOL, FIRST, 1_700_000_000, body)), lambda _: None)
        async with RelayServer("127.0.0.1", 0, store, OpenPolicy()) as server:
            made = Outpost(
                load_config(None, {}), tmp_path, pool=POOL, relays=(server.url,), role="accounting", say=lambda _: None
            )
            async with made.reached():
                yield made


@pytest.fixture
async def accounting(outpost):
    made = Accounting(
        pool=POOL,
        signer=outpost.signer,
        feed=outpost.feed,
        chain=NoBlocks(),
        store_path=outpost.data / LEDGER,
        clock=outpost.clock,
    )
    async with running(made.run):
        yield made


async def test_a_silent_holder_is_told_of_until_it_speaks(outpost, accounting, monkeypatch, caplog):
    monkeypatch.setattr(alert_watch, "LOOK_S", 0.02)
    monkeypatch.setattr(alerts, "SETTLE_MS", 0)
    now = outpost.clock.now_ms
    held = [Holding("lightning", 5, 1, "", ZAPPER, 1)]
    treasurer = Treasurer(now)
    treasurer.keep(accounting)
    treasurer.hear(lambda: held)
    async with AsyncExitStack() as stack:
        await watch_pool(stack, outpost, accounting, treasurer)
        with anyio.fail_after(60):
            while "Funds that are not counted: lightning of npub1" not in caplog.text:  # noqa: ASYNC110 - a log is read
                await anyio.sleep(0.02)
            held[0] = Holding("lightning", 5, now(), "", ZAPPER, now())
            while "Over after" not in caplog.text:  # noqa: ASYNC110 - a log is read
                await anyio.sleep(0.02)
    assert "could not look" not in caplog.text


async def test_services_that_cannot_be_read_stop_the_start(outpost, accounting, tmp_path):
    outpost.config = load_config(None, {"NONCESTR_ALERTS_SERVICES": str(tmp_path / "nothing")})
    async with AsyncExitStack() as stack:
        with pytest.raises(NoncestrError):
            await watch_pool(stack, outpost, accounting, Treasurer(outpost.clock.now_ms))
