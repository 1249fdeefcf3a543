"""The house and its lanes over a real socket: templates, tips, terms, publishing, and what happens when either goes."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool.address import PoolAddress
from nips.pool.chain import next_link
from nips.pool.terms import Offer, Terms, TermsBody, build_terms, parse_terms
from stratum_edge.adapters.house_client import HouseClient
from stratum_edge.adapters.house_server import Household, HouseServer
from stratum_edge.adapters.house_wire import Link
from stratum_edge.errors import HouseGone, HouseRefused, NameRefused, SourceUnavailable
from stratum_edge.ports import Submitted, Template, Tip
from stratum_edge.privacy import Hidden, HiddenNames

KEY = SecretKey(hashlib.sha256(b"noncestr test key house").digest())
POOL = PoolAddress(KEY.pubkey, "regtest")
TEMPLATE = Template(
    height=7, version=0x20000000, prevhash=b"\x01" * 32, nbits=0x207FFFFF, curtime=1_700_000_000, mintime=1,
    coinbase_sat=5_000_000_000, transactions=(b"\x02" * 300, b""), txids=(b"\x03" * 32, b"\x04" * 32),
    witness_commitment=b"\x6a\x24",
)  # fmt: skip

pytestmark = pytest.mark.anyio


@dataclass
class FakeChain:
    network: str = "regtest"
    at: Tip = field(default_factory=lambda: Tip(6, b"\x01" * 32))
    lost: float = 0.0
    moved: anyio.Event = field(default_factory=anyio.Event)
    submitted: list[bytes] = field(default_factory=list)
    hold: anyio.Event | None = None

    async def template(self) -> Template:
        if self.lost:
            raise SourceUnavailable("no node answers")
        return TEMPLATE

    async def quick_template(self) -> Template | None:
        return None if self.lost else TEMPLATE

    async def wait_tip(self, known: bytes) -> Tip:
        while self.at.hash == known:
            await self.moved.wait()
        return self.at

    def tip(self) -> Tip:
        return self.at

    def move(self, tip: Tip) -> None:
        self.at = tip
        moved, self.moved = self.moved, anyio.Event()
        moved.set()

    def lost_s(self) -> float:
        return self.lost

    async def submit(self, block: bytes) -> Submitted:
        if self.hold is not None:
            await self.hold.wait()
        self.submitted.append(block)
        return Submitted(False, "high-hash")

    async def confirmations(self, block_hash: bytes) -> int | None:
        return 3 if block_hash == self.at.hash else None


class FakeTerms:
    def __init__(self) -> None:
        self.moved = anyio.Event()
        self.issue(None)

    def issue(self, last: Terms | None) -> None:
        body = TermsBody(offers={"main": Offer(window_min_work=1 << 200)}, keys=((KEY.pubkey, "edge"),))
        head = None if last is None else last
        link = next_link(None) if head is None else type(head.link)(head.link.seq + 1, head.id)
        self.event = KEY.sign(build_terms(POOL, link, 1000, body))
        moved, self.moved = self.moved, anyio.Event()
        moved.set()

    def current(self) -> Terms:
        return parse_terms(self.event)

    def current_event(self) -> VerifiedEvent:
        return self.event

    async def changed(self, known: str) -> Terms:
        while self.event.id == known:
            await self.moved.wait()
        return self.current()


class FakeOutbox:
    def __init__(self) -> None:
        self.taken: list[tuple[str, str]] = []
        self.full = False

    async def publish(self, event: VerifiedEvent, *, chain: str = "") -> None:
        if self.full:
            raise OSError("the disk is full")
        self.taken.append((event.id, chain))


class FakeNames:
    async def resolve(self, address: str) -> str:
        if address != "alice@example.org":
            raise NameRefused(f"nobody is {address}")
        return KEY.pubkey


class FakePayability:
    async def advice(self, miner: str) -> str | None:
        return "set a lightning address" if miner == KEY.pubkey else None


class FakeLanes:
    def __init__(self) -> None:
        self.links: dict[int, Link] = {}
        self.statuses: list[tuple[int, Any]] = []
        self.changed = anyio.Event()

    def _tell(self) -> None:
        changed, self.changed = self.changed, anyio.Event()
        changed.set()

    def join(self, lane: int, link: Link) -> Any:
        if lane > 1:
            raise HouseRefused("there are two lanes")
        self.links[lane] = link
        self._tell()
        return {"orders": lane}

    def leave(self, lane: int, link: Link) -> None:
        if self.links.get(lane) is link:
            del self.links[lane]
        self._tell()

    def hear(self, lane: int, status: Any) -> None:
        self.statuses.append((lane, status))
        self._tell()


class FakeHidden:
    def __init__(self) -> None:
        self.names = HiddenNames(bytes(32))
        self.version = 0
        self.moved = anyio.Event()

    async def changed(self, known: int) -> int:
        while known == self.version:
            await self.moved.wait()
        return self.version

    def put(self, miner: str, hidden: Hidden) -> None:
        self.names.put(miner, hidden)
        self.version += 1
        moved, self.moved = self.moved, anyio.Event()
        moved.set()


class House:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.chain = FakeChain()
        self.terms = FakeTerms()
        self.outbox = FakeOutbox()
        self.lanes = FakeLanes()
        self.hidden = FakeHidden()

    @asynccontextmanager
    async def open(self, *, guests_only: bool = False) -> AsyncIterator[None]:
        household = Household(self.terms, self.outbox, self.lanes, FakeNames(), FakePayability(), self.hidden)
        server = HouseServer(self.path, self.chain, None if guests_only else household)
        async with anyio.create_task_group() as tasks:
            await tasks.start(server.run)
            yield
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def client_of(house: House, lane: int = 0) -> AsyncIterator[HouseClient]:
    async def which() -> int:
        return lane

    async def orders(_given: Any) -> None:
        pass

    client = HouseClient(house.path, {"lane": which, "orders": orders})
    async with anyio.create_task_group() as tasks:
        await tasks.start(client.run)
        yield client
        tasks.cancel_scope.cancel()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "house.sock")


async def test_a_lane_hides_the_names_that_the_house_hides(house: House) -> None:
    everything = Hidden(everything=True, workers=frozenset())
    house.hidden.put("aa", everything)
    async with house.open(), client_of(house) as client:
        with anyio.fail_after(20):
            await client.privacy.told()
            assert client.privacy.in_log("aa", "rig") == house.hidden.names.in_log("aa", "rig") != "rig"
            assert client.privacy.in_log("bb", "rig") == "rig"
            house.hidden.put("bb", everything)
            while client.privacy.in_log("bb", "rig") == "rig":  # noqa: ASYNC110 - no event says what was told
                await anyio.sleep(0.01)
    assert HouseClient(house.path).privacy.in_log("cc", "rig") == "", "nothing is known, nothing is told"


async def test_a_lane_sees_the_chain_the_terms_and_the_outbox(house: House) -> None:
    async with house.open(), client_of(house) as client:
        source = client.source
        assert source.network == "regtest"
        assert await source.template() == await source.quick_template() == TEMPLATE
        assert await source.wait_tip(b"") == house.chain.at == source.tip()
        house.chain.move(Tip(7, b"\x07" * 32))
        assert await source.wait_tip(b"\x01" * 32) == Tip(7, b"\x07" * 32)
        assert await source.submit(b"block") == Submitted(False, "high-hash")
        assert house.chain.submitted == [b"block"]
        assert await source.confirmations(b"\x07" * 32) == 3
        assert await source.confirmations(b"\x08" * 32) is None
        first = await client.terms.changed("")
        assert first == client.terms.current() == house.terms.current()
        house.terms.issue(first)
        assert (await client.terms.changed(first.id)).link.seq == 1
        event = KEY.sign(UnsignedEvent(1, 1000, (), "hello"))
        await client.publisher.publish(event, chain="a/0")
        assert house.outbox.taken == [(event.id, "a/0")]
        assert await client.names.resolve("alice@example.org") == KEY.pubkey
        with pytest.raises(NameRefused, match="nobody is bob@"):
            await client.names.resolve("bob@example.org")
        assert await client.payability.advice(KEY.pubkey) == "set a lightning address"
        assert await client.payability.advice("00" * 32) is None


async def test_what_the_house_can_not_do_reaches_the_lane_as_its_own_error(house: House) -> None:
    async with house.open(), client_of(house) as client:
        house.outbox.full = True
        with pytest.raises(HouseRefused, match="disk is full"):
            await client.publisher.publish(KEY.sign(UnsignedEvent(1, 1000, (), "")))
        house.chain.lost = 5.0
        with pytest.raises(SourceUnavailable, match="no node answers"):
            await client.source.template()
        assert await client.source.quick_template() is None
        while not client.source.lost_s():  # noqa: ASYNC110 - told once a second, with no event here
            await anyio.sleep(0.05)
        assert client.source.lost_s() >= 5.0


async def test_a_guest_has_the_chain_and_nothing_else(house: House) -> None:
    async with house.open(guests_only=True), client_of(house) as client:
        assert await client.source.template() == TEMPLATE
        with pytest.raises(HouseRefused, match="there is no publish here"):
            await client.publisher.publish(KEY.sign(UnsignedEvent(1, 1000, (), "")))
        with pytest.raises(NameRefused):
            await client.names.resolve("alice@example.org")
        assert await client.payability.advice(KEY.pubkey) is None
        with pytest.raises(LookupError):
            client.terms.current()


async def test_the_house_can_go_and_come_back(house: House) -> None:
    async with house.open():
        pass
    with pytest.raises(HouseGone, match="nothing answers"):
        await HouseClient(house.path).run()
    async with anyio.create_task_group() as tasks:
        gone = anyio.Event()

        async def first_house(*, task_status) -> None:
            async with house.open():
                task_status.started()
                await gone.wait()

        await tasks.start(first_house)
        async with client_of(house) as client:
            assert client.gone_s == 0.0
            await client.source.wait_tip(b"")
            gone.set()
            while client.connected:  # noqa: ASYNC110 - no event for it
                await anyio.sleep(0.01)
            assert client.source.lost_s() >= 0.0
            for ask in (client.source.template, lambda: client.source.confirmations(b"")):
                with pytest.raises(SourceUnavailable):
                    await ask()
            with pytest.raises(HouseGone):
                await client.source.submit(b"block")
            with pytest.raises(HouseGone):
                await client.publisher.publish(KEY.sign(UnsignedEvent(1, 1000, (), "")))
            async with house.open():
                while not client.connected:  # noqa: ASYNC110 - no event for it
                    await anyio.sleep(0.01)
                assert await client.source.submit(b"block") == Submitted(False, "high-hash")


async def test_a_block_on_its_way_when_the_lane_dies_still_reaches_the_chain(house: House) -> None:
    house.chain.hold = anyio.Event()
    async with house.open():
        async with client_of(house) as client, anyio.create_task_group() as tasks:
            tasks.start_soon(client.source.submit, b"block")
            await client.source.confirmations(b"")  # by now the submission was read: calls are read in order
            tasks.cancel_scope.cancel()
        house.chain.hold.set()
        with anyio.fail_after(5):
            while not house.chain.submitted:  # noqa: ASYNC110 - no event for it
                await anyio.sleep(0.01)
    assert house.chain.submitted == [b"block"]
