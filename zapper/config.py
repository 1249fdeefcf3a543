"""How a pool pays, and what its zapper shows of its work."""

from dataclasses import dataclass, field

from nips.pool.address import PoolAddress
from zapper.plan import PlanLimits
from zapper.wishes import DEFAULT_ORDER

# Orders to pay may be on their way to a wallet for minutes; after an invoice's end nobody takes them.
UNKNOWN_GRACE_S = 600


@dataclass(frozen=True, slots=True)
class ZapperConfig:
    """How this pool pays. Times in seconds, money in msat.

    `relays`: where zap receipts should go (the first three are named). `schedule`: when to pay, as cron in UTC; ""
    for every `payout_interval_s`. `limits`: the published terms. `unknown_grace_s`: how long after an invoice's end a
    payment the backend has never heard of is given up. `methods`: the pool's order of trying them.
    """

    pool: PoolAddress
    pool_name: str
    relays: tuple[str, ...]
    schedule: str = ""
    payout_interval_s: float = 3600
    reconcile_interval_s: float = 30
    limits: PlanLimits = field(default_factory=PlanLimits)
    concurrency: int = 8
    pay_timeout_s: float = 60
    fetch_timeout_s: float = 10
    receipt_wait_s: float = 10
    unknown_grace_s: int = UNKNOWN_GRACE_S
    unknown_alert_s: int = 900
    backoff_first_s: int = 60
    backoff_cap_s: int = 6 * 3600
    methods: tuple[str, ...] = DEFAULT_ORDER


@dataclass(slots=True)
class ZapperStatus:
    """What operators and the page may see. `blocked`: why nothing at all is paid, "" when all is well.

    `unknown`: payouts whose outcome is not known; `alerts`: of those, the ids that have been so for too long.
    `unsigned`: since when (Unix ms) which payouts wait for the operator's signature. `sent_all_the_same`: the txids of
    batches that were cancelled and found sent.
    `why_unpaid`: per miner, for those with something due and not paid; `dead`: per miner, why it is not tried any more.
    Of rounds, in Unix ms: `last_round_ms`, when the last one ended; `next_round_ms`, when the next one is; `undone_ms`,
    the moment of the one that is being made, or could not be made yet, because of `held`. `former_keys`: zapper keys
    (hex) whose payouts this one's store holds.
    """

    blocked: str = ""
    rounds: int = 0
    settled: int = 0
    failed: int = 0
    records: int = 0
    unknown: tuple[str, ...] = ()
    alerts: tuple[str, ...] = ()
    unsigned: tuple[tuple[int, str], ...] = ()
    sent_all_the_same: tuple[str, ...] = ()
    why_unpaid: dict[str, str] = field(default_factory=dict)
    dead: dict[str, str] = field(default_factory=dict)
    last_round_ms: int | None = None
    next_round_ms: int | None = None
    undone_ms: int | None = None
    held: str = ""
    former_keys: tuple[str, ...] = ()
