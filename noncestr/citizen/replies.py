"""Who asks the pool what, and what it answers: private messages (NIP-17) and notes that mention it (NIP-10)."""

import enum
import re
from collections.abc import Set
from typing import Final

from nips.nip01 import Event, Tag, UnsignedEvent
from nips.nip17 import ChatMessage
from noncestr.citizen.facts import MinerNow, PoolNow
from noncestr.citizen.notes import NOTE
from noncestr.citizen.words import ago_text, counted, hashrate_text, sat_text

# Asked while nobody was here: after so long people have stopped waiting, and an answer puzzles.
GRACE_S: Final = 600
# The same while we are here: relays may come back with what they had, or say again what they gave before.
MAX_AGE_S: Final = 3_600
# Clocks differ; what is dated further ahead is not answered, since it could be asked again and again later.
MAX_AHEAD_S: Final = 900
# A command is a word; what is longer is none.
MAX_TEXT: Final = 500
# A note that names more people than this is no question to the pool, and an answer would reach all of them.
MAX_NAMED: Final = 10

_URI: Final = re.compile(r"(?:nostr:|@)\S+")
_HEX64: Final = re.compile(r"[0-9a-f]{64}")


class Command(enum.Enum):
    """What can be asked."""

    HASHRATE = "hashrate"
    BALANCE = "balance"
    HELP = "help"
    TEST = "test"
    # Anything else.
    OTHER = "other"


def command_of(text: str) -> Command:
    """The command a text is, mentions and punctuation apart: nothing but the word counts, so that no answer of a
    machine, ours least of all, is taken for a question.
    """
    if len(text) > MAX_TEXT:
        return Command.OTHER
    word = _URI.sub(" ", text).strip(" \t\r\n.,:;!?/#\"'").lower()
    try:
        return Command("hashrate" if word == "hash rate" else word)
    except ValueError:
        return Command.OTHER


def is_timely(created_at: int, *, started_s: int, now_s: int) -> bool:
    """Whether what was said then is answered now."""
    return max(started_s - GRACE_S, now_s - MAX_AGE_S) <= created_at <= now_s + MAX_AHEAD_S


def asked_in_message(message: ChatMessage, *, pool: str, own: Set[str], started_s: int, now_s: int) -> Command | None:
    """What a private message to the pool alone asks; None when it is not to be answered. `own`: the pool's
    keys.
    """
    if message.sender in own or message.recipients != (pool,):
        return None
    if not is_timely(message.created_at, started_s=started_s, now_s=now_s):
        return None
    return command_of(message.text)


def asked_in_note(note: Event, *, pool: str, own: Set[str], answers: Set[str], started_s: int, now_s: int) -> bool:
    """Whether a note that names the pool asks for its hashrate: the only thing that is told in public. `answers`: ids
    of answers the pool gave; what replies to one is a conversation that has no end.
    """
    if note.kind != NOTE or note.pubkey in own:
        return False
    named = note.tag_values("p")
    if pool not in named or len(named) > MAX_NAMED or not answers.isdisjoint(note.tag_values("e")):
        return False
    return is_timely(note.created_at, started_s=started_s, now_s=now_s) and command_of(note.content) is Command.HASHRATE


def build_reply(note: Event, text: str, *, pool: str, relay: str, now_s: int) -> UnsignedEvent:
    """A kind 1 that answers a note. NIP-10: e tags with the markers root and reply, "a direct reply to the root of a
    thread should have a single marked "e" tag of type "root""; p tags of the note's author and of all it named.
    """
    roots = [tag[1] for tag in note.tags if len(tag) > 3 and tag[0] == "e" and tag[3] == "root"]
    # What else stands in its tags is a stranger's word, and we sign ours.
    root: tuple[Tag, ...] = tuple(("e", found, "", "root") for found in roots[:1] if _HEX64.fullmatch(found))
    parent = ("e", note.id, relay, "reply" if root else "root", note.pubkey)
    people = dict.fromkeys(
        [note.pubkey, *(key for key in note.tag_values("p") if _HEX64.fullmatch(key) and key != pool)]
    )
    tags = (*root, parent, *(("p", person) for person in people))
    return UnsignedEvent(NOTE, now_s, tags, text)


def hashrate_answer(pool: PoolNow, miner: MinerNow | None, now_ms: int) -> str:
    """The pool's hashrate, and the asker's own where it is asked for in private."""
    lines = [
        f"The pool: {hashrate_text(pool.hashrate_5m)} over five minutes, {hashrate_text(pool.hashrate_1h)} over"
        f" an hour, {counted(pool.miners, 'miner')}, {counted(pool.blocks_24h, 'block')} in 24 hours."
    ]
    if miner is not None and miner.last_share_ms:
        lines.append(
            f"You: {hashrate_text(miner.hashrate_5m)} over five minutes, {hashrate_text(miner.hashrate_1h)} over"
            f" an hour, last share {ago_text(now_ms - miner.last_share_ms)}."
        )
    return "\n".join(lines)


def balance_answer(miner: MinerNow | None) -> str:
    """The asker's own balance."""
    if miner is None:
        return "This pool has never seen a share of your npub. Use it as your miner's user name, and ask again."
    lines = [
        f"Waiting in blocks that are not mature yet: {sat_text(miner.pending_msat)}.",
        f"Yours, to be paid: {sat_text(miner.owed_msat)}.",
        f"Paid to you so far: {sat_text(miner.paid_msat)}.",
    ]
    if miner.owed_msat > 0 and miner.unpaid_because:
        lines.append(f"Not paid yet: {miner.unpaid_because}.")
    return "\n".join(lines)


def help_answer(name: str, stratum_url: str) -> str:
    """What can be asked, and how to mine."""
    return "\n".join(
        (
            f"This is the mining pool {name}; a machine answers here.",
            "Write hashrate for the pool's hashrate and yours, balance for what you earned and were paid, or test for a"
            " test of the notices your settings ask for.",
            f"To mine, point a miner at {stratum_url} with your npub as the user name.",
        )
    )


def answer(command: Command, pool: PoolNow, miner: MinerNow | None, *, name: str, stratum_url: str, now_ms: int) -> str:
    """The private answer to a command of the miner it tells of."""
    if command is Command.HASHRATE:
        return hashrate_answer(pool, miner, now_ms)
    if command is Command.BALANCE:
        return balance_answer(miner)
    return help_answer(name, stratum_url)
