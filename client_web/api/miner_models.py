"""The fields of answers about miners; for OpenAPI and the tests."""

from pydantic import BaseModel, ConfigDict, Field

from client_web.api.fields import Hashes, Hex, Ms, Msat, Next, Npub, Ppm, Rate, Strict
from client_web.api.loyalty_models import LoyaltyStanding
from client_web.api.pool_models import PoolRates


class MinerRates(PoolRates):
    """A miner's: over a day, from its first share on, by the hourly summaries and what came since."""

    day: Rate = Field(alias="24h")


class Miner(Strict):
    """A miner in a list."""

    pubkey: Hex
    npub: Npub
    hashrate_hs: MinerRates
    workers: int
    shares: int
    rejects: int
    last_share_ms: Ms
    pending_msat: Msat
    owed_msat: Msat
    paid_msat: Msat


class WorkerRates(Strict):
    """A worker's hashrate over five minutes."""

    five: Rate = Field(alias="5m")


class Worker(Strict):
    """A worker with a share in the last ten minutes. `name` is as the miner gave it to Stratum, or "#" and 8 hex digits
    where it asked to hide it; `alias` is what its settings call it.
    """

    name: str
    alias: str
    hashrate_hs: WorkerRates
    last_share_ms: Ms


class Workers(Strict):
    """A miner's workers, at most 128 of them named."""

    items: list[Worker]


class Estimate(Strict):
    """An offer that the miner has work in: `work` of all `window_work` in the window (pplns), in the round (prop),
    since the last statement (pps, fpps), in the last hour (solo). `msat` is its row if a block were found now, for solo
    if it found one itself; with pps and fpps what these shares are worth. `daily_msat`: what its hashrate of the last
    hour, as far as it went to this offer, earns a day on average.
    """

    offer: str
    scheme: str
    height: int
    gross_msat: Msat
    fee_ppm: Ppm
    work: Hashes
    window_work: Hashes
    window_full: bool
    msat: Msat
    daily_msat: Msat


class MinerSettings(Strict):
    """A miner's settings (34216) in force: `destination_since_ms` is since when payouts newly created go where
    `methods`, `lightning`, `onchain` and `mint` say; empty ones are left to the miner's profile and the pool.
    """

    event: Hex
    created_ms: Ms
    methods: list[str]
    lightning: str
    onchain: str
    mint: str
    destination_since_ms: Ms
    minimum_msat: Msat
    donation_ppm: Ppm
    hide_workers: bool
    notify: list[str]


class MinerDetail(BaseModel):
    """One miner. `rejects_by_code`: by Stratum error code, as the hourly summaries and the batches since tell; the
    edge's word. `rejects_by_reason`: the same in words (stale, duplicate, low difficulty, ...).
    `best_share_difficulty`: its best share's, which a summary rounds down to 16 bits or so. Of `pending_msat` and
    `earned_msat`, `bonus_pending_msat` and `bonus_earned_msat` came out of the pool's fee.
    """

    model_config = ConfigDict(extra="allow", strict=True)

    pubkey: Hex
    npub: Npub
    ms: Ms
    hashrate_hs: MinerRates
    shares: int
    rejects: int
    rejects_by_code: dict[str, int]
    rejects_by_reason: dict[str, int]
    best_share_difficulty: str | None
    work: Hashes
    last_share_ms: Ms
    workers: list[Worker]
    pending_msat: Msat
    earned_msat: Msat
    paid_msat: Msat
    owed_msat: Msat
    bonus_pending_msat: Msat
    bonus_earned_msat: Msat
    estimates: list[Estimate]
    loyalty: list[LoyaltyStanding]
    settings: MinerSettings | None
    unpaid_because: str
    cannot_be_paid: str


class Miners(Strict):
    """A page of miners, by key."""

    items: list[Miner]
    next: Next
