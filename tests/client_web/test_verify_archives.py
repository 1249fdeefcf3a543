"""Two readings of what archives say of the chains they hold."""

from collections.abc import Callable

from nips.pool.archive import ArchiveBody, Digest, build_archive
from nips.pool.chain import Head, next_link
from nips.pool.terms import NEVER
from tests.accounting.conftest import TERMS, LogBuilder, tell_story
from tests.client_web.told_logs import Told, codes, judge_logs

AFTER_MS = 10**9
DAY_S = 86_400
DIGEST = Digest("ab" * 32, 1000)
Heads = dict[str, Head]


def every_head(log: LogBuilder) -> Heads:
    """The newest events of all chains of the story."""
    keys = log.keys
    names = {
        f"{keys.pool.pubkey}/terms": "terms",
        f"{keys.edge.pubkey}/0": "0",
        f"{keys.edge.pubkey}/1": "1",
        f"{keys.accounting.pubkey}/accounting": "accounting",
        f"{keys.zapper.pubkey}/payouts": "payouts",
    }
    return {name: log.heads[chain] for name, chain in names.items()}


def archived(
    label: str,
    change: Callable[[LogBuilder, Heads], Heads] = lambda _, heads: heads,
    *,
    from_s: int = 0,
    to_s: int = DAY_S,
    then: Callable[[LogBuilder], object] = lambda _: None,
    without: str = "",
) -> Told:
    """The story, and an archive of a day with heads as a pool may sign them."""
    log = tell_story()
    heads = change(log, every_head(log))
    body = ArchiveBody(log.t0 // 1000 + from_s, log.t0 // 1000 + to_s, 9, DIGEST, DIGEST, heads)
    unsigned = build_archive(log.pool, next_link(log.heads["accounting"]), body, log.t0 // 1000 + DAY_S)
    log.sign("archive", log.keys.accounting, unsigned, "accounting")
    then(log)
    return Told(label, log.pool, log.t0 + AFTER_MS, log.all(*([without] if without else [])))


def edge_lane(log: LogBuilder, lane: int = 0) -> str:
    return f"{log.keys.edge.pubkey}/{lane}"


def test_heads_of_archives(node: str) -> None:
    def other_event(log: LogBuilder, heads: Heads) -> Heads:
        # What the edge would have to fork to make true.
        return heads | {edge_lane(log): Head(heads[edge_lane(log)].seq, "ab" * 32)}

    def older(log: LogBuilder, heads: Heads) -> Heads:
        return heads | {edge_lane(log): Head(2, log.events["batch 0/2"].id)}

    def wrong_number(log: LogBuilder, heads: Heads) -> Heads:
        return heads | {edge_lane(log): Head(3, log.events["batch 0/2"].id)}

    def further(log: LogBuilder, heads: Heads) -> Heads:
        return heads | {edge_lane(log): Head(heads[edge_lane(log)].seq + 5, "ab" * 32)}

    def another_lane(log: LogBuilder, heads: Heads) -> Heads:
        return heads | {edge_lane(log, 7): Head(0, "ab" * 32)}

    def stranger(log: LogBuilder, heads: Heads) -> Heads:
        return heads | {f"{log.keys.stranger.pubkey}/0": Head(0, "ab" * 32)}

    def close(log: LogBuilder, *, revoke: bool = False) -> None:
        """The pool gives lane 0 up, or its edge, below what the archive names."""
        edge, head = log.keys.edge.pubkey, Head(2, log.events["batch 0/2"].id)
        closed = {f"{edge}/0": head, f"{edge}/1": log.heads["1"]} if revoke else {f"{edge}/7": NEVER}
        keys = tuple(pair for pair in TERMS.keys if not revoke or pair[0] != edge)
        offers = log.offers[log.heads["terms"].id].offers
        terms = TERMS.__class__(offers=offers, keys=keys, closed=closed, limits=TERMS.limits)
        log.terms(100_000_000, terms)

    logs = {
        archived("true"): set(),
        archived("true of a part", older): set(),
        archived("of another event", other_event): {"archive"},
        archived("of another number", wrong_number): {"archive"},
        archived("of a stranger", stranger): {"archive"},
        archived("beyond what was read", further): {"gap"},
        archived("of a lane that nobody saw", another_lane): {"gap"},
        archived("of events before its time", from_s=3600): {"archive"},
        archived("of events after its time", to_s=30): {"archive"},
        archived("of a lane that never was", another_lane, then=close): set(),
    }
    for log, ours in zip(logs, judge_logs(node, list(logs)), strict=True):
        assert codes(ours["findings"]) == codes(log.audit()["findings"]) == logs[log], log.label
    # Relays may hide what it names; a key that was revoked since convicts nobody.
    hidden = archived("hidden", without="batch 0/5")
    revoked = archived("revoked", other_event, then=lambda log: close(log, revoke=True))
    for log, ours in zip((hidden, revoked), judge_logs(node, [hidden, revoked]), strict=True):
        assert "archive" not in codes(ours["findings"]) | codes(log.audit()["findings"]), log.label
    assert "gap" in codes(hidden.audit()["findings"])
