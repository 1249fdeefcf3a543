"""The configuration as published terms of paying, and as what the zapper keeps to: the same numbers."""

from pathlib import Path

import pytest

from noncestr.config.file import load_config
from noncestr.config.sections import Config
from noncestr.errors import ConfigError
from noncestr.payouts.policy import payout_limits, payout_terms
from noncestr.payouts.wiring import has_lightning, pays
from zapper.plan import PlanLimits

EVERYTHING = """
[terms]
minimum_payout_sat = 7
[payouts]
schedule = "0 12 * * *"
methods = ["cashu", "zap"]
per_day_sat = 9
network_fee = "miner"
max_fee_ppm = 5000
max_fee_sat = 3
onchain_sat = 50000
idle_days = 10
give_up_days = 20
private_hosts = ["wallet.lan:8080", "[::1]:9"]
"""


def config(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "pool.toml"
    path.write_text(text)
    return load_config(path, {})


def test_what_is_promised_is_what_is_kept(tmp_path: Path) -> None:
    found = config(tmp_path, EVERYTHING)
    assert payout_limits(found) == PlanLimits(
        minimum_msat=7000,
        per_day_msat=9000,
        idle_days=10,
        give_up_days=20,
        max_fee_ppm=5000,
        max_fee_floor_msat=3000,
        fee_borne=True,
        onchain_msat=50_000_000,
    )
    terms = payout_terms(found, "bcrt1q")
    assert terms.to_json() == {
        "minimum_msat": 7000,
        "interval_s": 20,
        "network_fee": "miner",
        "coinbase": "bcrt1q",
        "schedule": "0 12 * * *",
        "methods": ["cashu", "zap"],
        "max_fee": [5000, 3000],
        "per_day_msat": 9000,
        "onchain_msat": 50_000_000,
        "idle_days": 10,
        "give_up_days": 20,
    }


def test_no_cap_is_promised_where_there_is_none() -> None:
    assert payout_terms(Config(), "").per_day_msat is None
    assert payout_limits(Config()).per_day_msat is None
    assert "per_day_msat" not in payout_terms(Config(), "").to_json()


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ('schedule = "@daily"', "five fields"),
        ('schedule = "at noon"', "five fields"),
        ('methods = ["bolt11"]', "each once"),
        ('methods = ["zap", "zap"]', "each once"),
        ("methods = []", "each once"),
        ('network_fee = "nobody"', "pool, miner"),
        ('private_hosts = ["wallet"]', "HOST:PORT"),
        ('private_hosts = ["wallet:0"]', "HOST:PORT"),
        ("give_up_days = 0", "between 1"),
    ],
)
def test_what_cannot_be_kept_is_refused(tmp_path: Path, line: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        config(tmp_path, f"[payouts]\n{line}\n")


def test_off_regtest_only_a_named_wallet_pays(tmp_path: Path) -> None:
    address = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
    main = f'[pool]\nnetwork = "main"\n[chain]\nsource = "bitcoind"\npayout = "{address}"\n'
    node = '[node]\nurls = ["http://127.0.0.1:8332"]\ncookie_files = ["/x"]\n'
    lnd = '[payouts]\nbackend = "lnd"\n[payouts.lnd]\nurl = "https://127.0.0.1:8080"\nmacaroon_file = "/m"\n'
    assert pays(Config(), "regtest")
    assert not pays(Config(), "main")
    assert not pays(config(tmp_path, '[payouts]\nbackend = "none"\n'), "regtest")
    assert not pays(config(tmp_path, main + node), "main")
    assert pays(config(tmp_path, main + node + lnd), "main")


@pytest.mark.parametrize("way", ['[payouts]\nonchain_wallet = "pay"\n', '[mint]\nurls = ["https://mint.example"]\n'])
def test_a_pool_may_pay_on_chain_alone_or_in_ecash_alone(tmp_path: Path, way: str) -> None:
    node = '[chain]\nsource = "bitcoind"\npayout = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"\n'
    node += '[pool]\nnetwork = "main"\n[node]\nurls = ["http://127.0.0.1:8332"]\ncookie_files = ["/x"]\n'
    found = config(tmp_path, node + way)
    assert (pays(found, "main"), has_lightning(found, "main")) == (True, False)
