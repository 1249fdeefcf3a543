"""The treasury of a pool in parts: who asks, who is heard, an edge's node that the accounting counts over a relay."""

import json
import threading
from contextlib import AsyncExitStack, asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import anyio
import pytest

from accounting.ledger import Ledger
from nips.keys import SecretKey
from nips.nip01 import make_filter
from nips.nip19 import encode_npub
from nips.pool.address import PoolAddress
from nips.pool.chain import FIRST
from nips.pool.funds import Place, parse_funds
from nips.pool.kinds import STATISTICS
from nips.pool.terms import Offer, TermsBody, build_terms, parse_terms
from noncestr.books.treasury import Treasurer
from noncestr.books.treasury_parts import holder_keys, open_part_funds, report_edge_funds, start_part_treasury
from noncestr.config.file import load_config
from noncestr.errors import ConfigError
from noncestr.keys.files import load_or_create
from noncestr.outpost import Outpost
from relay_bridge.adapters.event_store import SqliteEventStore
from relay_bridge.adapters.fetch import fetch_events
from relay_bridge.adapters.relay_server import RelayServer
from relay_bridge.policy import PoolPolicy

pytestmark = pytest.mark.anyio
POOL_KEY = SecretKey(bytes([9]) * 32)
POOL = PoolAddress(POOL_KEY.pubkey, "regtest")
ZAPPER, EDGE, ACCOUNTING, COLD = (SecretKey(bytes([n]) * 32).pubkey for n in (1, 2, 3, 4))
NODE = {"NONCESTR_CHAIN_SOURCE": "bitcoind", "NONCESTR_NODE_USER": "u", "NONCESTR_NODE_PASSWORD": "p"}
WALLET = {**NODE, "NONCESTR_NODE_URLS": "http://127.0.0.1:1", "NONCESTR_TREASURY_WALLET": "pool"}


def signed_terms(*keys):
    body = TermsBody(offers={"main": Offer()}, keys=tuple(sorted(keys)))
    return POOL_KEY.sign(build_terms(POOL, FIRST, 1_700_000_000_000, body))


TERMS = parse_terms(signed_terms((ZAPPER, "zapper"), (EDGE, "edge"), (ACCOUNTING, "accounting")))


def config(**env):
    return load_config(None, {f"NONCESTR_{name}": value for name, value in env.items()})


def test_zappers_are_heard_and_others_once_they_are_named():
    assert holder_keys(config(), lambda: TERMS) == {ZAPPER: "zapper"}
    named = config(TREASURY_HOLDERS=f"{encode_npub(EDGE)},{ACCOUNTING},{COLD},{ZAPPER}")
    all_of_them = {ZAPPER: "zapper", EDGE: "edge", ACCOUNTING: "accounting", COLD: "holder"}
    assert holder_keys(named, lambda: TERMS) == all_of_them
    assert holder_keys(named, lambda: TERMS, own=[ACCOUNTING, ZAPPER]) == {EDGE: "edge", COLD: "holder"}


def test_before_terms_were_seen_only_the_configuration_names_holders():
    def none():
        raise LookupError("no terms")

    assert holder_keys(config(), none) == {}
    assert holder_keys(config(TREASURY_HOLDERS=COLD), none) == {COLD: "holder"}


@pytest.mark.parametrize("env", [{"TREASURY_PART": "web"}, {"TREASURY_HOLDERS": "npub1nobody"}])
def test_a_part_without_a_key_and_a_key_that_is_none_are_refused(env):
    with pytest.raises(ConfigError):
        config(**env)


async def test_one_part_asks_the_node_and_the_others_say_who_does():
    loaded, said = load_config(None, {**WALLET, "NONCESTR_TREASURY_DESCRIPTORS": "wpkh(xpub)"}), []
    async with AsyncExitStack() as stack:
        found = await open_part_funds(stack, loaded, "accounting", said.append)
        assert [each.name for each in found] == ["node", "descriptors"]
        assert said == []
        assert await open_part_funds(stack, loaded, "zapper", said.append) == []
        assert "asked by the accounting" in said.pop()
        assert await open_part_funds(stack, config(), "zapper", said.append) == []
        assert said == [], "nothing is configured, nothing is to be said"


@pytest.fixture
def node():
    """A node's RPC with a wallet called pool."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert (self.path, asked["method"]) == ("/wallet/pool", "getbalances")
            body = b'{"result":{"mine":{"trusted":1.50000000}},"error":null,"id":%d}' % asked["id"]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_) -> None:
            """Nothing: the tests' output is kept clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@asynccontextmanager
async def part(folder, role, relay, env):
    outpost = Outpost(load_config(None, env), folder / role, pool=POOL, relays=(relay,), role=role, say=lambda _: None)
    async with outpost.reached():
        yield outpost


async def test_an_edge_tells_what_its_node_holds_and_the_accounting_counts_it(tmp_path, node):
    keys = {role: load_or_create(tmp_path / role / "keys", role).pubkey for role in ("edge", "accounting")}
    env = {**WALLET, "NONCESTR_NODE_URLS": node, "NONCESTR_TREASURY_PART": "edge"}
    books = SimpleNamespace(
        fold=SimpleNamespace(ledger=Ledger(accounts={"miner:aa:owed": -1000})),
        condition=lambda: SimpleNamespace(synced=True),
    )
    async with SqliteEventStore(tmp_path / "events.db") as store:
        store.put(signed_terms(*((key, role) for role, key in keys.items())), lambda _: None)
        policy = PoolPolicy(POOL.pubkey, POOL.network, lambda: frozenset(keys.values()), lambda _: False)
        async with RelayServer("127.0.0.1", 0, store, policy) as server:
            holders = {"NONCESTR_TREASURY_HOLDERS": keys["edge"]}
            async with (
                part(tmp_path, "edge", server.url, env) as edge,
                part(tmp_path, "accounting", server.url, holders) as accounting,
                AsyncExitStack() as stack,
            ):
                treasurer = Treasurer(accounting.clock.now_ms)
                await start_part_treasury(stack, treasurer, (), accounting, books)  # type: ignore[arg-type] - as far as asked
                found = treasurer.stock()
                assert found is not None
                assert [(each.source, each.msat) for each in found.holdings] == [(keys["edge"], None)]
                await report_edge_funds(stack, edge)
                with anyio.fail_after(60):
                    while (found := treasurer.stock()) is None or found.funds_msat is None:  # noqa: ASYNC110 - polled
                        await anyio.sleep(0.01)
                assert (found.funds_msat, found.spare_msat) == (150_000_000_000, 149_999_999_000)
                assert [(each.name, each.source) for each in found.holdings] == [("node", keys["edge"])]
            asked = make_filter(kinds=[STATISTICS])
            (event,) = (await fetch_events([server.url], [asked], timeout_s=20)).events
            (place,) = parse_funds(event).places
            assert place == Place("node", 150_000_000_000, place.ms)
