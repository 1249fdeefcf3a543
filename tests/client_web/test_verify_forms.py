"""Two readings of single events: what one verifier refuses the other refuses, and what one reads the other reads.

Every kind of event, its tags and its content's JSON altered at random: no signatures here, and so many of them.
"""

import json
import os
import random
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from accounting.accounting_events import check_form, parse_accounting
from nips.errors import InvalidEvent, InvalidPoolEvent
from nips.nip01 import UnsignedEvent, VerifiedEvent, encode_event, parse_event, verify
from nips.pool import kinds
from nips.pool.block import parse_block
from nips.pool.chain import FIRST, Head
from nips.pool.content import UnknownVersion
from nips.pool.job import parse_job
from nips.pool.payout import parse_payout
from nips.pool.receipt import parse_receipt
from nips.pool.statement import build_status
from nips.pool.terms import NEVER, PayoutTerms, build_terms, parse_terms
from tests.accounting.conftest import KEYS, POOL, TERMS
from tests.accounting.loyalty_story import OFFERS
from tests.client_web.alterations import rewritten
from tests.client_web.told_logs import MODULES, ROOT

# So many alterations are tried; make's verb sets it.
TRIED = int(os.environ.get("NONCESTR_FORMS", "6000"))
SEED = int(os.environ.get("NONCESTR_ALTER_SEED", "1"))
READERS: dict[int, Callable[[VerifiedEvent], Any]] = {
    kinds.TERMS: parse_terms,
    kinds.JOB: parse_job,
    kinds.RECEIPT: parse_receipt,
    kinds.BLOCK: parse_block,
    kinds.PAYOUT: parse_payout,
}


def read(event: VerifiedEvent) -> str:
    """What the reader in Python makes of an event."""
    try:
        if event.kind in READERS:
            READERS[event.kind](event)
        else:
            check_form(event)
            parse_accounting(event)
    except UnknownVersion:
        return "unknown"
    except InvalidPoolEvent:
        return "malformed"
    return "read"


def read_by_node(node: str, events: Sequence[VerifiedEvent]) -> list[str]:
    """What the reader in TypeScript makes of events."""
    done = subprocess.run(
        [node, str(Path(__file__).with_name("read_forms.mjs")), str(MODULES)],
        # In ASCII: of what may end a line there are more characters than one.
        input="".join(json.dumps(json.loads(encode_event(event))) + "\n" for event in events),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def altered(sources: Sequence[VerifiedEvent], count: int) -> Iterator[tuple[VerifiedEvent, VerifiedEvent]]:
    """Events, and what became of each of them."""
    chance = random.Random(SEED)
    by_kind: dict[int, list[VerifiedEvent]] = {}
    for event in sources:
        by_kind.setdefault(event.kind, []).append(event)
    for _ in range(count):
        event = chance.choice(by_kind[chance.choice(sorted(by_kind))])
        told = rewritten(event, sources, chance)
        yield event, as_signed(event, told)


def as_signed(event: VerifiedEvent, told: UnsignedEvent) -> VerifiedEvent:
    """With the signature of what it was: nobody looks at it here."""
    return VerifiedEvent(event.id, event.pubkey, told.created_at, told.kind, told.tags, told.content, event.sig)


def events_in(value: Any) -> Iterator[VerifiedEvent]:
    """Every event of the log within JSON."""
    if isinstance(value, dict) and "sig" in value and value.get("kind") in kinds.LEDGER_KINDS:
        try:
            yield verify(parse_event(value))
        except InvalidEvent:
            return  # a vector of what is to be refused
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from events_in(inner)


def special() -> Iterator[VerifiedEvent]:
    """What no vector has: terms that make every promise, and a status."""
    promises = PayoutTerms(
        coinbase="x",
        schedule="0 * * * *",
        methods=("zap",),
        max_fee=(1, 2),
        per_day_msat=3,
        onchain_msat=4,
        idle_days=5,
    )
    closed = {f"{KEYS.edge.pubkey}/*": NEVER, f"{KEYS.edge.pubkey}/7": Head(1, "ab" * 32)}
    terms = replace(TERMS, offers=OFFERS, payouts=promises, closed=closed, donate_to=KEYS.bob.pubkey)
    yield KEYS.pool.sign(build_terms(POOL, FIRST, 1, terms))
    yield KEYS.accounting.sign(build_status(POOL, FIRST, "ab" * 32, "matured", 1))


@pytest.fixture(scope="session")
def sources() -> list[VerifiedEvent]:
    """The events of the vectors that both read."""
    files = sorted((ROOT / "tests" / "vectors").glob("*.json"))
    found = {event.id: event for file in files for event in events_in(json.loads(file.read_text()))}
    good = [*special(), *(event for event in found.values() if read(event) == "read")]
    assert {event.kind for event in good} == kinds.LEDGER_KINDS
    return good


def test_every_form(node: str, sources: list[VerifiedEvent]) -> None:
    assert set(read_by_node(node, sources)) == {"read"} == {read(event) for event in sources}
    tried = list(altered(sources, TRIED))
    differ, came = [], Counter[str]()
    for (event, told), here in zip(tried, read_by_node(node, [told for _, told in tried]), strict=True):
        there = read(told)
        came[there] += 1
        if here != there:
            was = json.dumps([event.tags, event.content])
            differ.append(f"{told.kind}: {here} here, {there} there: {json.dumps([told.tags, told.content])} was {was}")
    assert not differ, "\n".join(differ[:20])
    assert min(came["read"], came["malformed"]) > TRIED / 8
    assert came["unknown"]
