"""Every field of every event of a log altered, and signed anew by the key that signed it: the audit names each.

What follows the altered event is chained to it as the pool would have had to, so that no hash gives it away; work stays
what was done. `make tamper` tries all of some 2100 ways, the suite some of them.
"""

import os
import random
import re
from collections.abc import Callable
from typing import Any

import pytest

from accounting.ahead import Bad, read_line
from accounting.archive import ArchiveError, ArchiveHeader, canonical_order, read_lines, stub_of, write_lines
from accounting.findings import Code
from accounting.verifier import Unverified, audit
from nips.nip01 import encode_event
from nips.pool.binding import BoundWork
from nips.pool.receipt import Receipt, ShareRecord, parse_receipt
from nips.pool.targets import target_from_bits
from tests.accounting.hourly import tell_hours
from tests.accounting.tampering import Mutation, mutations

# So many mutations are tried; make's verb sets it.
TRIED = int(os.environ.get("NONCESTR_TAMPERS", "300"))
# Which ones these are; all the same if all are tried.
SEED = os.environ.get("NONCESTR_TAMPER_SEED", "1")
AFTER_MS = 10**9
# Tests that share them, for workers that share the tests.
PARTS = 4

# Kind and field, as a pattern -> of these codes one must be found. The first pattern that fits counts.
CAUGHT: list[tuple[str, set[Code]]] = [
    (r" v (more|less)$", {Code.UNKNOWN_VERSION}),
    # An event that is none of the pool's is missing from it.
    (r"4210 tag a", {Code.MISSING_TERMS, Code.GAP}),
    (r"4211 tag a", {Code.MISSING_JOB}),
    (r"4213 tag a", {Code.BLOCK_UNTOLD}),
    (r"4216 tag a", {Code.GAP, Code.OVERPAID}),
    (r"421[245] tag a", {Code.GAP, Code.MISSING_BATCH}),
    (r"42(18|21) tag a", {Code.GAP, Code.SUMMARY}),
    (r"tag prev\[1\]", {Code.BROKEN_CHAIN}),
    (r"tag seq\[1\]", {Code.GAP, Code.FORK, Code.MALFORMED}),
    (r"42(10|14|15|16|18|20|21) dated a day earlier", {Code.BACKDATED, Code.OVERPAID}),
    (r"4210 offers\.\w+ left out", {Code.JOB_OFFER}),
    (r"4210 offers\.\w+\.(fee_ppm|window_\w+) (more|less|other)", {Code.STATEMENT_SPLIT, Code.STATEMENT_WINDOW}),
    (r"4210 limits\.block_bits left out", {Code.BLOCK_UNTOLD}),
    (r"4210 keys", {Code.MALFORMED, Code.JOB_SIGNER, Code.KEY_NOT_CLOSED}),
    (r"4210 ", {Code.MALFORMED}),
    (r"4211 terms other", {Code.MISSING_TERMS}),
    (r"4211 (coinb1 other|height (more|less))", {Code.JOB_COINBASE}),
    (r"4211 offer other", {Code.JOB_OFFER}),
    (r"4211 heads\.\d", {Code.JOB_HEAD, Code.SHARE_WORK}),
    (r"4211 (dated|(bind|en1|en2)_size|\w+ left out)", {Code.MALFORMED}),
    # The second in which the job was made may turn, and with it the date that its event must have.
    (r"4211 ms", {Code.SHARE_WORK, Code.MALFORMED}),
    (r"4211 ", {Code.SHARE_WORK}),
    (r"4212 tag lane\[1\]", {Code.GAP, Code.FORK}),
    (r"4212 tag work\[1\]", {Code.WORK_TAG}),
    (r"4212 tag window\[\d\]", {Code.WINDOW_GAP, Code.MALFORMED}),
    (r"4212 tag e\[1\]", {Code.MISSING_JOB}),
    (r"4212 tag p\[1\]", {Code.SHARE_WORK, Code.SHARE_MINER}),
    (r"4212 session share_bits", {Code.SHARE_WORK, Code.SHARE_TOO_EASY}),
    # A share by luck, and no block by it.
    (r"4212 session extranonce1", {Code.SHARE_WORK, Code.BLOCK_NOT_SOLVED}),
    # Nothing is paid by a worker's name, or refused shares, but the hour's summary tells them.
    (r"4212 (session worker|rejects (left out|shorter)|rejects\.\[\]\.\[\])", {Code.SUMMARY, Code.MALFORMED}),
    (r"4212 session miner", {Code.SHARE_WORK, Code.MALFORMED}),
    (r"4212 record credited (session|job)", {Code.SHARE_WORK, Code.MALFORMED}),
    (r"4212 record uncredited (session|job)", {Code.MALFORMED}),
    (r"4212 record credited (ntime|nonce|version|extranonce2)", {Code.SHARE_WORK}),
    # Out of order, or out of the window that a statement told.
    (r"4212 record \w+ ms", {Code.MALFORMED, Code.STATEMENT_WINDOW, Code.STATEMENT_REWARD}),
    (r"4212 ", {Code.MALFORMED}),
    (r"4213 tag e\[1\]", {Code.MISSING_RECEIPT}),
    (r"4213 tag share\[1\]", {Code.BLOCK_NOT_SOLVED}),
    (r"4213 (tag p\[1\]|coinbase other|height (more|less)|merkle shorter|merkle\.\[\] other)", {Code.BLOCK_MISMATCH}),
    (r"4213 ", {Code.MALFORMED}),
    (r"4214 tag e", {Code.STATEMENT_REWARD, Code.STATEMENT_NO_BLOCK}),
    (r"4214 tag p\[1\]", {Code.STATEMENT_SPLIT}),
    (r"4214 (fee_msat|rows\.\[\]\.\[\]) (more|less|other)", {Code.STATEMENT_SPLIT, Code.MALFORMED}),
    (r"4214 (terms|offer) other", {Code.STATEMENT_TERMS}),
    (r"4214 reward\.block other", {Code.STATEMENT_NO_BLOCK}),
    (r"4214 reward\.(found_ms|gross_msat|height) (more|less)", {Code.STATEMENT_REWARD}),
    (r"4214 window\.(from_ms|work) (more|less|other)", {Code.STATEMENT_WINDOW}),
    (r"4214 window\.heads\.<key>/\d left out", {Code.STATEMENT_HEADS}),
    (r"4214 window\.heads\.<key>/\d\.\[\] other", {Code.MISSING_BATCH}),
    (r"4214 window\.heads\.<key>/\d\.\[\] (more|less)", {Code.STATEMENT_HEADS}),
    (r"4214 ", {Code.MALFORMED, Code.BACKDATED}),
    # What no receipt attests, or one that is none, is the payer's word.
    # Without a provider a receipt counts for nothing: the payment is the pool's word.
    (r"4215 proof\.(receipt|provider left out)", {Code.PAYOUT_CLAIMED}),
    (r"4215 (proof\.|amount_msat (more|less))", {Code.PAYOUT_PROOF}),
    (r"4215 ", {Code.MALFORMED}),
    (r"4216 ", {Code.MALFORMED}),
    (r"4218 ", {Code.SUMMARY, Code.BACKDATED, Code.SUMMARY_NOT_RECOMPUTED}),
    (r"4220 heads\.<key>/\w+\.\[\] (more|less|other)", {Code.ARCHIVE, Code.GAP}),
    (r"4220 ", {Code.MALFORMED}),
    (r"4221 ", {Code.SUMMARY, Code.MALFORMED}),
    (r"9735 ", {Code.PAYOUT_PROOF, Code.PAYOUT_CLAIMED}),
]

# Label, kind and field, as a pattern -> why altering it harms nobody, so that nothing need be found.
HARMLESS: list[tuple[str, str]] = [
    (r": \d+ tag alt", "alt is a line for people (NIP-31): no reader of the log reads it"),
    (r": \d+ tag e\[2\]", "a relay's address, empty here: where to look, not what is meant"),
    (r": \d+ dated a second later", "a date that does not fall along its chain is the signer's to choose"),
    (r": (4213|9735) dated", "in no chain: the share says when a block was found, the invoice what was paid"),
    (r"^terms 0: 4210 dated a day earlier", "the first of all events, with nothing before it"),
    (r": 4210 limits\.\w+ (more|less|other)", "another promise, by a unit, which this log keeps as well"),
    (r": 4210 (payouts|log)\.\w+ (more|less)", "what the pool means to do; nothing is judged by it"),
    (r": 4210 offers\.\w+\.window_milli", "regtest's nbits have a work of 2: window_min_work decides here"),
    (r": 4210 offers\.lunch", "what none of its blocks' jobs names, or a window that its work does not fill"),
    (r": 4210 offers\.main\.(window_max_ms|window_min_work)", "the window's other edge decides what counts"),
    (r": 4210 keys", "a role that the other terms give is given"),
    (r": 4212 rejects left out", "optional, where there are none"),
    (r": 4212 record \w+ ms", "a share's time is the edge's word within anchor_ms; the statements count by it as told"),
    (
        r": 4212 record \w+ status",
        "credited remains credited, uncredited uncredited: whether accepted upstream is told",
    ),
    (r": 4212 record uncredited", "a share that nobody is credited for: of what it was made is the edge's word"),
    (r"^batch \d/0: 4212 tag window\[1\]", "nothing lies before a lane's first batch"),
    (r"^batch 1/5: 4212 tag fin left out", "a lane that goes on, the log's newest: it owes nothing yet"),
    (r"^(batch 0/8|batch 1/5|payout 2|archive 0): 42\d\d tag a", "the newest of its chain: a log may end before it"),
    (r": 4214 window\.heads\.<key>/0 left out", "a lane without any work of the offer"),
    (
        r": 4215 (network_fee_msat|payout_id|to) (more|other)",
        "the payer's own words: fee borne by the pool, name, why there",
    ),
    (
        r": 4220 (events|file\.size|stream|from_s|to_s|urls|heads\S+ left out)",
        "of the file, which is held against it when it is read",
    ),
    (r": 9735 tag (P|preimage) left out", "optional (NIP-57); the payout has the preimage"),
]


@pytest.fixture(scope="session")
def tell(tell: Callable[..., Any]) -> Callable[..., Any]:
    """The story, and two hours beyond it with their summaries."""
    return lambda **how: tell_hours(tell(**how))


@pytest.fixture(scope="session")
def story(tell: Callable[..., Any]) -> Any:
    """The long story as an honest pool tells it."""
    return tell()


def all_mutations(story: Any) -> list[Mutation]:
    return [each for label, event in story.events.items() for each in mutations(label, event)]


def chosen(story: Any) -> list[Mutation]:
    """One of each kind and field in turn, until there are enough: so every class is met, given time."""
    order = random.Random(SEED)
    by_name: dict[str, list[Mutation]] = {}
    for each in all_mutations(story):
        by_name.setdefault(each.name, []).append(each)
    names = list(by_name)
    order.shuffle(names)
    for each_of in by_name.values():
        order.shuffle(each_of)
    found: list[Mutation] = []
    for turn in range(max(map(len, by_name.values()))):
        found += [by_name[name][turn] for name in names if turn < len(by_name[name])]
    return found[:TRIED]


def is_lucky(log: Any, each: Mutation) -> bool:
    """Whether an altered share happens to be one: at toy difficulty one header in 64 is."""
    if not re.match(
        r"4212 (record credited (ntime|nonce|version|extranonce2|job|session)|session (extranonce1|share_bits))",
        each.name,
    ):
        return False
    receipt, old = parse_receipt(log.events[each.label]), parse_receipt(log.clean.events[each.label])
    changed = [
        record
        for record, told in zip(receipt.records(), old.records(), strict=True)
        if record != told or receipt.sessions[record.session] != old.sessions[told.session]
    ]
    return bool(changed) and all(is_share(log, receipt, record) for record in changed)


def is_share(log: Any, receipt: Receipt, record: ShareRecord) -> bool:
    session = receipt.sessions[record.session]
    job = next(job for job in log.jobs.values() if job.id == receipt.jobs[record.job])
    work = BoundWork(job, receipt.miners[session.miner], session.share_bits, session.extranonce1)
    value = work.hash(record.extranonce2, record.ntime, record.nonce, record.version)
    return int.from_bytes(value, "little") <= target_from_bits(session.share_bits)


def verdict(tell: Callable[..., Any], story: Any, each: Mutation) -> str | None:
    """What is wrong with the audit of a tampered log; None if it is as the tables say."""
    log = tell(tamper={each.label: each.apply})
    log.clean = story
    assert log.events[each.label] != story.events[each.label], each
    report = audit(log.all(), [], log.pool, now_ms=log.t0 + AFTER_MS)
    found = {finding.code for finding in report.findings} - {Code.CHAIN_FACTS}
    acceptable = next((codes for pattern, codes in CAUGHT if re.search(pattern, each.name)), set())
    if found & acceptable:
        return None
    harmless = any(re.search(pattern, f"{each.label}: {each.name}") for pattern, _ in HARMLESS)
    # A share by luck has another hash: the best of its hour may be another.
    if (not found and harmless) or (found <= {Code.SUMMARY} and is_lucky(log, each)):
        return None
    return f"{each.label}: {each.name}: found {sorted(found)}, expected one of {sorted(acceptable)}"


def test_the_clean_log_holds(story: Any) -> None:
    report = audit(story.all(), [], story.pool, now_ms=story.t0 + AFTER_MS)
    assert {finding.code for finding in report.findings} == {Code.CHAIN_FACTS}


@pytest.mark.parametrize("part", range(PARTS))
def test_what_is_altered_and_signed_again_is_named(tell: Callable[..., Any], story: Any, part: int) -> None:
    wrong = [text for each in chosen(story)[part::PARTS] if (text := verdict(tell, story, each)) is not None]
    assert not wrong, "\n".join(wrong)


def test_every_kind_of_event_and_field_is_tried(story: Any) -> None:
    everything = all_mutations(story)
    assert len(everything) > 1500
    assert len({each.name for each in everything}) > 300
    assert {each.name.split()[0] for each in everything} == {
        "4210", "4211", "4212", "4213", "4214", "4215", "4216", "4218", "4220", "4221", "9735"
    }  # fmt: skip


def test_each_row_of_the_tables_is_of_use(story: Any) -> None:
    """A pattern that fits nothing is a mistake, and no reason stands for what is always caught."""
    everything = [(each.name, f"{each.label}: {each.name}") for each in all_mutations(story)]
    for pattern, _ in CAUGHT:
        assert any(re.search(pattern, name) for name, _ in everything), pattern
    for pattern, _ in HARMLESS:
        assert any(re.search(pattern, text) for _, text in everything), pattern


def other(value: Any, field: str) -> Any:
    """Another value of the same form."""
    if field in ("created_at", "kind"):
        return value + 1
    if field == "tags":
        return (*value, ("x", "y"))
    return value + " " if field == "content" else value[:-1] + f"{int(value[-1], 16) ^ 1:x}"


@pytest.mark.parametrize("field", ["id", "pubkey", "created_at", "kind", "tags", "content", "sig"])
def test_what_is_altered_and_not_signed_is_no_event(story: Any, field: str) -> None:
    """Every event of the log, one field changed on the wire."""
    bad = []
    for event in story.events.values():
        fields = {name: getattr(event, name) for name in event.__struct_fields__}
        altered = type(event)(**{**fields, field: other(fields[field], field)})
        read = read_line(encode_event(altered))
        assert isinstance(read, Bad), event
        bad.append(Unverified("ws://relay", read.event.id if read.event else None, read.reason))
    report = audit(story.all(), bad, story.pool, now_ms=None)
    assert {finding.code for finding in report.findings} == {Code.CHAIN_FACTS, Code.BAD_SIGNATURE}
    assert report.exit_code == 1


def spoilt(lines: list[bytes], order: random.Random) -> list[bytes]:
    """An archive's lines with one thing altered."""
    at, way = order.randrange(len(lines)), order.choice(("bit", "drop", "twice", "swap", "cut", "end"))
    line = lines[at]
    if way == "bit":
        place = order.randrange(len(line))
        other = bytes([line[place] ^ 1 << order.randrange(7)])
        return [*lines[:at], line[:place] + other + line[place + 1 :], *lines[at + 1 :]]
    if way == "swap":
        after = (at + 1) % len(lines)
        swapped = lines.copy()
        swapped[at], swapped[after] = swapped[after], swapped[at]
        return swapped
    if way == "cut":
        return [*lines[:at], line[: order.randrange(len(line))]]
    return {"drop": [*lines[:at], *lines[at + 1 :]], "twice": [*lines[:at], line, *lines[at:]], "end": lines[:at]}[way]


def test_an_altered_archive_file_is_refused(story: Any) -> None:
    """Whatever is done to the file, it does not pass for the whole of one; what was signed stays what it was."""
    events = {event.id: event for event in story.all()}
    dates = [event.created_at for event in events.values()]
    header = ArchiveHeader(story.pool, min(dates), max(dates) + 1)
    order = random.Random(SEED)
    lines = list(write_lines(header, [events[name] for name in canonical_order(map(stub_of, events.values()))]))
    assert {event.id for event in read_lines(lines)} == set(events)
    for _ in range(100):
        with pytest.raises(ArchiveError):
            list(read_lines(spoilt(lines, order)))
