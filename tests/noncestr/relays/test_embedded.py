"""The embedded relay: who it says it is, and whose notes it takes."""

import hashlib
import json
import socket
import time
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from websockets.legacy.client import connect

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, encode_event
from nips.pool.address import PoolAddress
from noncestr.addresses import free_port
from noncestr.config.sections import Config
from noncestr.config.social import SocialConfig
from noncestr.relays.embedded import start_relay

POOL = SecretKey(hashlib.sha256(b"noncestr test key embedded relay").digest())
MINER = SecretKey(hashlib.sha256(b"noncestr test key embedded relay miner").digest())


@pytest.mark.anyio
@pytest.mark.parametrize("replies", [True, False])
async def test_it_names_itself_and_takes_notes_to_the_pool_if_they_are_answered(tmp_path: Path, replies: bool) -> None:
    config = Config(social=SocialConfig(replies=replies))
    place = free_port("127.0.0.1", 0)
    address = PoolAddress(POOL.pubkey, "regtest")
    note = MINER.sign(UnsignedEvent(1, int(time.time()), (("p", POOL.pubkey),), "stats"))
    # Before it listens, somebody else tries to.
    with pytest.raises(OSError, match="in use"):
        socket.create_server((place.host, place.port))
    async with AsyncExitStack() as stack:
        relay = await start_relay(stack, config, tmp_path, place, address, lambda: frozenset({POOL.pubkey}))
        async with httpx.AsyncClient(trust_env=False) as http:
            found = await http.get(f"http://127.0.0.1:{place.port}", headers={"Accept": "application/nostr+json"})
        assert found.json()["name"] == f"{config.pool.name} relay"
        assert found.json()["pubkey"] == POOL.pubkey
        async with connect(f"ws://127.0.0.1:{place.port}") as client:
            await client.send(f'["EVENT",{encode_event(note).decode()}]')
            # First of all it asks who is there (NIP-42), which nobody has to say.
            answers = [json.loads(await client.recv()) for _ in range(2)]
        assert [answer[0] for answer in answers] == ["AUTH", "OK"]
        assert answers[1][1:3] == [note.id, replies]
        assert relay.store.is_known(MINER.pubkey) is False
        assert sum(relay.counts.values()) > 0
    assert (tmp_path / "relay.sqlite").exists()
