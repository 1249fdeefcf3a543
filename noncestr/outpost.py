"""A part of somebody's pool on a host of its own: its key, its bridge to the pool's relays, the terms it follows."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import anyio

from nips.nip19 import encode_npub
from nips.pool.address import PoolAddress
from noncestr.books.archived import Archived
from noncestr.chains import open_source
from noncestr.citizen.profiles import delegate_profile, relay_list
from noncestr.clock import WallClock
from noncestr.config.sections import Config
from noncestr.edge.parts import CHAIN_SOCKET
from noncestr.errors import NoncestrError
from noncestr.feed import BridgeFeed
from noncestr.keys.passphrase import Passphrase
from noncestr.keys.remote_key import RemoteKey
from noncestr.relays.log_bridge import flush, log_bridge
from noncestr.running import first_of, looping, running
from noncestr.terms.follower import TermsFollower
from noncestr.terms.promise_keeper import publish_signed
from noncestr.terms.promises import REGTEST, key_at_hand, load_signer
from stratum_edge.adapters.house_client import HouseClient
from stratum_edge.ports import TemplateSource

# How often a part that the terms do not name says what it waits for.
REMIND_S: Final = 60.0
# A part knows its pool by npub only: so much of it stands in its name.
SHOWN_NPUB: Final = 12
# The roles whose keys are in the data folder.
AT_HAND: Final = ("edge", "zapper")
Say = Callable[[str], None]
Stopped = Callable[[], Awaitable[None]]


class Outpost:
    """One part in a data folder of its own. `role`: what its key does for the pool, as the terms call it; "" for a part
    that signs nothing and has no key.
    """

    def __init__(
        self, config: Config, data: Path, *, pool: PoolAddress, relays: tuple[str, ...], role: str, say: Say
    ) -> None:
        self.config = config
        self.data = data
        self.pool = pool
        self.relays = relays
        self.role = role
        self.say = say
        self.clock = WallClock()
        # Edges and zappers sign much, or money: their keys are at hand; the accounting's may be elsewhere.
        self.signer = load_signer(data / "keys", role, Passphrase()) if role else None
        self.key = None if self.signer is None else key_at_hand(self.signer)
        if self.key is None and role in AT_HAND:
            raise NoncestrError(f"the {role}'s key has to be in {data / 'keys'}: no remote signer signs so often")
        archived = Archived(pool)
        self._archived = archived
        self.bridge = log_bridge(
            config.relay,
            data,
            relays,
            pool=pool,
            signer=self.key,
            speakers=self._speakers,
            own=() if self.signer is None else (self.signer.pubkey,),
            archived=archived,
        )
        self.feed = BridgeFeed(self.bridge)
        self.terms = TermsFollower(data / "terms.json", pool, self.feed)

    @asynccontextmanager
    async def reached(self) -> AsyncIterator[None]:
        """Bridge and terms, until the block is left; what is still to be published then has a moment to get out."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(running(self.bridge.run))
            stack.push_async_callback(flush, self.bridge, self.say)
            if isinstance(self.signer, RemoteKey):
                await stack.enter_async_context(running(self.signer.run))
            await stack.enter_async_context(running(self.terms.run))
            await stack.enter_async_context(looping(self._archived.follow, self.feed, self.terms))
            self._introduce()
            yield

    def _introduce(self) -> None:
        if self.signer is not None:
            self.say(f"{self.role} npub: {encode_npub(self.signer.pubkey)}")
            self.say(f"{self.role} hex:  {self.signer.pubkey}")
        self.say(f"of the {self.pool.network} pool {encode_npub(self.pool.pubkey)}, over {', '.join(self.relays)}")

    def _speakers(self) -> frozenset[str]:
        """Whose chains are watched: those of the keys that the terms name, and ours."""
        own = frozenset() if self.signer is None else frozenset({self.signer.pubkey})
        return own | {self.pool.pubkey} | {key for role in ("edge", "accounting", "zapper") for key in self.keys(role)}

    def keys(self, role: str) -> frozenset[str]:
        """The keys (hex) that the terms in force name for a role; none while none were seen."""
        try:
            return self.terms.current().body.keys_of(role)
        except LookupError:
            return frozenset()

    @property
    def is_named(self) -> bool:
        """Whether the terms in force name our key."""
        return self.signer is not None and self.signer.pubkey in self.keys(self.role)

    async def until_named(self) -> None:
        """Return once the pool's terms name our key; say once a minute what is waited for."""
        while not self.is_named:
            await self._wait(f"its operator puts the npub into [pool] {self.role}")

    async def until_left_out(self) -> None:
        """Return once the terms name our key no more."""
        while self.is_named:
            await self.terms.changed(self.terms.current().id)

    async def accounting_key(self) -> str:
        """The key (hex) of the pool's accounting, as soon as terms name one: of several the first by key."""
        while not self.keys("accounting"):
            await self._wait("they name no accounting")
        return min(self.keys("accounting"))

    async def until_other_accounting(self, known: str) -> None:
        """Return once another key than `known` is the accounting's."""
        while self.keys("accounting") and min(self.keys("accounting")) == known:
            await self.terms.changed(self.terms.current().id)

    async def _wait(self, missing: str) -> None:
        try:
            known = self.terms.current().id
            self.say(f"waiting: the pool's terms do not name this {self.role or 'part'}: {missing}")
        except LookupError:
            known = ""
            self.say("waiting: no terms of the pool were seen on its relays yet")
        with anyio.move_on_after(REMIND_S):
            await self.terms.changed(known)

    async def publish_profile(self) -> None:
        """Our key's profile and relay list, if the configuration has profiles."""
        if self.signer is None or not self.config.social.profiles:
            return
        now_s = self.clock.now_ms() // 1000
        name = encode_npub(self.pool.pubkey)[:SHOWN_NPUB]
        told = (
            delegate_profile(self.pool, self.role, now_s, name=name),
            relay_list(now_s, self.relays, self.config.relay.social),
        )
        for unsigned in told:
            await publish_signed(self.bridge, self.signer, unsigned)

    async def serve_while_named(self, stopped: Stopped, serve: Callable[[AsyncExitStack], Awaitable[None]]) -> None:
        """Start what `serve` starts once the terms name our key, and keep it running until stopped.

        Raises NoncestrError when the terms name the key no more.
        """
        async with self.reached():
            await first_of(stopped, self.until_named)
            if not self.is_named:
                return
            async with AsyncExitStack() as serving:
                await serve(serving)
                await self.publish_profile()
                await first_of(stopped, self.until_left_out)
            self.say("stopping ...")
        self.say(f"stopped; everything is kept in {self.data}")
        if not self.is_named:
            raise NoncestrError(f"the pool's terms name this {self.role} no more")


@asynccontextmanager
async def reach_chain(
    config: Config, data: Path, pool: PoolAddress, chain_of: Path | None
) -> AsyncIterator[TemplateSource]:
    """The pool's chain, seen from a host of its own. `chain_of`: the data folder of a pool on this machine whose
    embedded chain it is. Raises NoncestrError.
    """
    if chain_of is not None:
        if pool.network != REGTEST:
            raise NoncestrError("--chain-of is for regtest: other networks need [chain] source and [node]")
        house = HouseClient(chain_of / CHAIN_SOCKET)
        async with running(house.run):
            yield house.source
    elif config.chain.source == "embedded":
        raise NoncestrError(
            'it needs its pool\'s chain: [chain] source = "bitcoind" and [node] name a node of it; on regtest,'
            " --chain-of the data folder of a pool on this machine"
        )
    else:
        async with open_source(config, data, WallClock()) as source:
            yield source
