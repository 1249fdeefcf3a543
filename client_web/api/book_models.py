"""The fields of answers from the books: blocks, rewards, payouts, statements; for OpenAPI and the tests."""

from typing import Literal

from pydantic import Field

from client_web.api.fields import Hashes, Hex, Ms, Msat, Next, Npub, Ppm, Strict

RewardState = Literal["pending", "matured", "orphaned", "void"]
RewardType = Literal["block", "period"]
BlockState = Literal["found", "pending", "matured", "orphaned", "void"]


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
