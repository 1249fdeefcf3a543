"""What miners are told, in plain words: each notice with its amounts in sat, its ids, and how to check them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from nips.nip19 import encode_npub
from nips.nip61 import NUTZAP_INFO
from nips.pool.address import PoolAddress
from nips.pool.payout import Payout
from nips.pool.settings import SettingsBody
from noncestr.citizen.facts import BlockFacts
from noncestr.citizen.words import hashrate_text, sat_text
from noncestr.notices.watch import Drop
from zapper.profile import PROFILE
from zapper.said import Move

# A reason comes from payees' servers too; a message is no place for more of it.
MAX_REASON: Final = 300
_METHODS: Final = {
    "zap": "a zap",
    "lnurl": "a Lightning payment",
    "bolt11": "a Lightning payment",
    "nutzap": "a nutzap",
    "cashu": "a Cashu token",
    "onchain": "an on-chain payment",
    "coinbase": "a coinbase output",
}
_MOVED: Final = "Your payout address changed"
_NOT_YOU: Final = (
    "If this was not you, somebody else has your key: publish settings that name your own address, and mine with"
    " another key from now on."
)
# By kind: the event as its author knows it, what goes by it, and what it lacks when nothing does.
_SAID: Final = {
    PROFILE: ("your profile", "payments go to", "no lightning address"),
    NUTZAP_INFO: ("your nutzap info (kind 10019)", "nutzaps are", "no mint and key for nutzaps"),
}


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to be told once. `subject`: what makes it that one; `word`: of `nips.pool.settings.NOTICES`."""

    subject: str
    miner: str
    word: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who writes: the pool's name, key and network, and a relay where its log is."""

    name: str
    pool: PoolAddress
    relay: str

    @property
    def check(self) -> str:
        """How to see that it is so."""
        return (
            f"Check it: noncestr verify --pool {encode_npub(self.pool.pubkey)} --network {self.pool.network}"
            f" --relay {self.relay}"
        )

    def paid(self, payout: Payout, *, owed_msat: int, statement: str | None) -> Notice:
        """Money that reached the miner, or that came back from where it was sent."""
        amount = sat_text(abs(payout.amount_msat))
        if payout.reverses is not None:
            title = f"{amount} came back"
            first = f"{amount} of payout {payout.reverses} came back and are yours again, to be paid."
        else:
            title = f"Paid: {amount}"
            first = f"{self.name} paid you {amount} by {_METHODS[payout.method]}."
        lines = [first, f"Payout {payout.payout_id}, record {payout.id}."]
        if statement is not None:
            lines.append(f"The newest statement of what you earned: {statement}.")
        lines += [f"Left to be paid: {sat_text(owed_msat)}.", self.check]
        return Notice(f"paid {payout.id}", payout.miner, "paid", title, "\n".join(lines))

    def failed(
        self, miner: str, reason: str, *, since_ms: int, failures: int, given_up: bool, owed_msat: int
    ) -> Notice:
        """Payouts that fail, and whether they are tried again."""
        why = " ".join(reason.split())[:MAX_REASON]
        then = (
            "It is not tried any more until you publish something new: a profile, settings or a request."
            if given_up
            else "It is tried again by itself, less and less often."
        )
        lines = [
            f"{self.name} could not pay you, {failures} times since {time_text(since_ms)}: {why}.",
            f"Yours all the same, to be paid: {sat_text(owed_msat)}. {then}",
            "Being paid takes a lightning address in your Nostr profile, or in your settings at the pool.",
        ]
        subject = failed_subject(miner, since_ms, given_up=given_up)
        return Notice(subject, miner, "failed", "You could not be paid", "\n".join(lines))

    def destination(self, miner: str, settings: str, body: SettingsBody, since_ms: int) -> Notice:
        """Where money goes was changed: always told."""
        named = [("methods", ", ".join(body.methods)), ("lightning", body.lightning)]
        named += [("on chain", body.onchain), ("mint", body.mint)]
        goes = "; ".join(f"{what} {value}" for what, value in named if value)
        lines = [
            f"Where {self.name} pays you was changed at {time_text(since_ms)} by settings signed with your key.",
            f"Now: {goes or 'what your profile says, by the order of the pool'}.",
            f"Settings {settings}.",
            _NOT_YOU,
        ]
        return Notice(f"destination {miner} {since_ms}", miner, "destination", _MOVED, _join(lines))

    def moved(self, move: Move) -> Notice:
        """Where money goes was changed by a profile or nutzap info: always told."""
        said, goes, lacks = _SAID[move.kind]
        now = f"{goes} {move.goes}" if move.goes else f"it names {lacks}"
        lines = [
            f"Where {self.name} pays you was changed by {said}, signed with your key. Now: {now}.",
            f"Payouts begun since {time_text(move.seen_ms)} go by it; those before went where they were to go.",
            f"Event {move.event}.",
            _NOT_YOU,
        ]
        return Notice(moved_subject(move), move.miner, "destination", _MOVED, _join(lines))

    def offline(self, miner: str, worker: str, last_ms: int) -> Notice:
        """A worker that fell silent."""
        text = f"Your worker {_shown(worker)} has sent {self.name} no share since {time_text(last_ms)}."
        return Notice(f"offline {miner} {worker} {last_ms}", miner, "worker", f"{_shown(worker)} is offline", text)

    def back(self, miner: str, worker: str, last_ms: int) -> Notice:
        """A worker that sends again."""
        text = f"Your worker {_shown(worker)} sends shares to {self.name} again."
        return Notice(f"back {miner} {worker} {last_ms}", miner, "worker", f"{_shown(worker)} is back", text)

    def hashrate(self, miner: str, worker: str, drop: Drop, now_ms: int) -> Notice:
        """A hashrate that dropped, or recovered."""
        whose = f"The hashrate of your worker {worker}" if worker else "Your hashrate"
        percent = drop.now_hs * 100 // max(drop.usual_hs, 1)
        now, usual = hashrate_text(drop.now_hs), hashrate_text(drop.usual_hs)
        if drop.recovered:
            title, text = "Hashrate is back", f"{whose} at {self.name} is back: {now} over the last hour."
        else:
            title = "Hashrate dropped"
            text = f"{whose} at {self.name} fell to {now} over the last hour, {percent}% of {usual}, its mean of a day."
        return Notice(f"hashrate {miner} {worker} {now_ms}", miner, "hashrate", title, text)

    def block(self, block: BlockFacts) -> Notice:
        """A block that this miner found."""
        lines = [
            f"You found block {block.height} with {self.name}: {sat_text(block.gross_msat)}, split by the terms once it"
            " is mature.",
            f"Block {block.block}, proof {block.event}.",
            self.check,
        ]
        return Notice(f"block {block.block}", block.finder, "block", f"You found block {block.height}", _join(lines))

    def test(self, miner: str, now_ms: int, number: int) -> Notice:
        """What a miner gets who asks whether messages reach it."""
        text = f"A test message of the mining pool {self.name}: its notices reach you here."
        return Notice(f"test {miner} {now_ms} {number}", miner, "test", f"{self.name}: test", text)

    def code(self, miner: str, address: str, code: str) -> Notice:
        """The first message to a channel: whoever reads it can allow further ones."""
        lines = [
            f"Somebody who mines at {self.name} as {encode_npub(miner)} asks to get notices here.",
            f"If that is you, put this code beside the address in your settings: {code}",
            "If not, do nothing: nothing more is sent here.",
        ]
        return Notice(f"code {miner} {address} {code}", miner, "code", f"{self.name}: your code", _join(lines))

    def left(self, miner: str, kind: str, address: str, day: int) -> Notice:
        """The last message to a channel that its owner's settings name no more. `day`: its number since 1970."""
        lines = [
            f"No more notices of {self.name} for {encode_npub(miner)} come here: settings signed with its key took this"
            " address out, or its code.",
            _NOT_YOU,
        ]
        subject = f"left {miner} {kind} {address} {day}"
        return Notice(subject, miner, "destination", f"{self.name}: no more notices here", _join(lines))


def failed_subject(miner: str, since_ms: int, *, given_up: bool) -> str:
    """What makes failures in a row one thing to tell, and their end as a dead letter another."""
    return f"failed {miner} {since_ms}{' given up' if given_up else ''}"


def moved_subject(move: Move) -> str:
    """What makes a change by a profile or nutzap info one thing to tell."""
    return f"moved {move.event}"


def footer(kind: str) -> str:
    """How to get no more of these at a channel."""
    return f"To get no more of these, take the {kind} channel out of your settings at the pool."


def time_text(at_ms: int) -> str:
    """A time as people read it: 2026-01-31 08:15 UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _shown(worker: str) -> str:
    return worker or "without a name"


def _join(lines: list[str]) -> str:
    return "\n".join(lines)
