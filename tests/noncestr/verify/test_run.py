"""The verify command: what it asks of relays, what it says, and with which status it ends."""

import hashlib
import json
from pathlib import Path

import anyio
import pytest

from nips.keys import SecretKey
from nips.nip01 import Event, VerifiedEvent
from nips.pool.address import PoolAddress
from nips.pool.chain import FIRST
from nips.pool.payout import PayoutBody, build_payout
from nips.pool.terms import Limits, Offer, TermsBody, build_terms
from noncestr.errors import NoncestrError
from noncestr.verify.run import Asked, run_verify
from noncestr.verify.source import receipt_filters
from noncestr.verify.workers import pretends
from relay_bridge.adapters.event_store import SqliteEventStore
from relay_bridge.adapters.relay_server import RelayServer
from relay_bridge.policy import OpenPolicy
from relay_bridge.ports import Outcome

POOL = SecretKey(hashlib.sha256(b"noncestr test key verify").digest())
ADDRESS = PoolAddress(POOL.pubkey, "regtest")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("relay", "pool", "network", "says"),
    [
        ("http://127.0.0.1", POOL.pubkey, "regtest", "ws://"),
        ("", POOL.pubkey, "regtest", "ws://"),
        ("ws://127.0.0.1:1", "npub1nonsense", "regtest", "--pool"),
        ("ws://127.0.0.1:1", POOL.pubkey, "moon", "--network"),
    ],
)
async def test_a_wrong_question_is_said(relay: str, pool: str, network: str, says: str) -> None:
    with pytest.raises(NoncestrError, match=says):
        await run_verify(Asked(relay, pool, network, timeout_s=1))


@pytest.mark.anyio
async def test_no_relay_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert await run_verify(Asked("ws://127.0.0.1:1", POOL.pubkey, timeout_s=2)) == 2
    assert "nothing was checked" in capsys.readouterr().err


async def verify_events(tmp_path: Path, events: list[VerifiedEvent]) -> int:
    async with (
        SqliteEventStore(tmp_path / "relay.sqlite") as store,
        RelayServer("127.0.0.1", 0, store, OpenPolicy()) as server,
    ):
        for event in events:
            stored = anyio.Event()

            def done(outcome: Outcome, stored: anyio.Event = stored) -> None:
                assert outcome is Outcome.STORED
                stored.set()

            store.put(event, done)
            await stored.wait()
        return await run_verify(Asked(server.url, POOL.pubkey, json=True, timeout_s=10))


def terms(fee_ppm: int = 0, signer: SecretKey = POOL) -> VerifiedEvent:
    body = TermsBody(offers={"main": Offer(fee_ppm=fee_ppm)}, keys=((POOL.pubkey, "edge"),), limits=Limits())
    return signer.sign(build_terms(ADDRESS, FIRST, 1_700_000_000, body))


@pytest.mark.anyio
async def test_a_clean_log_is_status_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await verify_events(tmp_path, [terms()]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["holds"] is True
    assert report["pool"] == str(ADDRESS)


@pytest.mark.anyio
async def test_a_fork_is_status_1_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    forked = [terms(), terms(fee_ppm=5)]
    assert await verify_events(tmp_path, forked) == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert {event.id for event in forked} <= {event for found in findings for event in found["events"]}


@pytest.mark.anyio
async def test_an_empty_relay_proves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await verify_events(tmp_path, []) == 1
    assert [found["code"] for found in json.loads(capsys.readouterr().out)["findings"]] == ["nothing-found"]


def payout(receipt: object, seq: int) -> VerifiedEvent:
    proof = {"bolt11": "x", "preimage": "y", "receipt": receipt}
    body = PayoutBody(str(seq), POOL.pubkey, 1000, 0, "0" * 64, "zap", proof)
    return POOL.sign(build_payout(ADDRESS, FIRST, body, seq))


def test_zap_receipts_are_asked_for_by_id_in_portions() -> None:
    ids = [hashlib.sha256(bytes([n % 256, n // 256])).hexdigest() for n in range(900)]
    events = [payout(receipt, n) for n, receipt in enumerate([*ids, 7, "short", ids[0].upper()])]
    filters = receipt_filters(events)
    assert [len(wanted.ids or ()) for wanted in filters] == [400, 400, 100]
    assert frozenset().union(*(wanted.ids or frozenset() for wanted in filters)) == frozenset(ids)
    assert receipt_filters([terms()]) == []


def test_only_what_poses_as_this_log_counts_against_it() -> None:
    event = terms()
    broken = Event(event.id, event.pubkey, event.created_at, event.kind, event.tags, event.content + " ", event.sig)
    assert pretends(broken, ADDRESS)
    assert not pretends(broken, PoolAddress("0" * 64, "regtest"))
    assert not pretends(None, ADDRESS)
