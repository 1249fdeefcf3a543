"""The bridge to the log's relays: what is filled up, what is said when events have not got out."""

import hashlib
from pathlib import Path

import anyio
import pytest

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent
from nips.pool import kinds
from nips.pool.address import PoolAddress
from noncestr.books.archived import Archived
from noncestr.config.sections import RelayConfig
from noncestr.relays import log_bridge as module
from noncestr.relays.log_bridge import flush, log_bridge, reaches_log
from relay_bridge.service import RelayBridge

KEY = SecretKey(hashlib.sha256(b"noncestr test key log bridge").digest())
POOL = PoolAddress(KEY.pubkey, "regtest")
# Nobody listens on the discard port of this machine.
NOWHERE = "ws://127.0.0.1:9"

pytestmark = pytest.mark.anyio


def bridge_in(data: Path, own: tuple[str, ...]) -> RelayBridge:
    return log_bridge(
        RelayConfig(),
        data,
        (NOWHERE,),
        pool=POOL,
        signer=KEY,
        speakers=lambda: frozenset({KEY.pubkey}),
        own=own,
        archived=Archived(POOL),
    )


@pytest.mark.parametrize("own", [(), (KEY.pubkey,)])
async def test_what_has_not_got_out_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: tuple[()] | tuple[str]
) -> None:
    monkeypatch.setattr(module, "FLUSH_S", 0.05)
    said: list[str] = []
    bridge = bridge_in(tmp_path, own)
    async with anyio.create_task_group() as tasks:
        await tasks.start(bridge.run)
        assert not reaches_log(bridge)
        await flush(bridge, said.append)
        assert said == []
        await bridge.publish(KEY.sign(UnsignedEvent(kinds.BLOCK, 1_800_000_000, (), "")))
        await flush(bridge, said.append)
        tasks.cancel_scope.cancel()
    assert said == ["some events have not reached their relays yet: they are kept and sent at the next start"]
