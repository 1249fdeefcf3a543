"""Attestations over the web: for this pool, of a miner, of today, one a worker and day."""

import pytest

from client_web.api.answers import Refused
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent
from nips.pool.address import PoolAddress
from nips.pool.attestation import AttestationBody, build_attestation
from noncestr.books.attestations import DAY_S, WebAttestations

pytestmark = pytest.mark.anyio
POOL = PoolAddress("ab" * 32, "regtest")
MINER = SecretKey(bytes([1] * 32))
NOW_S = 20_000 * DAY_S + 40_000


class Relays:
    def __init__(self) -> None:
        self.published = []
        self.stored = []
        self.away = False

    async def publish(self, event):
        if self.away:
            raise OSError("no disk")
        self.published.append(event)

    async def fetch(self, filters, *, timeout_s=10):
        if self.away:
            raise OSError("no relay")
        return self.stored


def event(worker="rig", second=NOW_S, pool=POOL, signer=MINER, model="S21"):
    body = AttestationBody(worker, model, "fw", 10**14, "cd" * 32)
    return signer.sign(build_attestation(pool, body, second))


@pytest.fixture
def relays():
    return Relays()


@pytest.fixture
def door(relays):
    async def knows(miner):
        return miner == MINER.pubkey

    return WebAttestations(POOL, relays, knows, lambda: NOW_S * 1000)


async def refused(door, told):
    with pytest.raises(Refused) as refusal:
        await door.take(told)
    return refusal.value.status


async def test_one_a_worker_and_day(door, relays):
    first = event()
    await door.take(first)
    await door.take(first)
    assert await refused(door, event(model="S19")) == 409
    await door.take(event("other"))
    await door.take(event(second=NOW_S - DAY_S))
    assert len(relays.published) == 4


async def test_a_day_that_a_relay_has_is_known_after_a_restart(door, relays):
    relays.stored = [event(), MINER.sign(UnsignedEvent(4222, NOW_S, (), "junk"))]
    assert await refused(door, event(model="S19")) == 409
    await door.take(event("other"))


@pytest.mark.parametrize(
    ("told", "status"),
    [
        (event(pool=PoolAddress("cd" * 32, "regtest")), 400),
        (event(second=NOW_S - DAY_S - 1), 400),
        (event(second=NOW_S + 901), 400),
        (event(signer=SecretKey(bytes([2] * 32))), 403),
        (MINER.sign(UnsignedEvent(4222, NOW_S, (POOL.tag(),), "{}")), 400),
        (MINER.sign(UnsignedEvent(1, NOW_S, (POOL.tag(),), "{}")), 400),
    ],
)
async def test_what_is_not_good_is_refused(door, relays, told, status):
    assert await refused(door, told) == status
    assert relays.published == []


async def test_what_could_not_be_published_may_come_again(door, relays):
    relays.away = True
    assert await refused(door, event()) == 503
    relays.away = False
    await door.take(event())
    assert len(relays.published) == 1
