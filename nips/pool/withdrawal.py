"""4217 withdrawal request: a miner asks for money it is owed, to where the request says (SPEC.md, "Miners' events")."""

from dataclasses import dataclass
from typing import Any

from nips.errors import InvalidPoolEvent
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool.address import PoolAddress, address_of
from nips.pool.content import decode_content, encode_content, one_tag, parse_id, read_int, read_str, require_kind
from nips.pool.kinds import WITHDRAWAL

# method -> the field that says where to, and whether it must stand.
_DESTINATIONS = {"bolt11": ("bolt11", True), "onchain": ("address", True), "cashu": ("request", False)}
METHODS = tuple(_DESTINATIONS)
# A payment request (NUT-18) that names mints and transports; an invoice with route hints has some 1,500 characters.
MAX_DESTINATION = 10_000
# How long a request may wait: what was asked for a year ago is not asked for today. Events carry this by `expires`.
MAX_LIFE_S = 7 * 86_400


@dataclass(frozen=True, slots=True)
class WithdrawalBody:
    """`destination`: an invoice (bolt11), a bitcoin address (onchain), or for cashu a payment request (NUT-18), "" for
    a token locked to the miner's npub, sent by message (NIP-17). `expires`: Unix seconds; later it is not acted on.
    """

    method: str
    amount_msat: int
    destination: str
    expires: int


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A 4217 event of a miner to a zapper. Each serves one payout at most."""

    id: str
    miner: str
    zapper: str
    pool: PoolAddress
    created_at: int
    body: WithdrawalBody


def build_withdrawal(pool: PoolAddress, zapper: str, body: WithdrawalBody, created_at: int) -> UnsignedEvent:
    """The event the miner signs; `zapper` is the key (hex) that pays."""
    fields: dict[str, Any] = {"method": body.method, "amount_msat": body.amount_msat, "expires": body.expires}
    if body.destination:
        fields[_DESTINATIONS[body.method][0]] = body.destination
    tags = (pool.tag(), ("p", zapper), ("alt", "A miner's withdrawal from a mining pool"))
    return UnsignedEvent(WITHDRAWAL, created_at, tags, encode_content(fields))


def parse_withdrawal(event: VerifiedEvent) -> Withdrawal:
    """Raises InvalidPoolEvent. Whether so much is owed, and the destination fits, is for the zapper to see."""
    require_kind(event, WITHDRAWAL)
    fields = decode_content(event.content)
    method = read_str(fields, "method")
    if method not in _DESTINATIONS:
        raise InvalidPoolEvent(f"the method {method[:32]!r} is not one of {', '.join(METHODS)}")
    name, needed = _DESTINATIONS[method]
    destination = read_str(fields, name) if needed or name in fields else ""
    if len(destination) > MAX_DESTINATION or (needed and not destination):
        raise InvalidPoolEvent(f"{name} must have 1 to {MAX_DESTINATION} characters")
    expires = read_int(fields, "expires")
    if not event.created_at < expires <= event.created_at + MAX_LIFE_S:
        raise InvalidPoolEvent(f"expires must be after created_at, by {MAX_LIFE_S} seconds at most")
    return Withdrawal(
        id=event.id,
        miner=event.pubkey,
        zapper=parse_id(one_tag(event, "p")[1], "the p tag"),
        pool=address_of(event),
        created_at=event.created_at,
        body=WithdrawalBody(method, read_int(fields, "amount_msat", 1), destination, expires),
    )
