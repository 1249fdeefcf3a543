"""The configured conduct on Nostr: who the pool says it is, what it posts, whom it answers."""

from dataclasses import dataclass

from nips.nip05 import InvalidIdentifier, parse_identifier
from noncestr.citizen.notes import BLOCK_PLACES, DAY_PLACES, template_problem
from noncestr.config.checks import between
from noncestr.config.key import config_key as _key


def domain_name(value: str) -> str | None:
    """A domain, without scheme and path."""
    try:
        fits = not value or ("@" not in value and parse_identifier(value).domain == value)
    except InvalidIdentifier:
        fits = False
    return None if fits else "must be a domain in lower case such as pool.example.com, without https://"


def block_template(value: str) -> str | None:
    """The text of a block's note."""
    return template_problem(value, BLOCK_PLACES)


def day_template(value: str) -> str | None:
    """The text of a day's note."""
    return template_problem(value, DAY_PLACES)


@dataclass(frozen=True, slots=True)
class SocialConfig:
    """The pool on Nostr, for people: profiles, notes, status, answers."""

    domain: str = _key(
        "",
        "The domain whose https:// leads to this pool's page: names its keys (NIP-05), lists its /relay.",
        domain_name,
    )
    about: str = _key("", 'What the profile says of the pool; "": a sentence that tells how to mine and to check.')
    profiles: bool = _key(True, "Publish profiles of the pool and its keys, relay lists, and the page as a handler.")
    notes: bool = _key(True, "Post a note for each block found.")
    daily: bool = _key(True, "Post a summary of each day (UTC).")
    notes_per_day: int = _key(
        24, "Never more notes within 24 hours; further blocks are told in the summary alone.", between(1, 1000)
    )
    name_finders: bool = _key(True, "Notes name the miners who found blocks (and so notify them).")
    block_note: str = _key(
        "", 'The note of a block in your words, with places such as {height}; "": ours.', block_template
    )
    daily_note: str = _key("", 'The note of a day in your words, with places such as {blocks}; "": ours.', day_template)
    status_minutes: int = _key(
        10, "Show hashrate and miners beside the pool's name (NIP-38), renewed this often; 0: never.", between(0, 1440)
    )
    replies: bool = _key(True, "Answer private messages (hashrate, balance, help) and notes that ask for the hashrate.")
    replies_per_hour: int = _key(12, "Answers one npub gets within an hour.", between(1, 1000))
    replies_per_day: int = _key(2000, "Answers all get together within 24 hours.", between(1, 100_000))
