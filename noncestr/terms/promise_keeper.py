"""What the pool promises, kept up to date: terms as the configuration says, keys and lanes closed, the announcement."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import anyio

from nips.keys import AsyncSigner
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool.address import PoolAddress
from nips.pool.chain import Head
from nips.pool.targets import work_from_bits
from nips.pool.terms import Terms
from nips.pool.views import build_announcement
from noncestr.clock import WallClock
from noncestr.config.sections import Config
from noncestr.edge.lane_gate import GatedFeed
from noncestr.edge.lane_watch import parse_lane
from noncestr.edge.lanes import close_keys, close_lanes
from noncestr.keys.remote_key import RemoteKeyError
from noncestr.terms.closed_signers import close_signers
from noncestr.terms.keeper import TermsKeeper
from noncestr.terms.promises import first_block_bits, refuse_changed_schemes, refuse_revoked, terms_body
from relay_bridge.errors import RelayBridgeError
from relay_bridge.service import RelayBridge
from stratum_edge.demo_target import adjusted_block_bits

logger = logging.getLogger("noncestr")

# How often the demo target is compared with the hashrate; terms change only when it is off by a factor.
TARGET_CHECK_SECONDS: Final = 10.0
# Fewer shares say too little of the hashrate: 20 are right within a quarter, two times out of three.
TARGET_SHARES: Final = 20
# The keys that terms name: (public key in hex, role).
Named = Sequence[tuple[str, str]]


class Publisher(Protocol):
    """The relay bridge, as far as speaking goes."""

    async def publish(self, event: VerifiedEvent) -> None:
        """Durable in the outbox when it returns."""


async def publish_signed(bridge: Publisher, signer: AsyncSigner, unsigned: UnsignedEvent) -> None:
    """Say who we are and where; when a signer elsewhere is away, what the relays have stands."""
    try:
        event = await signer.sign(unsigned)
    except RemoteKeyError as error:
        logger.warning("kind %d stays as it was: %s", unsigned.kind, error)
        return
    await bridge.publish(event)


class PromiseKeeper:
    """The one place of a pool that signs terms and its announcement."""

    def __init__(
        self,
        path: Path,
        *,
        pool: PoolAddress,
        signer: AsyncSigner,
        relays: tuple[str, ...],
        bridge: RelayBridge,
        gate: GatedFeed,
        config: Callable[[], Config],
        named: Callable[[], Named],
        places: Callable[[], tuple[tuple[str, ...], str]],
        clock: WallClock,
    ) -> None:
        """`config` and `named` give what holds now, `places` the Stratum URLs and the page's."""
        self.terms = TermsKeeper(path, signer, pool, bridge)
        self._pool = pool
        self._signer = signer
        self._relays = relays
        self._bridge = bridge
        self._gate = gate
        self._config = config
        self._named = named
        self._places = places
        self._clock = clock
        # One at a time: terms are made of those before.
        self._issuing = anyio.Lock()

    async def issue(self, given_up: Mapping[str, Head] | None = None, block_bits: int | None = None) -> Terms:
        """The configured terms; what was closed stays closed, and the demo target where it was, unless one is given.

        `given_up`: the last batches of lanes whose journal is gone. Raises NoncestrError.
        """
        async with self._issuing:
            closed, config = dict(given_up or {}), self._config()
            bits = block_bits or first_block_bits(config)
            if not self.terms.issued:
                return await self._sign(bits, closed)
            last = self.terms.current()
            refuse_revoked(config, last.body.closed)
            if block_bits is None and bits is not None and last.body.limits.block_bits is not None:
                bits = last.body.limits.block_bits
            closed.update(last.body.closed)
            named = {key for key, _ in self._named()}
            left_out = last.body.keys_of("edge") - named
            signers = (last.body.keys_of("accounting") | last.body.keys_of("zapper")) - named
            lanes = config.edge.closed
            due = {lane.edge for lane in map(parse_lane, lanes) if str(lane) not in closed}
            with self._gate.hold(left_out | due) as hold:
                closed = {**await close_signers(self._bridge, self._pool, signers - left_out), **closed}
                closed = {**await close_keys(self._bridge, self._pool, left_out), **closed}
                closed = {**await close_lanes(self._bridge, self._pool, lanes, closed), **closed}
                issued = await self._sign(bits, closed)
                if issued.id != last.id:
                    hold.until(issued.id)
            return issued

    async def _sign(self, bits: int | None, closed: Mapping[str, Head]) -> Terms:
        body = terms_body(self._config(), self._pool.pubkey, self._named(), self._relays, bits, closed)
        refuse_changed_schemes(body.offers, self.terms.every())
        return await self.terms.issue(body, self._clock.now_ms())

    async def announce(self) -> None:
        """Say where the pool is and which terms are in force."""
        stratum, web = self._places()
        announcement = build_announcement(
            self._pool,
            name=self._config().pool.name,
            terms=self.terms.current().id,
            stratum=stratum,
            relays=self._relays,
            web=web,
            created_at=self._clock.now_ms() // 1000,
        )
        await publish_signed(self._bridge, self._signer, announcement)

    async def promise_again(self, given_up: Mapping[str, Head] | None = None) -> Terms:
        """New terms if the configuration or what is given up asks for them, and an announcement. Raises as `issue`."""
        issued = await self.issue(given_up)
        await self.announce()
        return issued

    async def follow_hashrate(self, measured: Callable[[], tuple[int, int]]) -> None:
        """Regtest: keep the demo target where blocks come as often as configured, until cancelled. `measured` gives
        (good shares so far, hashes a second).
        """
        while True:
            await anyio.sleep(TARGET_CHECK_SECONDS)
            bits = self.terms.current().body.limits.block_bits
            assert bits is not None
            shares, hashrate = measured()
            if shares < TARGET_SHARES:
                continue
            wanted = adjusted_block_bits(bits, hashrate, self._config().chain.block_seconds)
            if wanted is not None:
                try:
                    await self.issue(block_bits=wanted)
                    await self.announce()
                except (RemoteKeyError, RelayBridgeError, OSError) as error:
                    logger.warning("the demo target stays as it is, or is not announced: %s", error)
                    continue
                logger.info("new terms: a block takes about %d hashes now", work_from_bits(wanted))
