"""The demo's wallet provider over real HTTP, alone and with the whole zapper in front of it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import pytest

from nips.bolt11 import decode_invoice
from nips.lnurl import InvalidLnurl, LnurlRefused, parse_invoice_reply, parse_pay_params
from nips.nip01 import UnsignedEvent, encode_event
from nips.nip19 import encode_npub
from nips.nip57 import build_zap_request, check_zap_receipt, check_zap_request, zap_request_text
from nips.pool.payout import parse_payout
from zapper.adapters.demo_lightning import DemoLightning, Listening
from zapper.adapters.fake_backend import FakeLightning, open_fake_lightning
from zapper.adapters.http_client import HttpLimits, open_http_client
from zapper.adapters.intent_store import open_intent_store
from zapper.config import ZapperConfig
from zapper.lightning_rails import LnurlRail
from zapper.plan import PlanLimits
from zapper.service import Zapper

pytestmark = pytest.mark.anyio
RELAY = "ws://127.0.0.1:7777"


@asynccontextmanager
async def demo(around: Any, node: FakeLightning, **users: str) -> AsyncIterator[Listening]:
    provider = DemoLightning(
        node=node, signer=around.provider.key, publisher=around.feed, network="regtest", users=users
    )
    async with anyio.create_task_group() as tasks:
        yield await tasks.start(provider.run)
        tasks.cancel_scope.cancel()


@pytest.fixture
async def node(around: Any, tmp_path: Path) -> AsyncIterator[FakeLightning]:
    async with open_fake_lightning(tmp_path / "wallet.sqlite", network="regtest", clock=around.clock.seconds) as found:
        yield found


def zap_request(around: Any, miner: str, amount_msat: int = 5000) -> str:
    return zap_request_text(
        around.signer.sign(
            build_zap_request(
                recipient=miner, amount_msat=amount_msat, lnurl="l", relays=[RELAY], content="", created_at=1
            )
        )
    )


async def test_it_refuses_other_networks_and_other_hosts(around: Any, node: FakeLightning) -> None:
    def make(**changes: Any) -> DemoLightning:
        fields = {"node": node, "signer": around.signer, "publisher": around.feed, "network": "regtest", **changes}
        return DemoLightning(**fields)

    make()
    for changes in ({"network": "main"}, {"host": "0.0.0.0"}, {"users": {"Bad Name": "aa" * 32}}):
        with pytest.raises(ValueError, match=r"regtest|this machine|name"):
            make(**changes)


async def test_it_answers_as_lud06_and_lud16_ask(around: Any, node: FakeLightning) -> None:
    miner = around.signer.pubkey
    async with demo(around, node, alice=miner) as where, open_http_client(HttpLimits(allow_private=True)) as http:
        base = f"http://{where.host}:{where.port}"
        assert where.address("alice") == f"alice@127.0.0.1:{where.port}"
        value = await http.get_json(f"{base}/.well-known/lnurlp/alice")
        with pytest.raises(InvalidLnurl):
            parse_pay_params(value)
        params = parse_pay_params(value, allow_http_loopback=True)
        assert params.nostr_pubkey == around.provider.key.pubkey
        assert ["text/identifier", where.address("alice")] in json.loads(params.metadata)
        plain = decode_invoice(parse_invoice_reply(await http.get_json(f"{params.callback}?amount=5000")))
        assert (plain.amount_msat, plain.description_hash) == (5000, params.metadata_hash)
        text = zap_request(around, miner)
        zap = decode_invoice(
            parse_invoice_reply(await http.get_json(f"{params.callback}?amount=5000&nostr={quote(text)}"))
        )
        assert zap.description_hash == check_zap_request(text).description_hash
        with pytest.raises(LnurlRefused, match="no such user"):
            parse_pay_params(await http.get_json(f"{base}/.well-known/lnurlp/bob"))


async def test_every_npub_is_a_name_of_its_own(around: Any, node: FakeLightning) -> None:
    miner = around.signer.pubkey
    name = encode_npub(miner)
    async with demo(around, node) as where, open_http_client(HttpLimits(allow_private=True)) as http:
        base = f"http://{where.host}:{where.port}"
        params = parse_pay_params(await http.get_json(f"{base}/.well-known/lnurlp/{name}"), allow_http_loopback=True)
        text = zap_request(around, miner)
        asked = f"{params.callback}?amount=5000&nostr="
        zap = decode_invoice(parse_invoice_reply(await http.get_json(asked + quote(text))))
        assert zap.description_hash == check_zap_request(text).description_hash
        with pytest.raises(LnurlRefused, match="another npub"):
            parse_invoice_reply(await http.get_json(asked + quote(zap_request(around, "ab" * 32))))
        wrong = name[:-1] + ("q" if name[-1] != "q" else "p")
        with pytest.raises(LnurlRefused, match="no such user"):
            parse_pay_params(await http.get_json(f"{base}/.well-known/lnurlp/{wrong}"))


@pytest.mark.parametrize(
    "query",
    [
        "",
        "amount=0",
        "amount=x",
        "amount=999",
        "amount=100000000001",
        "amount=5000&nostr={}",
        "amount=6000&nostr=R",
        "amount=5000&nostr=O",
        "amount=5000&nostr=F",
    ],
)
async def test_it_refuses_what_does_not_hold(around: Any, node: FakeLightning, query: str) -> None:
    """R: a request over another amount, O: for another npub, F: with a forged signature."""
    miner = around.signer.pubkey
    right = zap_request(around, miner)
    sig_at = right.index('"sig":"') + 7
    forged = right[:sig_at] + ("0" if right[sig_at] != "0" else "1") + right[sig_at + 1 :]
    for mark, text in (("=R", right), ("=O", zap_request(around, "ab" * 32)), ("=F", forged)):
        query = query.replace(mark, "=" + quote(text))
    async with demo(around, node, alice=miner) as where, open_http_client(HttpLimits(allow_private=True)) as http:
        with pytest.raises(LnurlRefused):
            parse_invoice_reply(await http.get_json(f"http://127.0.0.1:{where.port}/lnurlp/alice/callback?{query}"))


async def test_a_paid_zap_gets_one_receipt_even_when_relays_are_away_at_first(around: Any, node: FakeLightning) -> None:
    """The receipt is signed once, kept, and sent after a restart."""
    miner = around.signer.pubkey
    text = zap_request(around, miner)
    described = check_zap_request(text)
    invoice = decode_invoice(
        await node.create_invoice(
            amount_msat=5000, description_hash=described.description_hash, account="alice", zap_request=text
        )
    )
    around.feed.down = True
    async with demo(around, node, alice=miner):
        await node.pay(invoice, max_fee_msat=0)
        with anyio.fail_after(60):
            while (await node.settled_zaps())[0].receipt is None:
                await anyio.lowlevel.checkpoint()
    [kept] = await node.settled_zaps()
    around.feed.down = False
    async with demo(around, node, alice=miner):
        with anyio.fail_after(60):
            await around.feed.until(lambda: any(event.kind == 9735 for event in around.feed.events.values()))
            while await node.settled_zaps():
                await anyio.lowlevel.checkpoint()
    [receipt] = [event for event in around.feed.events.values() if event.kind == 9735]
    assert encode_event(receipt) == kept.receipt
    check_zap_receipt(receipt, provider=around.provider.key.pubkey, request=described, bolt11=invoice.text)


async def test_the_whole_way_from_earnings_to_a_receipt(around: Any, node: FakeLightning) -> None:
    """Three miners with real profiles, HTTP, invoices, wallet and receipts; the books agree to the msat."""
    names = ("alice", "bob", "carol")
    keys = {
        name: around.miner(name, (number + 2) * 1_000_000 + number, profile="") for number, name in enumerate(names)
    }
    async with (
        demo(around, node, **keys) as where,
        open_http_client(HttpLimits(allow_private=True)) as http,
        open_intent_store(around.path) as store,
    ):
        for name in names:
            content = json.dumps({"name": name, "lud16": where.address(name)})
            around.feed.add(around.miners[name].sign(UnsignedEvent(0, around.clock.seconds(), (), content)))
        rail = LnurlRail(
            node,
            http=http,
            signer=around.signer,
            network="regtest",
            relays=(RELAY,),
            now_s=around.clock.seconds,
            allow_http_loopback=True,
        )
        zapper = Zapper(
            ZapperConfig(
                pool=around.address,
                pool_name="Demo",
                relays=(RELAY,),
                limits=PlanLimits(minimum_msat=1000),
            ),
            signer=around.signer,
            owed=around.ledger,
            store=store,
            rails={"zap": rail, "lnurl": rail},
            feed=around.feed,
            clock=around.clock,
        )
        before = await node.balance_msat()
        await zapper.pay_round()
        assert zapper.status.why_unpaid == {}
        received = [await node.account_msat(name) for name in names]
        assert received == [2_000_000, 3_000_000, 4_000_000]
        assert before - await node.balance_msat() == 9_000_000
    records = [parse_payout(event) for event in around.feed.events.values() if event.kind == 4215]
    assert sorted(record.amount_msat for record in records) == received
    assert all(around.feed.events[record.proof["receipt"]].kind == 9735 for record in records)
    assert {record.miner for record in records} == set(keys.values())


async def test_without_the_demo_flag_loopback_is_not_paid(around: Any, node: FakeLightning) -> None:
    miner = around.miner("alice", 2_000_000, profile="")
    async with demo(around, node, alice=miner) as where:
        around.feed.add(
            around.miners["alice"].sign(
                UnsignedEvent(0, around.clock.seconds(), (), json.dumps({"lud16": where.address("alice")}))
            )
        )
        async with open_http_client() as http:
            around.http = http
            async with around.open() as (zapper, _):
                await zapper.pay_round()
                assert "not a public address" in (zapper.why_unpaid(miner) or "")
