"""What is kept of a checked batch: all of it comes back, or none of it."""

from typing import Any

from accounting.checks import FORM, digest_of, open_check, pack_check
from accounting.facts import BatchChecked
from accounting.log import PoolLog
from nips.nip01 import encode_event
from nips.pool.receipt import parse_receipt


def checks(log: Any) -> list[BatchChecked]:
    pool_log = PoolLog(log.pool)
    for event in log.all():
        pool_log.add(event)
    return [fact for fact in pool_log.settle() if isinstance(fact, BatchChecked)]


def test_what_was_kept_comes_back(story: Any) -> None:
    by_id = {event.id: event for event in story.all()}
    for fact in checks(story):
        assert fact.check is not None
        event = by_id[fact.receipt.id]
        known = open_check(event.id, fact.check, encode_event(event))
        assert known is not None
        receipt = parse_receipt(event)
        assert known.event() == event
        assert known.receipt() == receipt
        assert (known.shares, known.digest) == (fact.shares, digest_of(fact.check))
        names = ("id", "signer", "lane", "link", "from_ms", "to_ms", "created_at", "jobs", "work", "fin")
        assert [getattr(known, name) for name in names] == [getattr(receipt, name) for name in names]
        assert (known.head.good, known.head.work, known.head.told) == (len(fact.shares), fact.shares.work, receipt.work)


def test_what_is_damaged_or_another_batchs_or_of_an_older_form_is_not_known(story: Any) -> None:
    first, second, *_ = checks(story)
    assert first.check is not None
    for at in range(len(first.check)):
        changed = first.check[:at] + bytes([first.check[at] ^ 1]) + first.check[at + 1 :]
        assert open_check(first.receipt.id, changed, b"") is None
    assert open_check(second.receipt.id, first.check, b"") is None
    assert open_check(first.receipt.id, first.check[:-1], b"") is None
    assert open_check(first.receipt.id, b"", b"") is None
    # Before FORM 2 a check was a MessagePack array of nine, without a hash.
    assert open_check(first.receipt.id, b"\x99" + first.check[1:], b"") is None
    assert first.check[0] == FORM
    assert pack_check(parse_receipt(story.events["batch 0/0"]), b"")[0] == FORM
