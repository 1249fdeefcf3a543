"""4210 terms: what the pool promises, signed by the pool's key, chained as `terms` (SPEC.md)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nips.errors import InvalidPoolEvent
from nips.keys import is_valid_xonly
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.pool.address import PoolAddress, address_of
from nips.pool.alts import alt_tag
from nips.pool.chain import Head, Link, check_chain_name, link_of
from nips.pool.content import (
    decode_content,
    encode_content,
    parse_bits,
    parse_id,
    parse_work,
    read_dict,
    read_int,
    read_list,
    read_str,
    require_kind,
)
from nips.pool.kinds import TERMS
from nips.pool.targets import target_from_bits

ROLES = ("edge", "accounting", "zapper")
SCHEMES = ("pplns", "prop", "solo", "pps", "fpps")
PPM = 1_000_000
MILLI = 1000
# A period lasts a minute to a day: rows are paid by it, and each is an event of its own.
SHORTEST_PERIOD_S, LONGEST_PERIOD_S = 60, 86_400
PERIOD_SCHEMES = ("pps", "fpps")
# A bonus takes a quarter of the fee at most and looks back 30 days; a model's work counts half as much again at most.
MAX_LOYALTY_PPM = 250_000
LOYALTY_DAYS = 30
LOYALTY_HOURS = 24 * LOYALTY_DAYS
MAX_HARDWARE_MILLI = 1500
# 1/2^32 of difficulty 1: the easiest target the protocol can write.
EASIEST_BITS = 0x2100FFFF
# The end of a chain that never began, `[]` in the terms: all that it ever holds is void.
NEVER = Head(-1, "")
# In the place of a chain's name: every chain of the key that no terms name.
EVERY_CHAIN = "*"


@dataclass(frozen=True, slots=True)
class Model:
    """A model of devices in a loyalty bonus: `hashrate` in hashes a second, what its work counts in thousandths."""

    hashrate: int
    factor_milli: int


@dataclass(frozen=True, slots=True)
class Loyalty:
    """A bonus out of the fee, of which it is at most `part_ppm`: full for so many hours with a share and days with an
    attestation, of the last 30 days; `hardware` by the model that an attestation names.
    """

    part_ppm: int
    full_hours: int = LOYALTY_HOURS
    full_days: int = LOYALTY_DAYS
    hardware: Mapping[str, Model] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The bonus as it stands in an offer."""
        return {
            "part_ppm": self.part_ppm,
            "full_hours": self.full_hours,
            "full_days": self.full_days,
            "hardware": {name: [str(model.hashrate), model.factor_milli] for name, model in self.hardware.items()},
        }


@dataclass(frozen=True, slots=True)
class Offer:
    """What a port promises: how the rewards of its blocks are split among its shares.

    `window_milli`: the pplns window in thousandths of a block's work; `window_min_work`: its floor; `window_max_ms`:
    the greatest age of a share in it, 0 for none. `fee_ppm`: the pool's part of a reward, in millionths. `period_s`:
    how long a period of pps or fpps lasts, 0 for schemes that have none.
    """

    scheme: str = "pplns"
    fee_ppm: int = 10_000
    window_milli: int = 8000
    window_min_work: int = 0
    window_max_ms: int = 0
    period_s: int = 0
    loyalty: Loyalty | None = None

    def to_json(self) -> dict[str, Any]:
        """The offer as it stands in the terms; period and bonus only where there is one."""
        fields: dict[str, Any] = {
            "scheme": self.scheme,
            "fee_ppm": self.fee_ppm,
            "window_milli": self.window_milli,
            "window_min_work": str(self.window_min_work),
            "window_max_ms": self.window_max_ms,
        }
        if self.period_s:
            fields["period_s"] = self.period_s
        if self.loyalty is not None:
            fields["loyalty"] = self.loyalty.to_json()
        return fields


@dataclass(frozen=True, slots=True)
class Limits:
    """Times and bounds everybody judges by. `block_bits` is regtest's stricter mark for a block, None elsewhere;
    `lane_grace_ms` how long a lane may be silent before the pool may close it, None where the terms don't say.
    """

    batch_seconds: int = 10
    heartbeat_seconds: int = 30
    anchor_ms: int = 120_000
    stale_ms: int = 0
    job_ms: int = 600_000
    statement_ms: int = 600_000
    maturity_blocks: int = 100
    easiest_bits: int = EASIEST_BITS
    block_bits: int | None = None
    lane_grace_ms: int | None = None

    @property
    def silence_ms(self) -> int:
        """How much longer a lane that falls silent excuses a statement: until it may have been closed."""
        return max(self.anchor_ms, self.lane_grace_ms or 0)

    def to_json(self) -> dict[str, Any]:
        """The limits as they stand in the terms; every one is written out, so that a reader needs no defaults."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in _PLAIN_LIMITS}
        if self.lane_grace_ms is not None:
            fields["lane_grace_ms"] = self.lane_grace_ms
        fields["easiest_bits"] = f"{self.easiest_bits:08x}"
        if self.block_bits is not None:
            fields["block_bits"] = f"{self.block_bits:08x}"
        return fields


_PLAIN_LIMITS = (
    "batch_seconds",
    "heartbeat_seconds",
    "anchor_ms",
    "stale_ms",
    "job_ms",
    "statement_ms",
    "maturity_blocks",
)


@dataclass(frozen=True, slots=True)
class PayoutTerms:
    """How the pool pays: nothing under `minimum_msat`, about every `interval_s` seconds; `network_fee` names who bears
    the payment's fee, "pool" or "miner". `coinbase`: the address that the coinbases of the pool's own jobs pay.

    What the terms don't say is "", None or empty: `schedule`, a cron expression in UTC that replaces the interval;
    `methods`, tried in this order where a miner's settings name none; `max_fee`, in millionths of the amount and in
    msat, of which the larger counts; `per_day_msat`, the most that leaves in 24 hours; `onchain_msat`, the least that
    goes on chain; `idle_days`, after which a balance under the minimum is paid all the same; `give_up_days`, after
    which a miner that can't be paid is no longer tried, and still owed.
    """

    minimum_msat: int = 1000
    interval_s: int = 3600
    network_fee: str = "pool"
    coinbase: str = ""
    schedule: str = ""
    methods: tuple[str, ...] = ()
    max_fee: tuple[int, int] | None = None
    per_day_msat: int | None = None
    onchain_msat: int | None = None
    idle_days: int | None = None
    give_up_days: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The payout terms as they stand in the terms."""
        fields: dict[str, Any] = {
            "minimum_msat": self.minimum_msat,
            "interval_s": self.interval_s,
            "network_fee": self.network_fee,
        }
        said = {
            "coinbase": self.coinbase or None,
            "schedule": self.schedule or None,
            "methods": list(self.methods) or None,
            "max_fee": None if self.max_fee is None else list(self.max_fee),
            **{name: getattr(self, name) for name in _PAYOUT_NUMBERS},
        }
        return {**fields, **{name: value for name, value in said.items() if value is not None}}


_PAYOUT_NUMBERS = ("per_day_msat", "onchain_msat", "idle_days", "give_up_days")


@dataclass(frozen=True, slots=True)
class LogTerms:
    """Where the log is kept: relays, for how many days (0: for good), and places of archives."""

    relays: tuple[str, ...] = ()
    retention_days: int = 0
    archives: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The log's places as they stand in the terms."""
        return {
            "relays": list(self.relays),
            "retention_days": self.retention_days,
            "archives": list(self.archives),
        }


@dataclass(frozen=True, slots=True)
class TermsBody:
    """What the pool promises, without who said it when. `donate_to`: the key (hex) that miners' donations go to."""

    offers: Mapping[str, Offer]
    keys: tuple[tuple[str, str], ...]
    closed: Mapping[str, Head] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    payouts: PayoutTerms = field(default_factory=PayoutTerms)
    log: LogTerms = field(default_factory=LogTerms)
    donate_to: str | None = None

    def keys_of(self, role: str) -> frozenset[str]:
        """The public keys that hold a role."""
        return frozenset(key for key, held in self.keys if held == role)

    def to_json(self) -> dict[str, Any]:
        """The content of a 4210 event, without its version."""
        fields = {
            "offers": {name: offer.to_json() for name, offer in self.offers.items()},
            "keys": [list(pair) for pair in self.keys],
            "closed": {name: [] if head == NEVER else [head.seq, head.id] for name, head in self.closed.items()},
            "limits": self.limits.to_json(),
            "payouts": self.payouts.to_json(),
            "log": self.log.to_json(),
        }
        return fields if self.donate_to is None else {**fields, "donate_to": self.donate_to}


@dataclass(frozen=True, slots=True)
class Terms:
    """A 4210 event. `closed` maps `<pubkey>/<chain>` to the last event, or NEVER: what it holds beyond is void."""

    id: str
    signer: str
    pool: PoolAddress
    link: Link
    created_at: int
    body: TermsBody


def _model(value: object, name: str) -> Model:
    if type(value) is not list or len(value) != 2:
        raise InvalidPoolEvent(f"the model {name[:32]!r} must have [hashrate, factor]")
    hashrate = parse_work(value[0], "a model's hashrate")
    if not hashrate:
        raise InvalidPoolEvent(f"the model {name[:32]!r} has no hashrate")
    return Model(hashrate, read_int({"a model's factor": value[1]}, "a model's factor", MILLI, MAX_HARDWARE_MILLI))


def _loyalty(fields: dict[str, Any]) -> Loyalty:
    return Loyalty(
        part_ppm=read_int(fields, "part_ppm", 0, MAX_LOYALTY_PPM),
        full_hours=read_int(fields, "full_hours", 1, LOYALTY_HOURS),
        full_days=read_int(fields, "full_days", 1, LOYALTY_DAYS),
        hardware={name: _model(value, name) for name, value in read_dict(fields, "hardware").items()},
    )


def _offer(value: object, name: str) -> Offer:
    if type(value) is not dict:
        raise InvalidPoolEvent(f"offer {name} must be an object")
    scheme = read_str(value, "scheme")
    if scheme not in SCHEMES:
        raise InvalidPoolEvent(f"the scheme {scheme[:32]!r} of offer {name} is not one of {', '.join(SCHEMES)}")
    if scheme not in PERIOD_SCHEMES and "period_s" in value:
        raise InvalidPoolEvent(f"offer {name} pays by block: it has no period_s")
    if scheme in PERIOD_SCHEMES and "loyalty" in value:
        raise InvalidPoolEvent(f"offer {name} takes no fee out of a reward, so that no loyalty can be paid of it")
    return Offer(
        scheme=scheme,
        fee_ppm=read_int(value, "fee_ppm", 0, PPM),
        window_milli=read_int(value, "window_milli"),
        window_min_work=parse_work(value.get("window_min_work"), "window_min_work"),
        window_max_ms=read_int(value, "window_max_ms"),
        period_s=read_int(value, "period_s", SHORTEST_PERIOD_S, LONGEST_PERIOD_S) if scheme in PERIOD_SCHEMES else 0,
        loyalty=_loyalty(read_dict(value, "loyalty")) if "loyalty" in value else None,
    )


def _limits(fields: dict[str, Any]) -> Limits:
    plain = {name: read_int(fields, name) for name in _PLAIN_LIMITS}
    easiest = parse_bits(fields.get("easiest_bits"), "easiest_bits")
    target_from_bits(easiest)
    block_bits = None
    if "block_bits" in fields:
        block_bits = parse_bits(fields["block_bits"], "block_bits")
        target_from_bits(block_bits)
    grace = read_int(fields, "lane_grace_ms") if "lane_grace_ms" in fields else None
    return Limits(easiest_bits=easiest, block_bits=block_bits, lane_grace_ms=grace, **plain)


def _payouts(fields: dict[str, Any]) -> PayoutTerms:
    network_fee = read_str(fields, "network_fee")
    if network_fee not in ("pool", "miner"):
        raise InvalidPoolEvent('network_fee must be "pool" or "miner"')
    max_fee: tuple[int, int] | None = None
    if "max_fee" in fields:
        values = read_list(fields, "max_fee")
        if len(values) != 2:
            raise InvalidPoolEvent("max_fee must be [millionths, msat]")
        ppm, msat = (read_int({"max_fee": value}, "max_fee") for value in values)
        max_fee = (ppm, msat)
    return PayoutTerms(
        minimum_msat=read_int(fields, "minimum_msat"),
        interval_s=read_int(fields, "interval_s"),
        network_fee=network_fee,
        coinbase=read_str(fields, "coinbase") if "coinbase" in fields else "",
        schedule=read_str(fields, "schedule") if "schedule" in fields else "",
        methods=_texts(fields, "methods") if "methods" in fields else (),
        max_fee=max_fee,
        **{name: read_int(fields, name) for name in _PAYOUT_NUMBERS if name in fields},
    )


def _end(name: str, head: object) -> Head:
    check_chain_name(name, EVERY_CHAIN)
    if head == [] and type(head) is list:
        return NEVER
    if type(head) is not list or len(head) != 2 or type(head[0]) is not int or head[0] < 0:
        raise InvalidPoolEvent("closed must map <pubkey>/<chain> to [seq, id], or to [] if it never began")
    if name.endswith(f"/{EVERY_CHAIN}"):
        raise InvalidPoolEvent("closed maps <pubkey>/* to [] alone: no event is the last of many chains")
    return Head(head[0], parse_id(head[1], "a closed chain's last id"))


def _texts(fields: dict[str, Any], name: str) -> tuple[str, ...]:
    values = read_list(fields, name)
    if not all(type(value) is str for value in values):
        raise InvalidPoolEvent(f"{name} must hold strings")
    return tuple(values)


def _donate_to(fields: dict[str, Any]) -> str | None:
    if "donate_to" not in fields:
        return None
    receiver = parse_id(fields["donate_to"], "donate_to")
    if not is_valid_xonly(receiver):
        raise InvalidPoolEvent("donate_to is a key that is not on the curve")
    return receiver


def parse_terms(event: VerifiedEvent) -> Terms:
    """Raises InvalidPoolEvent. Whether the signer is the pool's key is for the reader of the chain to check."""
    require_kind(event, TERMS)
    fields = decode_content(event.content)
    offers = {name: _offer(value, name) for name, value in read_dict(fields, "offers").items()}
    if not offers:
        raise InvalidPoolEvent("the terms offer nothing")
    keys = []
    for pair in read_list(fields, "keys"):
        if type(pair) is not list or len(pair) != 2 or pair[1] not in ROLES:
            raise InvalidPoolEvent(f"keys must hold [pubkey, role], role one of {', '.join(ROLES)}")
        if not is_valid_xonly(parse_id(pair[0], "a key")):
            raise InvalidPoolEvent("a key in the terms is not on the curve")
        keys.append((pair[0], pair[1]))
    closed = {name: _end(name, head) for name, head in read_dict(fields, "closed").items()}
    log = read_dict(fields, "log")
    pool = address_of(event)
    limits = _limits(read_dict(fields, "limits"))
    if limits.block_bits is not None and pool.network != "regtest":
        raise InvalidPoolEvent("block_bits is for regtest only: elsewhere the network says what a block is")
    return Terms(
        id=event.id,
        signer=event.pubkey,
        pool=pool,
        link=link_of(event),
        created_at=event.created_at,
        body=TermsBody(
            offers=offers,
            keys=tuple(keys),
            closed=closed,
            limits=limits,
            payouts=_payouts(read_dict(fields, "payouts")),
            log=LogTerms(
                relays=_texts(log, "relays"),
                retention_days=read_int(log, "retention_days"),
                archives=_texts(log, "archives"),
            ),
            donate_to=_donate_to(fields),
        ),
    )


def build_terms(pool: PoolAddress, link: Link, created_at: int, body: TermsBody) -> UnsignedEvent:
    """The event the pool's key signs. `created_at` in seconds, not before the chain's newest."""
    return UnsignedEvent(TERMS, created_at, (pool.tag(), *link.tags(), alt_tag(TERMS)), encode_content(body.to_json()))
