"""The answers' fields, for the OpenAPI document and the tests that hold answers against it.

Money is integer millisatoshi. A sum of the whole pool may pass 2^53 msat (90,071 BTC), which JavaScript's numbers
round; no single miner's will. Times are Unix milliseconds unless a name says otherwise. Hashrates and work are decimal
strings, since they pass 2^53 every day.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from client_web.api.fields import Hashes, Hex, Ms, Msat, Next, Npub, Ppm, Rate, Strict
from client_web.api.loyalty_models import LoyaltyStanding

RewardState = Literal["pending", "matured", "orphaned", "void"]
RewardType = Literal["block", "period"]
BlockState = Literal["found", "pending", "matured", "orphaned", "void"]


class Error(Strict):
    """Why there is no answer."""

    error: str


class Point(Strict):
    """A stretch of time: the work credited in it, and the hashrate that comes to."""

    from_ms: Ms
    to_ms: Ms
    hashrate_hs: Rate
    work: Hashes


class Series(Strict):
    """Points, oldest first."""

    span: str
    points: list[Point]


class PoolRates(Strict):
    """The pool's hashrate over five minutes and an hour."""

    five: Rate = Field(alias="5m")
    hour: Rate = Field(alias="1h")


class MinerRates(PoolRates):
    """A miner's: over a day, from its first share on, by the hourly summaries and what came since."""

    day: Rate = Field(alias="24h")


class Luck(Strict):
    """Blocks found / blocks expected over the last so many blocks; null before the first."""

    ten: Ppm | None = Field(alias="10")
    hundred: Ppm | None = Field(alias="100")


class Totals(Strict):
    """The books' accounts, in msat. `luck_msat`: what blocks of offers that pay by share brought, less what such shares
    were paid; negative is out of the pool's own money.
    """

    pending_msat: Msat
    matured_msat: Msat
    fee_pending_msat: Msat
    fee_msat: Msat
    luck_msat: Msat
    luck_pending_msat: Msat
    network_fees_msat: Msat
    owed_msat: Msat
    paid_msat: Msat


class Pool(BaseModel):
    """The pool as a whole. `edge`, `lanes` and `relay` are counts of the parts since they started."""

    model_config = ConfigDict(extra="allow", strict=True)

    address: str
    pubkey: Hex
    npub: Npub
    network: str
    ms: Ms
    synced: bool = Field(description="Whether all that the relays had at start is in the books.")
    height: int
    hashrate_hs: PoolRates
    miners: int = Field(description="Miners with a share in the last ten minutes.")
    workers: int
    shares: int = Field(description="Good credited shares, ever.")
    rejects: int
    work: Hashes
    blocks_found: int
    effort_ppm: Ppm | None = Field(description="Work since the last block / a block's work; null while reckoned.")
    luck_ppm: Luck
    block_work: Hashes | None = Field(description="Hashes that find a block on average.")
    expected_ms: int | None = Field(description="Mean time to a block at the hashrate of the last hour.")
    chance_day_ppm: Ppm | None = Field(description="Probability of a block within a day.")
    totals: Totals


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
    """An offer's window as it stands: the miner's part if a block were found now, and what its hashrate of the last
    hour earns a day on average.
    """

    offer: str
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
    edge's word. `best_share_difficulty`: its best share's, which a summary rounds down to 16 bits or so.
    """

    model_config = ConfigDict(extra="allow", strict=True)

    pubkey: Hex
    npub: Npub
    ms: Ms
    hashrate_hs: MinerRates
    shares: int
    rejects: int
    rejects_by_code: dict[str, int]
    best_share_difficulty: str | None
    work: Hashes
    last_share_ms: Ms
    workers: list[Worker]
    pending_msat: Msat
    earned_msat: Msat
    paid_msat: Msat
    owed_msat: Msat
    estimates: list[Estimate]
    loyalty: list[LoyaltyStanding]
    settings: MinerSettings | None
    unpaid_because: str
    cannot_be_paid: str


class Block(Strict):
    """A block of the pool. `status` is its reward's: `found` until a statement splits it."""

    block: Hex
    height: int
    found_ms: Ms
    finder: Hex
    finder_npub: Npub
    offer: str
    gross_msat: Msat
    status: BlockState
    event: Hex
    statement: Hex | None
    effort_ppm: Ppm | None = Field(description="Work of its round / a block's work; null while it is reckoned.")
    luck_ppm: Ppm | None = Field(description="1 / effort; null while reckoned and after no work.")
    matures_at_height: int | None
    blocks_to_maturity: int


class Reward(Strict):
    """A block's reward as it was split, or what the shares of a period were paid; `found_ms` is then its end."""

    statement: Hex
    seq: int
    type: RewardType
    block: Hex | None
    height: int | None
    found_ms: Ms
    offer: str
    gross_msat: Msat
    fee_msat: Msat
    miners_msat: Msat
    miners: int
    window_work: Hashes
    status: RewardState
    matures_at_height: int | None


class MinerReward(Reward):
    """A reward and a miner's part of it; `miner_bonus_msat` of that are a loyalty bonus, out of the pool's fee."""

    miner_work: Hashes
    miner_msat: Msat
    miner_bonus_msat: Msat


class Payout(Strict):
    """A payout record; a reversal has a negative amount. `proof`: proven, attested, claimed or refuted."""

    payout_id: str
    event: Hex
    created_ms: Ms
    pubkey: Hex
    npub: Npub
    amount_msat: Msat
    network_fee_msat: Msat
    method: str
    reverses: str | None
    proof: Literal["proven", "attested", "claimed", "refuted", ""]


class Statement(Strict):
    """A statement (4214) without its rows."""

    statement: Hex
    seq: int
    created_ms: Ms
    type: RewardType
    block: Hex | None
    height: int | None
    found_ms: Ms
    gross_msat: Msat
    fee_msat: Msat
    rows: int
    window_work: Hashes
    status: RewardState


class SplitRow(Strict):
    """A miner's part of a statement; `bonus_msat` of it are a loyalty bonus, out of the pool's fee."""

    pubkey: Hex
    npub: Npub
    work: Hashes
    msat: Msat
    bonus_msat: Msat


class StatementDetail(Statement):
    """A statement whole. `heads`: lane -> [number, id] of the batch it was cut at."""

    event: Hex
    signer: Hex
    terms: Hex
    offer: str
    window_from_ms: Ms
    heads: dict[str, tuple[int, str]]
    split: list[SplitRow]


class Terms(Strict):
    """The terms in force (4210): `content` is as SPEC.md has it."""

    id: Hex
    seq: int
    created_ms: Ms
    signer: Hex
    content: dict[str, Any]


class Holding(Strict):
    """A place of the pool's money. `msat`: as it told last, at `told_ms`, `age_ms` ago; null before. `source`: the
    holder on another host whose word it is, null for the process asked; `heard_ms`: when that holder spoke last.
    `silence`: why the place is not counted with, null if it is; `error`: why it told nothing since.
    """

    name: str
    source: Npub | None
    msat: Msat | None
    told_ms: Ms
    heard_ms: Ms
    age_ms: Ms | None
    silence: str | None
    error: str


class Treasury(Strict):
    """Debts and funds. `owed_msat`: matured and not paid; `pending_msat`: in rewards that still mature, and that cover
    it; `advanced_msat`: paid beyond what matured, as after a deep orphan; `funds_msat`: all holdings, null if one can't
    be counted with; `spare_msat`: funds less owed; `alert`: what is wrong, null when nothing is.
    """

    ms: Ms
    owed_msat: Msat
    pending_msat: Msat
    advanced_msat: Msat
    funds_msat: Msat | None
    spare_msat: Msat | None
    alert: str | None
    holdings: list[Holding]


class Attested(Strict):
    """The attestation that was taken, by its event's id."""

    id: Hex


class Config(BaseModel):
    """What anybody must know to follow or join the pool."""

    v: int
    pool: dict[str, str]
    network: str
    relays: list[str]
    stratum_url: str
    keys: dict[str, list[str]]


class Owed(Strict):
    """A row of the flat list of balances."""

    pubkey: Hex
    npub: Npub
    owed_msat: Msat
    pending_msat: Msat


class Earned(Strict):
    """A row of the flat list of totals."""

    pubkey: Hex
    npub: Npub
    earned_msat: Msat
    paid_msat: Msat


class Miners(Strict):
    """A page of miners, by key."""

    items: list[Miner]
    next: Next


class Blocks(Strict):
    """A page of blocks, the highest first."""

    items: list[Block]
    next: Next


class Rewards(Strict):
    """A page of rewards, the newest first."""

    items: list[Reward]
    next: Next


class MinerRewards(Strict):
    """A page of rewards a miner has a part of, the newest first."""

    items: list[MinerReward]
    next: Next


class Payouts(Strict):
    """A page of payouts, the newest first."""

    items: list[Payout]
    next: Next


class Statements(Strict):
    """A page of statements, the newest first."""

    items: list[Statement]
    next: Next
