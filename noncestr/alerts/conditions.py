"""What wakes an operator: conditions of a running pool, when each is said, and the daily report. Pure.

A condition is said once when it begins, again every `repeat_ms` while it lasts, and once when it is over.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from noncestr.citizen.words import counted, hashrate_text, sat_text
from noncestr.disk_trend import Trend

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS
# What begins and ends within this is a restart somewhere, and nobody's sleep.
SETTLE_MS: Final = 5 * MINUTE_MS
# The alert of a disk that will be full.
FILLING: Final = "disk fills"
# Miners named in one alert; the page has all of them.
SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class AlertLimits:
    """From where on something is a trouble. `backlog`: events that a relay has not answered; `payout_ms`: how long a
    payout may be under way; `signature_ms`: how long one may wait for the operator's signature; `disk_bytes`: free on
    the data folder's disk; `disk_ms`: until it is full, as it fills now (0: never mind); `node_ms`: without an answer
    of any node.
    """

    backlog: int = 10_000
    payout_ms: int = 6 * HOUR_MS
    signature_ms: int = HOUR_MS
    disk_bytes: int = 2 * 2**30
    disk_ms: int = 14 * DAY_MS
    node_ms: int = 2 * MINUTE_MS
    lane_ms: int = 10 * MINUTE_MS


@dataclass(frozen=True, slots=True)
class Facts:
    """What is looked at. `health`, `lanes`, `treasury`: the read model's; `oldest_payout_ms`: when the oldest open
    payout was begun (Unix ms), None without one; `dead`: miners that can't be paid and why;
    `unsigned`: since when (Unix ms) which payouts wait for the operator's signature; `disk`: how the disk fills;
    `sent_all_the_same`: txids of cancelled batches that were found sent;
    `told`: the keys of the alerts that last.
    """

    now_ms: int
    health: Mapping[str, Any]
    lanes: Sequence[Mapping[str, Any]] = ()
    oldest_payout_ms: int | None = None
    dead: Mapping[str, str] | None = None
    unsigned: Sequence[tuple[int, str]] = ()
    sent_all_the_same: Sequence[str] = ()
    treasury: Mapping[str, Any] | None = None
    free_bytes: int | None = None
    disk: Trend | None = None
    told: frozenset[str] = frozenset()
    node_lost_ms: int = 0


@dataclass(frozen=True, slots=True)
class Alert:
    """A trouble. `key` stays the same while it lasts; `settles`: it is only said once it has lasted for a while;
    `happened`: it does not last, so it is said once and is never over.
    """

    key: str
    text: str
    settles: bool = False
    happened: bool = False


def conditions(facts: Facts, limits: AlertLimits) -> list[Alert]:
    """What is wrong now, the money first."""
    return [*_money(facts, limits), *_books(facts), *_relays(facts, limits), *_edge(facts, limits)]


def _money(facts: Facts, limits: AlertLimits) -> Iterable[Alert]:
    zapper = facts.health["parts"]["zapper"]
    if zapper["blocked"]:
        yield Alert("payouts", f"Nothing is paid: {zapper['blocked']}")
    if zapper["alerts"]:
        ids = ", ".join(zapper["alerts"][:SHOWN])
        yield Alert("unknown", f"{len(zapper['alerts'])} payouts have been unknown for too long: {ids}")
    for txid in facts.sent_all_the_same:
        text = f"Batch {txid} was cancelled, and sent all the same: what it pays counts as paid; who was paid in its"
        yield Alert(f"sent {txid}", f"{text} place meanwhile is paid ahead. See noncestr payouts", happened=True)
    yield from _treasury(facts.treasury)
    if facts.unsigned and facts.now_ms - min(facts.unsigned)[0] > limits.signature_ms:
        yield Alert("unsigned", f"{len(facts.unsigned)} payouts wait for your signature: noncestr payouts psbt list")
    oldest = facts.oldest_payout_ms
    if oldest is not None and facts.now_ms - oldest > limits.payout_ms:
        yield Alert("oldest", f"A payout has been under way for {(facts.now_ms - oldest) // HOUR_MS} hours")
    dead = facts.dead or {}
    if dead:
        some = "; ".join(f"{miner[:12]}: {reason}" for miner, reason in sorted(dead.items())[:SHOWN])
        yield Alert("dead", f"{len(dead)} miners can't be paid ({some})")


def _treasury(told: Mapping[str, Any] | None) -> Iterable[Alert]:
    """Less than is owed; and each place that does not tell, whatever is owed."""
    if told is None:
        return
    silent = [place for place in told["holdings"] if place["silence"] is not None]
    elsewhere = [place for place in silent if place["source"] is not None]
    # What is not known because of holders elsewhere is said of each of them, once.
    if told["alert"] and (len(elsewhere) < len(silent) or not silent):
        yield Alert("treasury", f"Treasury: {told['alert']}", settles=True)
    for place in elsewhere:
        key = f"funds {place['name']} {place['source']}"
        yield Alert(key, f"Funds that are not counted: {place['silence']}", settles=True)


def _books(facts: Facts) -> Iterable[Alert]:
    accounting = facts.health["parts"]["accounting"]
    if not accounting["ok"]:
        why = ", ".join(f"{name}: {value}" for name, value in sorted(accounting.items()) if name != "ok" and value)
        yield Alert("accounting", f"The accounting is not well ({why})", settles=True)


def _relays(facts: Facts, limits: AlertLimits) -> Iterable[Alert]:
    relays = facts.health["parts"]["relays"]
    if not relays["ok"]:
        yield Alert("relays", "No relay of the log is connected: receipts wait on disk", settles=True)
    for url in relays["dead"]:
        yield Alert(f"relay {url}", f"The relay {url} has been away for more than ten minutes")
    for relay in relays["each"]:
        if relay["backlog"] > limits.backlog:
            yield Alert(f"backlog {relay['url']}", f"{relay['backlog']:,} events wait for {relay['url']}", settles=True)
    for what, count in sorted(relays["alarms"].items()):
        if count:
            # Each one more is news: the key carries the number.
            text = f"{count} {what} of chains were seen on the relays: run noncestr verify"
            yield Alert(f"{what} {count}", text, happened=True)


def _edge(facts: Facts, limits: AlertLimits) -> Iterable[Alert]:
    edge = facts.health["parts"]["edge"]
    if edge["stalled"]:
        yield Alert("edge", "The edge cannot store shares, or a lane's process is down", settles=True)
    if facts.node_lost_ms > limits.node_ms:
        yield Alert("node", f"No node has answered for {facts.node_lost_ms // MINUTE_MS} minutes")
    for lane in facts.lanes:
        if lane["quiet_ms"] > limits.lane_ms:
            silent = f"Lane {lane['lane']} has been silent for {lane['quiet_ms'] // MINUTE_MS} minutes"
            yield Alert(f"lane {lane['lane']}", f"{silent}: statements wait for it")
    if facts.free_bytes is not None and facts.free_bytes < limits.disk_bytes:
        yield Alert("disk", f"{facts.free_bytes // 2**20:,} MiB are left on the data folder's disk")
    yield from _filling(facts, limits)


def _filling(facts: Facts, limits: AlertLimits) -> Iterable[Alert]:
    if facts.disk is None:
        return
    # What was told is over once it is well over: else it would come and go with every hour.
    limit = limits.disk_ms * 3 // 2 if FILLING in facts.told else limits.disk_ms
    if facts.disk.left_ms < limit:
        went = f"{facts.disk.bytes / 1e9:.1f} GB went in {facts.disk.ms / DAY_MS:.1f} days"
        yield Alert(FILLING, f"The data folder's disk is full in {facts.disk.left_ms / DAY_MS:.1f} days: {went}")


@dataclass(frozen=True, slots=True)
class Lasting:
    """A trouble that lasts: since when, when it was last said (0: never), its newest text; `happened` as in `Alert`."""

    since_ms: int
    said_ms: int
    text: str
    happened: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """What to say now, and what to remember."""

    lines: tuple[str, ...]
    memory: Mapping[str, Lasting]


def news(found: Iterable[Alert], memory: Mapping[str, Lasting], *, now_ms: int, repeat_ms: int) -> Said:
    """What of the conditions found is to be said. What was never said is not said to be over either."""
    lines: list[str] = []
    kept: dict[str, Lasting] = {}
    for alert in found:
        known = memory.get(alert.key)
        since = now_ms if known is None else known.since_ms
        said = 0 if known is None else known.said_ms
        waits = alert.settles and now_ms - since < SETTLE_MS
        again = said and not alert.happened and now_ms - said >= repeat_ms
        if not waits and (said == 0 or again):
            lines.append(alert.text if said == 0 else f"Still, for {_span(now_ms - since)}: {alert.text}")
            said = now_ms
        kept[alert.key] = Lasting(since, said, alert.text, alert.happened)
    for key, lasting in memory.items():
        if key not in kept and lasting.said_ms and not lasting.happened:
            lines.append(f"Over after {_span(now_ms - lasting.since_ms)}: {lasting.text}")
    return Said(tuple(lines), kept)


def _span(ms: int) -> str:
    minutes = ms // MINUTE_MS
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"


def report(facts: Facts, pool: Mapping[str, Any], troubles: Iterable[str]) -> str:
    """How the pool is, for a person who reads it once a day. `pool`: the read model's."""
    rates = pool["hashrate_hs"]
    lines = [
        f"Hashrate {hashrate_text(int(rates['1h']))} over the last hour, {counted(pool['miners'], 'miner')}, "
        f"{counted(pool['workers'], 'worker')}.",
        f"{counted(pool['blocks_found'], 'block')} so far, the chain is at {pool['height']}.",
        f"{counted(facts.health['parts']['zapper']['settled'], 'payout')} since the start.",
    ]
    if facts.treasury is not None:
        held = facts.treasury["funds_msat"]
        funds = "" if held is None else f", the treasury holds {sat_text(held)}"
        lines.append(f"Miners are owed {sat_text(facts.treasury['owed_msat'])}{funds}.")
    lasting = list(troubles)
    lines += [f"Trouble: {text}" for text in lasting] if lasting else ["No trouble is known."]
    return "\n".join(lines)
