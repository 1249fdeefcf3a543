"""The wallet of the embedded mode: a fake Lightning node, and the wallet provider its miners have there."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from nips.keys import SecretKey
from nips.pool.address import PoolAddress
from noncestr.addresses import Bound
from noncestr.joints import ReceiptsToRelays
from noncestr.running import running
from relay_bridge.service import RelayBridge
from zapper.adapters.demo_lightning import DemoLightning
from zapper.adapters.fake_backend import FakeLightning, open_fake_lightning


@asynccontextmanager
async def demo_wallet(
    data: Path,
    *,
    wallet_key: SecretKey,
    pool: PoolAddress,
    lightning: Bound,
    bridge: RelayBridge,
    users: Mapping[str, str],
) -> AsyncIterator[FakeLightning]:
    """The pool's wallet; its miners', which has `wallet_key`, listens at `lightning` meanwhile. `users`: the names at
    that provider and their keys. Raises ValueError on any network but regtest.
    """
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(
            open_fake_lightning(data / "demo-lightning.sqlite", network=pool.network)
        )
        wallet = DemoLightning(
            node=node,
            signer=wallet_key,
            publisher=ReceiptsToRelays(bridge),
            network=pool.network,
            users=users,
            host=lightning.host,
            port=lightning.port,
            listener=lightning.take(),
        )
        await stack.enter_async_context(running(wallet.run))
        yield node
