"""Places in chains, as the relay bridge is told of them."""

import hashlib

import pytest

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent
from nips.pool import kinds
from nips.pool.address import PoolAddress
from noncestr.standing import CHAINS, chains_of
from relay_bridge.chains import Place

KEY = SecretKey(hashlib.sha256(b"noncestr test key standing").digest())
POOL = PoolAddress(KEY.pubkey, "regtest")
PREV = "ab" * 32


def placed(kind: int, *tags: tuple[str, ...], keys: frozenset[str] = frozenset({KEY.pubkey})) -> Place | None:
    return chains_of(POOL, lambda: keys)(KEY.sign(UnsignedEvent(kind, 5, tags, "")))


def test_lanes_and_books() -> None:
    a = POOL.tag()
    receipt = placed(kinds.RECEIPT, a, ("seq", "3"), ("prev", PREV), ("lane", "2"))
    assert receipt == Place(f"{KEY.pubkey}/2", 3, PREV, frozenset({kinds.RECEIPT}))
    statement, status = (placed(kind, a, ("seq", "0")) for kind in (kinds.STATEMENT, kinds.STATUS))
    assert statement == status
    assert statement is not None
    assert (statement.chain, statement.kinds) == (f"{KEY.pubkey}/accounting", CHAINS[2])


@pytest.mark.parametrize(
    ("kind", "tags"),
    [
        (kinds.JOB, (POOL.tag(), ("seq", "0"))),
        (kinds.RECEIPT, (POOL.tag(), ("seq", "0"))),
        (kinds.TERMS, (("a", f"34210:{KEY.pubkey}:main"), ("seq", "0"))),
        (kinds.TERMS, (POOL.tag(), ("seq", "x"))),
        (kinds.TERMS, (POOL.tag(), ("seq", "1"))),
        (kinds.TERMS, (POOL.tag(),)),
    ],
)
def test_what_stands_nowhere(kind: int, tags: tuple[tuple[str, ...], ...]) -> None:
    assert placed(kind, *tags) is None


def test_strangers_stand_nowhere() -> None:
    assert placed(kinds.TERMS, POOL.tag(), ("seq", "0"), keys=frozenset()) is None


def test_every_chained_kind_is_in_one_chain() -> None:
    together = [kind for chain in CHAINS for kind in chain]
    assert len(together) == len(set(together))
    assert set(together) == kinds.LEDGER_KINDS - {kinds.JOB, kinds.BLOCK}
