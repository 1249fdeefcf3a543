"""Cashu tokens as a rail: sent to the miner by message (NIP-17), or as a payment request asks (NUT-18)."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from nips.errors import NipError
from nips.nip01 import VerifiedEvent, make_filter
from nips.nip17 import DM_RELAYS, parse_dm_relays
from nips.nut00 import InvalidMintUrl, Proof, normal_mint_url, proof_y, total
from nips.nut00_token import CashuToken, encode_token
from nips.nut18 import PaymentRequest, Transport, decode_request, payload
from zapper.ecash import UNIT, Locked
from zapper.ecash_ports import Handed, Poster, Wrapper
from zapper.ecash_rail import EcashRail
from zapper.errors import HttpFailed, PaymentBlocked
from zapper.payout import Intent
from zapper.profile import newest
from zapper.rails import Order, Prepared
from zapper.treasury import Treasury

log = logging.getLogger("zapper")

FETCH_S = 10.0


class CashuRail(EcashRail):
    """A token: locked to the miner's npub and sent by message, or as the payment request of its withdrawal asks."""

    def __init__(self, treasuries: Sequence[Treasury], *, wrapper: Wrapper, poster: Poster, **parts: Any) -> None:
        """`parts`: as of `NutzapRail`."""
        super().__init__(treasuries, **parts)
        self._wrapper = wrapper
        self._poster = poster

    @property
    def name(self) -> str:
        """For people and logs."""
        return f"cashu tokens of {', '.join(self._treasuries)}"

    async def prepare(self, order: Order) -> Prepared:
        """Outputs for a token. `order.destination`: a payment request, a mint's URL, or "". Raises as the port."""
        wanted, amount = order.destination.strip(), order.amount_msat // 1000
        if wanted[:4].lower() == "creq":
            return self._prepared("cashu", await self._for_request(decode_request(wanted), amount, order))
        try:
            treasury = await self._treasury([normal_mint_url(wanted)] if wanted else None, amount)
        except InvalidMintUrl as error:
            raise PaymentBlocked(f"the mint that was named: {error}") from None
        locked = await self._outputs(treasury, amount, self._lock(treasury, "02" + order.miner))
        relays = await self._message_relays(order.miner)
        return self._prepared(
            "cashu", msgspec.structs.replace(locked, recipient=order.miner, relays=relays, line=order.line)
        )

    async def _for_request(self, request: PaymentRequest, amount: int, order: Order) -> Locked:
        """Outputs as a payment request (NUT-18) asks. Raises PaymentBlocked."""
        if request.unit not in (None, UNIT):
            raise PaymentBlocked(f"the payment request is in {request.unit}, the pool pays in {UNIT}")
        if request.amount not in (None, amount):
            raise PaymentBlocked(f"the payment request is over {request.amount} sat, the withdrawal over {amount}")
        way = self._way(request)
        treasury = await self._treasury(request.mints or None, amount)
        # Without a lock it is whoever's that reads it first; so the payee wants it.
        lock = None if request.lock is None else self._lock(treasury, request.lock)
        locked = await self._outputs(treasury, amount, lock)
        return msgspec.structs.replace(
            locked,
            recipient=way.target if way.kind == "nostr" else "",
            relays=way.relays,
            url=way.target if way.kind == "post" else "",
            request_id=request.id,
            listed="creq",
            line=order.line,
        )

    def _way(self, request: PaymentRequest) -> Transport:
        """The first way to send it that can be gone. Raises PaymentBlocked: ecash that is signed should get there."""
        reasons = []
        for way in request.transports:
            try:
                if way.kind == "post":
                    self._poster.check_url(way.target)
            except HttpFailed as error:
                reasons.append(f"{way.target}: {error.reason}")
                continue
            return way
        if reasons:
            raise PaymentBlocked(f"the payment request cannot be sent to {'; '.join(reasons)}")
        raise PaymentBlocked("the payment request names no way to send it that the pool knows (nostr, post)")

    async def _message_relays(self, miner: str) -> tuple[str, ...]:
        """Where the miner wants messages (10050); none when it has not said, or no relay tells."""
        try:
            events = await self._feed.fetch([make_filter(authors=[miner], kinds=[DM_RELAYS])], timeout_s=FETCH_S)
            found = newest(events, DM_RELAYS, miner, now_s=self._clock() // 1000)
            return () if found is None else parse_dm_relays(found)
        except NipError:
            return ()
        except Exception as error:  # each bridge has its own: the pool's relays are left
            log.info("where %s wants messages is not known: %s", miner, error)
            return ()

    def _text(self, locked: Locked, sent: Sequence[Proof]) -> str:
        if locked.listed == "creq":
            return payload(locked.request_id, mint=locked.mint, unit=UNIT, proofs=tuple(sent), memo=locked.line)
        token = encode_token(CashuToken(locked.mint, UNIT, tuple(sent), locked.line))
        return f"{locked.line}\n\n{token}\n\nOnly your key can spend it."

    def _carrier(self, intent: Intent, locked: Locked, sent: Sequence[Proof]) -> VerifiedEvent | None:  # noqa: ARG002 - the base's
        return None if locked.url else self._wrapper.wrap(locked.recipient, self._text(locked, sent))

    async def _deliver(self, handed: Handed, locked: Locked, sent: Sequence[Proof]) -> None:
        if not locked.url:
            await self._to_relays(handed)
            return
        await self._poster.post_json(locked.url, self._text(locked, sent))

    def _evidence(self, locked: Locked, sent: Sequence[Proof], handed: Handed) -> Mapping[str, Any]:  # noqa: ARG002 - the base's
        if locked.lock:
            return self._shown(locked, sent)
        ys = sorted(proof_y(proof) for proof in sent)
        return {"mint": locked.mint, "unit": UNIT, "amount": total(sent), "ys": ys}
