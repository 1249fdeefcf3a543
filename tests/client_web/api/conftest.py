"""A pool of some miners, blocks and payouts, whose every answer has the fields that the document names."""

import hashlib
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI

from client_web.adapters.live import LiveFeed
from client_web.fakes import FakeReadModel, FakeRelayGate
from client_web.server import create_app
from client_web.site import Site
from nips.keys import SecretKey
from nips.nip19 import encode_npub

NOW = 1_800_000_000_000


def hex_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def block(number: int, finder: str) -> dict[str, Any]:
    return {
        "block": hex_of(f"block {number}"), "height": 100 + number, "found_ms": NOW + number, "finder": finder,
        "finder_npub": encode_npub(finder), "offer": "main", "gross_msat": 312_500_000_000, "status": "matured",
        "event": hex_of(f"announced {number}"), "statement": hex_of(f"statement {number}"), "effort_ppm": 1_100_000,
        "luck_ppm": 909_090, "matures_at_height": 205, "blocks_to_maturity": 0,
    }  # fmt: skip


def statement(number: int) -> dict[str, Any]:
    return {
        "statement": hex_of(f"statement {number}"), "seq": number, "created_ms": NOW,
        "type": "block", "block": hex_of(f"block {number}"), "height": 100 + number, "found_ms": NOW,
        "gross_msat": 10**11, "fee_msat": 10**9, "rows": 1,
        "window_work": str(1 << 80), "status": "pending",
    }  # fmt: skip


def statement_detail(number: int, miner: str) -> dict[str, Any]:
    row = {"pubkey": miner, "npub": encode_npub(miner), "work": "7", "msat": 99 * 10**9, "bonus_msat": 0}
    return {
        **statement(number), "event": hex_of(f"statement {number}"), "signer": hex_of("accounting"),
        "terms": hex_of("terms"), "offer": "main", "window_from_ms": NOW - 1, "heads": {"edge/0": [3, hex_of("batch")]},
        "split": [row],
    }  # fmt: skip


def reward(number: int) -> dict[str, Any]:
    return {
        "statement": hex_of(f"statement {number}"), "seq": number, "type": "block", "block": hex_of(f"block {number}"),
        "height": 100 + number, "found_ms": NOW, "offer": "main", "gross_msat": 10**11, "fee_msat": 10**9,
        "miners_msat": 99 * 10**9, "miners": 1, "window_work": "9", "status": "orphaned", "matures_at_height": None,
    }  # fmt: skip


def payout(number: int, miner: str) -> dict[str, Any]:
    return {
        "payout_id": f"p{number}", "event": hex_of(f"payout {number}"), "created_ms": NOW, "pubkey": miner,
        "npub": encode_npub(miner), "amount_msat": -5 if number == 2 else 1000, "network_fee_msat": 3, "method": "zap",
        "reverses": "p1" if number == 2 else None, "proof": "proven",
    }  # fmt: skip


RATES = {"5m": "5", "1h": "6"}
POINT = {"from_ms": NOW - 3_600_000, "to_ms": NOW, "hashrate_hs": "12", "work": "43200"}
TOTALS = dict.fromkeys(
    (
        "pending_msat",
        "matured_msat",
        "fee_pending_msat",
        "fee_msat",
        "network_fees_msat",
        "owed_msat",
        "paid_msat",
        "luck_msat",
        "luck_pending_msat",
    ),
    1,
)


SETTINGS = {
    "event": hex_of("settings"), "created_ms": NOW, "methods": ["zap"], "lightning": "a@b.c", "onchain": "", "mint": "",
    "destination_since_ms": NOW, "minimum_msat": 0, "donation_ppm": 0, "hide_workers": False, "notify": ["paid"],
}  # fmt: skip


def detail(miner: str) -> dict[str, Any]:
    worker = {"name": "rig", "alias": "Cellar", "hashrate_hs": {"5m": "5"}, "last_share_ms": NOW}
    estimate = {
        "offer": "main", "scheme": "pplns", "height": 101, "gross_msat": 10**11, "fee_ppm": 10_000, "work": "1",
        "window_work": "2", "window_full": False, "msat": 5, "daily_msat": 6,
    }  # fmt: skip
    device = {
        "name": "rig", "alias": "Cellar", "model": "axe", "attested_ms": NOW, "asked_hs": "5", "measured_hs": None,
        "hardware_milli": 1000, "factor_ppm": 1_500_000, "because": "attested today: a day counts when it is over",
    }  # fmt: skip
    standing = {
        "offer": "main", "ms": NOW, "part_ppm": 250_000, "fee_ppm": 10_000, "hours": 2, "full_hours": 4, "days": 0,
        "full_days": 30, "factor_ppm": 1_500_000, "bonus_msat": None, "because": "", "workers": [device],
    }  # fmt: skip
    return {
        "pubkey": miner, "npub": encode_npub(miner), "ms": NOW, "hashrate_hs": {**RATES, "24h": "7"}, "shares": 3,
        "rejects": 1, "rejects_by_code": {"21": 1}, "rejects_by_reason": {"stale": 1},
        "best_share_difficulty": "1024.5", "work": "9", "workers": [worker],
        "last_share_ms": NOW, "pending_msat": 1, "earned_msat": 2, "paid_msat": 1, "owed_msat": 1,
        "bonus_pending_msat": 1, "bonus_earned_msat": 0, "estimates": [estimate],
        "loyalty": [standing], "settings": SETTINGS, "unpaid_because": "",
        "cannot_be_paid": "",
    }  # fmt: skip


def listed(miner: str) -> dict[str, Any]:
    told = detail(miner)
    names = ("pubkey", "npub", "hashrate_hs", "shares", "rejects", "last_share_ms", "pending_msat", "owed_msat")
    return {**{name: told[name] for name in names}, "workers": 1, "paid_msat": 1}


@pytest.fixture
def model(miner_key: SecretKey, pool_key: SecretKey) -> FakeReadModel:
    miner = miner_key.pubkey
    pool = {
        "address": f"34210:{pool_key.pubkey}:regtest", "pubkey": pool_key.pubkey, "npub": encode_npub(pool_key.pubkey),
        "network": "regtest", "ms": NOW, "synced": True, "height": 130, "hashrate_hs": RATES, "miners": 1, "workers": 1,
        "shares": 3, "rejects": 1, "work": "9", "blocks_found": 3, "effort_ppm": 5, "luck_ppm": {"10": 4, "100": None},
        "block_work": "1000", "expected_ms": 5000, "chance_day_ppm": 999_999, "totals": TOTALS,
    }  # fmt: skip
    fake = FakeReadModel(pool, {miner: detail(miner)})
    fake.lists = {
        "miners": [listed(miner)],
        "miner hashrate 24h": [POINT],
        "hashrate 24h": [POINT],
        f"workers {miner}": detail(miner)["workers"],
        "blocks": [block(number, miner) for number in (3, 2, 1)],
        "rewards": [reward(2), reward(1)],
        "miner rewards": [{**reward(2), "miner_work": "7", "miner_msat": 8, "miner_bonus_msat": 1}],
        "payouts": [payout(2, miner), payout(1, miner)],
        "miner payouts": [payout(1, miner)],
        "statements": [statement(2), statement(1)],
        "statement": [statement_detail(2, miner), statement_detail(1, miner)],
        "balances": [{"pubkey": miner, "npub": encode_npub(miner), "owed_msat": 1, "pending_msat": 2}],
        "totals": [{"pubkey": miner, "npub": encode_npub(miner), "earned_msat": 1, "paid_msat": 2}],
    }
    holding = {
        "name": "node", "source": None, "msat": 5, "told_ms": NOW, "heard_ms": NOW, "age_ms": 0, "silence": None,
        "error": "",
    }  # fmt: skip
    fake.stock = {
        "ms": NOW, "owed_msat": 3, "pending_msat": 4, "advanced_msat": 0, "funds_msat": 5, "spare_msat": 2,
        "alert": None, "holdings": [holding],
    }  # fmt: skip
    fake.terms_in_force = {
        "id": hex_of("terms"), "seq": 0, "created_ms": NOW, "signer": pool_key.pubkey, "content": {"v": 1},
    }  # fmt: skip
    return fake


@pytest.fixture
def feed(model: FakeReadModel) -> LiveFeed:
    return LiveFeed(model, look_s=0.01, heartbeat_s=0.05, send_s=0.2, max_readers=3, max_per_address=2)


@pytest.fixture
def patient() -> Callable[[], int]:
    """A clock on which every question comes ten seconds after the one before."""
    return itertools.count(0, 10_000).__next__


@pytest.fixture
def app(site: Site, model: FakeReadModel, feed: LiveFeed, patient: Callable[[], int]) -> FastAPI:
    return create_app(site, model, FakeRelayGate(), live=feed, clock_ms=patient)
