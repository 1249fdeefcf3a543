"""Nutzaps as a rail (NIP-61): ecash published to where the miner's 10019 says, locked to the key it names."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from nips.nip01 import VerifiedEvent, decode_event, encode_event
from nips.nip61 import ListedMint, NutzapInfo, build_nutzap, parse_info
from nips.nut00 import Proof, normal_mint_url
from zapper.ecash import UNIT, Locked
from zapper.ecash_ports import Handed
from zapper.ecash_rail import EcashRail, decode_verified
from zapper.payout import Intent
from zapper.rails import Order, Prepared


class NutzapRail(EcashRail):
    """NIP-61: ecash locked to the key of the miner's 10019, at a mint it lists, published to the relays it lists."""

    @property
    def name(self) -> str:
        """For people and logs."""
        return f"nutzaps from {', '.join(self._treasuries)}"

    async def prepare(self, order: Order) -> Prepared:
        """Outputs locked to the miner's nutzap key. Raises PaymentBlocked, NipError."""
        info = parse_info(order.named_by)
        amount = order.amount_msat // 1000
        takes = [normal_mint_url(mint.url) for mint in info.mints if mint.takes(UNIT)]
        treasury = await self._treasury(takes, amount)
        listed = info.listed(treasury.url)
        assert listed is not None  # it was chosen among them
        locked = await self._outputs(treasury, amount, self._lock(treasury, info.lock_key))
        locked = msgspec.structs.replace(
            locked,
            recipient=info.owner,
            relays=info.relays,
            listed=listed.url,
            line=order.line,
            info=encode_event(order.named_by).decode(),
        )
        return self._prepared("nutzap", locked)

    def _carrier(self, intent: Intent, locked: Locked, sent: Sequence[Proof]) -> VerifiedEvent:
        mint = ListedMint(locked.listed, frozenset({UNIT}))
        unsigned = build_nutzap(
            info=NutzapInfo(intent.miner, locked.lock[2:], (mint,), locked.relays),
            mint=mint,
            unit=UNIT,
            proofs=sent,
            comment=locked.line,
            created_at=self._clock() // 1000,
        )
        return self._signer.sign(unsigned)

    async def _deliver(self, handed: Handed, locked: Locked, sent: Sequence[Proof]) -> None:  # noqa: ARG002 - the base's
        # The pool's relays have it in any case: verifiers read it there.
        await self._feed.publish(decode_verified(handed.event))
        await self._to_relays(handed)

    def _evidence(self, locked: Locked, sent: Sequence[Proof], handed: Handed) -> Mapping[str, Any]:
        own = {"nutzap": decode_event(handed.event).id, "info": json.loads(locked.info)}
        return {**own, **self._shown(locked, sent)}
