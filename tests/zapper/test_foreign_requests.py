"""Payment requests (NUT-18) written by a wallet of others, @cashu/cashu-ts, which redeems what the pool sends it.

Messages are unwrapped by nostr-sdk; the mint is Nutshell.
"""

import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import nostr_sdk
import pytest

from nips.nip01 import VerifiedEvent, encode_event
from nips.nip61 import ListedMint
from nips.pool.withdrawal import WithdrawalBody, build_withdrawal
from tests.nips.requests import nprofile
from tests.zapper.conftest import Clock, Feed, secret
from tests.zapper.mints import MemoryMint
from tests.zapper.test_ecash_rails import LOCK, MINER, House, info_event, intent_of, order
from tests.zapper.test_ecash_rails import house_at as house_in_memory
from tests.zapper.test_nutshell import HERE, WAIT_S, cashu_ts, even, house_at, node, nutshell
from zapper.adapters.http_client import HttpLimits, open_http_client
from zapper.payout import Intent
from zapper.ports import Paid, Unclear

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]
WALLET = secret(9)
RELAY = "wss://wallet.example"
BY_NOSTR = {"type": "nostr", "target": nprofile(WALLET.pubkey, [RELAY]), "tags": [["n", "17"]]}
BY_POST = {"type": "post", "target": "https://shop.example/pay"}


async def written(**fields: Any) -> str:
    """A request as the wallet writes it."""
    made = await cashu_ts({"make": {"transports": [BY_NOSTR], "amount": 777, "unit": "sat", **fields}})
    return str(made["A"])


def message(event: VerifiedEvent) -> str:
    """What the wallet reads in a gift wrap."""
    keys = nostr_sdk.Keys.parse(WALLET.secret_bytes().hex())
    gift = nostr_sdk.UnwrappedGift.from_gift_wrap(keys, nostr_sdk.Event.from_json(encode_event(event).decode()))
    return str(gift.rumor().content())


async def intended(house: House, url: str, request: str) -> Intent:
    asked = replace(order(info_event([ListedMint(url)]), request), payout_id=os.urandom(8).hex())
    return intent_of(asked, await house.cashu.prepare(asked))


async def test_a_request_by_message_is_paid_and_redeemed(tmp_path: Path, feed: Feed, clock: Clock) -> None:
    async with nutshell(tmp_path) as url, house_at(tmp_path, url, feed, clock, 90 * 86_400) as house:
        # Without a lock; the mint written as no two wallets write it.
        mint = url.replace("http://", "HTTP://") + "/"
        text = await written(id="r-1", mints=["https://other.example", mint], description="my mining", single=True)
        assert isinstance(await house.cashu.send(await intended(house, url, text)), Paid)
        event, relays = house.courier.brought[-1]
        assert relays == (RELAY,)
        payload = json.loads(message(event))
        assert (payload["id"], payload["mint"], payload["unit"]) == ("r-1", url, "sat")
        assert await cashu_ts({"payload": json.dumps(payload)}) == {"amount": 777}
        # Locked as it asks, to a key of the wallet's: no other key takes it.
        text = await written(nut10={"kind": "P2PK", "data": "02" + LOCK.pubkey, "tags": []})
        paid = await house.cashu.send(await intended(house, url, text))
        assert isinstance(paid, Paid)
        payload = json.loads(message(house.courier.brought[-1][0]))
        assert "id" not in payload
        assert "error" in await cashu_ts({"payload": json.dumps(payload), "privkey": even(MINER)})
        assert await cashu_ts({"payload": json.dumps(payload), "privkey": even(LOCK)}) == {"amount": 777}
        assert (await house.treasury.totals()).free == 10_000 - 2 * 777


@asynccontextmanager
async def serving(make: dict[str, Any], privkey: str = "") -> AsyncIterator[tuple[str, str, Any]]:
    """The wallet with its server: its request, its URL, and what it says next."""
    command = [await node(), str(HERE / "npm" / "wallet.mjs")]
    asked = json.dumps({"serve": True, "make": make, "privkey": privkey})
    async with await anyio.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        await process.stdin.send(asked.encode())
        await process.stdin.aclose()
        said = b""

        async def line() -> dict[str, Any]:
            nonlocal said
            while b"\n" not in said:
                said += await process.stdout.receive()
            found, _, said = said.partition(b"\n")
            return dict(json.loads(found))

        try:
            with anyio.fail_after(WAIT_S):
                first = await line()
            yield first["request"], first["target"], line
        finally:
            if process.returncode is None:
                process.kill()


async def test_a_request_by_post_is_paid_and_redeemed(tmp_path: Path, feed: Feed, clock: Clock) -> None:
    await node()  # skips, which is said best before any task group is open
    async with nutshell(tmp_path) as url, house_at(tmp_path, url, feed, clock, 90 * 86_400) as house:
        open_to_all = {"id": "r-2", "amount": 777, "unit": "sat", "mints": [url]}
        locked = {**open_to_all, "nut10": {"kind": "P2PK", "data": "02" + LOCK.pubkey}}
        for make in (open_to_all, locked):
            async with serving(make, even(LOCK)) as (request, target, line):
                near = frozenset({f"127.0.0.1:{urlsplit(target).port}"})
                async with open_http_client(HttpLimits(private_hosts=near)) as poster:
                    house.cashu._poster = poster
                    assert isinstance(await house.cashu.send(await intended(house, url, request)), Paid)
                with anyio.fail_after(WAIT_S):
                    assert await line() == {"amount": 777, "id": "r-2"}
        # A wallet that refuses what it got (its key is another) has nothing, and the payout is not settled.
        async with serving(locked, even(MINER)) as (request, target, line):
            near = frozenset({f"127.0.0.1:{urlsplit(target).port}"})
            async with open_http_client(HttpLimits(private_hosts=near)) as poster:
                house.cashu._poster = poster
                answer = await house.cashu.send(await intended(house, url, request))
            assert isinstance(answer, Unclear)
            assert "status 400" in answer.reason
            with anyio.fail_after(WAIT_S):
                assert "error" in await line()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"unit": "usd"}, "the payment request is in usd, the pool pays in sat"),
        ({"amount": 778}, "the payment request is over 778 sat, the withdrawal over 777"),
        (
            {"mints": ["https://other.example"]},
            "of the mints it names the pool uses none; the pool's are http://mint.test",
        ),
        ({"nut10": {"kind": "HTLC", "data": "ab" * 32}}, "asks for a lock other than to a key"),
        (
            {"nut10": {"kind": "P2PK", "data": "02" + LOCK.pubkey, "tags": [["n_sigs", "2"]]}},
            "has conditions that the pool does not set",
        ),
        ({"transports": []}, "names no way to send it that the pool knows"),
        ({"transports": [{**BY_NOSTR, "tags": [["n", "4"]]}]}, "names no way to send it that the pool knows"),
        (
            {"transports": [{**BY_POST, "target": "http://shop.example"}]},
            "cannot be sent to http://shop.example: only https",
        ),
        ({"written": "B"}, "is a creqB (NUT-26)"),
        ({"written": "creqA!"}, "is not base64"),
        ({"written": "cashuB"}, "the mint that was named"),
    ],
)
async def test_what_is_not_served_is_told_to_its_miner(
    around: Any, tmp_path: Path, fields: dict[str, Any], reason: str
) -> None:
    which = fields.get("written", "A")
    made = {"transports": [BY_NOSTR], "amount": 777, "unit": "sat", **fields}
    text = which if len(which) > 1 else (await cashu_ts({"make": made}))[which]
    mint = MemoryMint()
    (tmp_path / "house").mkdir()
    async with house_in_memory(tmp_path / "house", mint, around.feed, around.clock) as house:
        await house.treasury.fund(5000)
        await house.treasury.recover()
        around.rails["cashu"] = house.cashu
        miner = around.miner("alice", 2_000_000)
        now_s = around.clock.seconds()
        body = WithdrawalBody("cashu", 777_000, text, now_s + 3600)
        around.feed.add(
            around.miners["alice"].sign(build_withdrawal(around.address, around.signer.pubkey, body, now_s))
        )
        async with around.open() as (zapper, store):
            await zapper.serve_requests()
            assert reason in (zapper.why_unpaid(miner) or "")
            assert await store.holds(miner) == {}
        assert (await house.treasury.totals()).free == 5000
        assert not house.courier.brought
