"""The fields of answers about the pool; for OpenAPI and the tests."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from client_web.api.fields import Hashes, Hex, Ms, Msat, Npub, Ppm, Rate, Strict


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
