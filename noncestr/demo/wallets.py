"""The ecash wallets of demo miners: one is paid by nutzap, one withdraws tokens. They stand for people: pool and mint
know them by their events alone.
"""

import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import anyio

from nips.errors import NipError
from nips.keys import SecretKey
from nips.nip01 import Filter, VerifiedEvent, make_filter
from nips.nip17 import parse_chat
from nips.nip44 import KeyCipher
from nips.nip59 import GIFT_WRAP, MAX_TWEAK_S, unwrap
from nips.nip61 import NUTZAP, NUTZAP_INFO, ListedMint, build_info, parse_info, parse_nutzap
from nips.nut00 import Proof, total
from nips.nut00_token import decode_token
from nips.nut02 import input_fee
from nips.nut11 import sign_input
from nips.pool.address import PoolAddress
from nips.pool.settings import SettingsBody, build_settings
from nips.pool.withdrawal import WithdrawalBody, build_withdrawal
from noncestr.feed import BridgeFeed
from zapper.adapters.cashu_mint import CashuMint, open_mint
from zapper.ecash import change_outputs
from zapper.errors import MintError

log = logging.getLogger("noncestr.demo")

WITHDRAWN_SAT: Final = 2100
# How long a request may wait until so much is due.
OPEN_S: Final = 3600
# Wallets look for messages so often, and ask for the next token so long after one came.
LOOK_S: Final = 5.0
PAUSE_S: Final = 300.0


class DemoWallets:
    """`keys`: the demo miners', by name: the last is nutzapped, the first withdraws. `wallet`: what nutzaps lock to."""

    def __init__(
        self,
        keys: Mapping[str, SecretKey],
        *,
        wallet: SecretKey,
        pool: PoolAddress,
        zapper: str,
        relays: Sequence[str],
        feed: BridgeFeed,
        publish: Callable[[VerifiedEvent], Awaitable[None]],
        now_s: Callable[[], int],
    ) -> None:
        names = list(keys)
        self._zapped, self._asking = names[-1], names[0]
        self._keys = keys
        self._wallet = wallet
        self._pool = pool
        self._zapper = zapper
        self._relays = tuple(relays)
        self._feed = feed
        self._publish = publish
        self._now_s = now_s
        self._seen: set[str] = set()

    async def run(self, url: str) -> None:
        """Say how to be paid with ecash of this mint, and redeem what comes, until cancelled."""
        async with open_mint(url) as mint, anyio.create_task_group() as tasks:
            tasks.start_soon(self._be_nutzapped, mint)
            tasks.start_soon(self._withdraw, mint)

    # Nutzaps

    async def _be_nutzapped(self, mint: CashuMint) -> None:
        key = self._keys[self._zapped]
        info = build_info(
            pubkey=self._wallet.pubkey,
            mints=[ListedMint(mint.url, frozenset({"sat"}))],
            relays=self._relays,
            created_at=self._now_s(),
        )
        await self._publish(key.sign(info))
        settings = build_settings(self._pool.pubkey, SettingsBody(methods=("nutzap", "zap")), self._now_s())
        await self._publish(key.sign(settings))
        wanted = make_filter(kinds=[NUTZAP], tags={"p": [key.pubkey]})
        while True:
            for event in await self._news([wanted]):
                # What was zapped by an older 10019 is locked to the same key.
                listed = await self._fetch([make_filter(authors=[key.pubkey], kinds=[NUTZAP_INFO])])
                for told in listed:
                    try:
                        proofs = parse_nutzap(event, parse_info(told)).proofs
                    except NipError:
                        continue
                    await self._redeem(mint, proofs, self._wallet, self._zapped, "a nutzap")
            await anyio.sleep(LOOK_S)

    # Withdrawals

    async def _withdraw(self, mint: CashuMint) -> None:
        key = self._keys[self._asking]
        cipher = KeyCipher(key)
        asked_at = 0
        while True:
            if self._now_s() >= asked_at:
                body = WithdrawalBody("cashu", WITHDRAWN_SAT * 1000, "", self._now_s() + OPEN_S)
                await self._publish(key.sign(build_withdrawal(self._pool, self._zapper, body, self._now_s())))
                asked_at = self._now_s() + OPEN_S
            since = max(0, self._now_s() - OPEN_S - MAX_TWEAK_S)
            wanted = make_filter(kinds=[GIFT_WRAP], tags={"p": [key.pubkey]}, since=since)
            for event in await self._news([wanted]):
                try:
                    text = parse_chat(unwrap(event, cipher)).text
                except NipError:
                    continue
                for line in text.splitlines():
                    if line.startswith("cashuB"):
                        await self._redeem(mint, decode_token(line).proofs, key, self._asking, "a token")
                        asked_at = min(asked_at, self._now_s() + int(PAUSE_S))
            await anyio.sleep(LOOK_S)

    # Both

    async def _fetch(self, filters: Sequence[Filter]) -> list[VerifiedEvent]:
        try:
            return await self._feed.fetch(filters)
        except Exception as error:  # the bridge's own: asked again soon
            log.info("a demo wallet could not ask: %s", error)
            return []

    async def _news(self, filters: Sequence[Filter]) -> list[VerifiedEvent]:
        found = [event for event in await self._fetch(filters) if event.id not in self._seen]
        self._seen |= {event.id for event in found}
        return found

    async def _redeem(self, mint: CashuMint, proofs: Sequence[Proof], key: SecretKey, name: str, what: str) -> None:
        """Swap locked ecash into one's own; a wallet of people would keep it, this one has no use for it."""
        try:
            rest = total(proofs) - input_fee(proofs, await mint.keysets())
            active = await mint.active_keyset()
            outputs = change_outputs(active.id, rest, await mint.keys(active.id), os.urandom)
            inputs = [
                Proof(proof.id, proof.amount, proof.secret, proof.C, None, sign_input(proof.secret, key))
                for proof in proofs
            ]
            await mint.swap(inputs, outputs)
        except MintError as error:
            # Most often one redeemed before the last stop.
            log.debug("%s does not redeem %s: %s", name, what, error)
            return
        log.info("demo miner %s redeemed %s of %d sat at the mint", name, what, total(proofs))
