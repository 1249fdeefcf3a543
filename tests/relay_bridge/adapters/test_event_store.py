"""The event store: answers as a plain list would, replaces and deletes by the NIPs, and keeps what it confirmed."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nips.keys import SecretKey
from nips.nip01 import Event, Filter, UnsignedEvent, VerifiedEvent, decode_event, make_filter, verify
from nips.pool import kinds
from relay_bridge.adapters.event_store import SqliteEventStore
from relay_bridge.errors import QueryTooSlow
from relay_bridge.ports import Outcome

DAY = 1_700_000_000


async def put(store: SqliteEventStore, *events: VerifiedEvent) -> list[Outcome]:
    """Put all, in one go; wait for all verdicts."""
    loop = asyncio.get_running_loop()
    verdicts = [loop.create_future() for _ in events]
    for event, verdict in zip(events, verdicts, strict=True):
        store.put(event, verdict.set_result)
    return list(await asyncio.gather(*verdicts))


async def ids(store: SqliteEventStore, *filters: Filter, limit: int = 500) -> list[str]:
    return [event_id for event_id, _ in await store.query(filters, default_limit=limit, max_limit=5_000)]


def oracle(events: list[Event], filters: list[Filter], default_limit: int) -> list[str]:
    """NIP-01 said plainly."""
    found: dict[str, Event] = {}
    for asked in filters:
        matches = sorted((e for e in events if asked.matches(e)), key=lambda e: (-e.created_at, e.id))
        found |= {e.id: e for e in matches[: default_limit if asked.limit is None else asked.limit]}
    return [e.id for e in sorted(found.values(), key=lambda e: (-e.created_at, e.id))]


KEYS = [SecretKey(bytes([n]) * 32) for n in (1, 2, 3)]
VALUES = ["a" * 64, "b" * 64, "c" * 64]
TAGS = st.lists(st.tuples(st.sampled_from("eptZ"), st.sampled_from(VALUES)), max_size=3).map(tuple)
EVENTS = st.lists(
    st.tuples(st.sampled_from(KEYS), st.sampled_from([1, 2, 4212]), st.integers(0, 4), TAGS, st.integers(0, 2)),
    max_size=25,
)
FILTERS = st.lists(
    st.builds(
        make_filter,
        ids=st.none(),
        authors=st.none() | st.lists(st.sampled_from([k.pubkey for k in KEYS] + ["f" * 64]), max_size=3),
        kinds=st.none() | st.lists(st.sampled_from([1, 2, 3, 4212]), max_size=3),
        tags=st.dictionaries(st.sampled_from("eptZ"), st.lists(st.sampled_from(VALUES), max_size=3), max_size=2),
        since=st.none() | st.integers(DAY, DAY + 4),
        until=st.none() | st.integers(DAY, DAY + 4),
        limit=st.none() | st.integers(0, 6),
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=EVENTS, filters=FILTERS, pick=st.integers(0, 3))
def test_queries_answer_as_a_plain_list_would(
    drawn: list[tuple[SecretKey, int, int, tuple[tuple[str, str], ...], int]], filters: list[Filter], pick: int
) -> None:
    """Whatever index a filter is answered from: same events, same order, same count."""
    events = list(
        {
            e.id: e for e in (k.sign(UnsignedEvent(kind, DAY + at, tags, str(n))) for k, kind, at, tags, n in drawn)
        }.values()
    )
    # A filter of ids among the others, some of events that are not there.
    filters = [*filters, make_filter(ids=[e.id for e in events[:pick]] + ["0" * 64], kinds=[1, 4212] if pick else None)]

    async def check() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with SqliteEventStore(Path(folder) / "e.db") as store:
                assert await put(store, *events) == [Outcome.STORED] * len(events)
                for some in ([f] for f in filters):
                    assert await ids(store, *some, limit=8) == oracle(events, some, 8)
                    assert await store.count(some) == sum(1 for e in events if some[0].matches(e))
                assert await ids(store, *filters, limit=8) == oracle(events, filters, 8)
                assert await store.count(filters) == sum(1 for e in events if any(f.matches(e) for f in filters))

    anyio.run(check)


@pytest.mark.anyio
async def test_wide_filters_are_sorted_instead_of_merged(tmp_path: Path, sign) -> None:
    """More ranges than one merge takes: the same answers."""
    events = [sign(kind=100 + n % 90, at=n // 40, tags=(("t", str(n % 90)),)) for n in range(180)]
    wide = [
        make_filter(kinds=range(100, 190)),
        make_filter(kinds=range(100, 190), authors=[events[0].pubkey]),
        make_filter(tags={"t": [str(n) for n in range(90)]}),
        make_filter(),
    ]
    async with SqliteEventStore(tmp_path / "e.db") as store:
        await put(store, *events)
        for asked in wide:
            assert await ids(store, asked, limit=50) == oracle(events, [asked], 50)
            assert await store.count([asked]) == 180


@pytest.mark.anyio
async def test_what_comes_back_is_the_event(tmp_path: Path, sign) -> None:
    event = sign(content='€ "\\ \n', tags=(("p", "x", "extra"), ("long", "y")))
    async with SqliteEventStore(tmp_path / "e.db") as store:
        assert await put(store, event, event) == [Outcome.STORED, Outcome.DUPLICATE]
    async with SqliteEventStore(tmp_path / "e.db") as store:
        assert await put(store, event) == [Outcome.DUPLICATE]
        [(_, text)] = await store.query([make_filter()], default_limit=9, max_limit=9)
        assert verify(decode_event(text)) == event


@pytest.mark.anyio
@pytest.mark.parametrize(("kind", "tags"), [(0, ()), (10002, ()), (34216, (("d", "x"),))])
async def test_only_the_newest_of_an_address_stays(tmp_path: Path, sign, kind: int, tags) -> None:
    """Whatever order they come in; of two of one second the lower id."""
    old, mid = sign(kind, 1, tags, "old"), sign(kind, 2, tags, "mid")
    twins = sorted((sign(kind, 3, tags, "one"), sign(kind, 3, tags, "two")), key=lambda e: e.id)
    other = sign(kind, 0, tags, who=2)
    async with SqliteEventStore(tmp_path / "e.db") as store:
        assert await put(store, mid, old, other) == [Outcome.STORED, Outcome.SUPERSEDED, Outcome.STORED]
        assert await put(store, twins[1], twins[0]) == [Outcome.STORED, Outcome.STORED]
        assert await put(store, twins[1], mid) == [Outcome.SUPERSEDED, Outcome.SUPERSEDED]
        assert await ids(store, make_filter(kinds=[kind])) == [twins[0].id, other.id]
        if tags:
            assert await ids(store, make_filter(tags={"d": ["x"]})) == [twins[0].id, other.id]
            assert await put(store, sign(kind, 0, (("d", "y"),))) == [Outcome.STORED]


@pytest.mark.anyio
async def test_deletion_requests(tmp_path: Path, sign) -> None:
    """NIP-09: own events go and stay away, others' stay; addresses go up to the date of the request."""
    mine, theirs = sign(1, 1), sign(1, 1, who=2)
    page, newer = sign(30023, 2, (("d", "p"),)), sign(30023, 9, (("d", "p"),))
    address = f"30023:{page.pubkey}:p"
    request = sign(5, 5, (("e", mine.id), ("e", theirs.id), ("e", "junk"), ("a", address), ("a", "x:y")))
    async with SqliteEventStore(tmp_path / "e.db") as store:
        await put(store, mine, theirs, page)
        assert await put(store, request) == [Outcome.STORED]
        assert set(await ids(store, make_filter())) == {theirs.id, request.id}
        assert await put(store, mine, page, newer) == [Outcome.DELETED, Outcome.DELETED, Outcome.STORED]
        again = sign(5, 6, (("e", request.id),))
        await put(store, again)
        assert request.id in await ids(store, make_filter(kinds=[5]))


@pytest.mark.anyio
async def test_the_ledger_is_never_deleted(tmp_path: Path, sign) -> None:
    kept = sorted(kinds.LEDGER_KINDS | kinds.VIEW_KINDS | {kinds.WITHDRAWAL, kinds.CLAIM, kinds.ATTESTATION})
    events = [sign(kind, 1, (("d", "x"),)) for kind in kept]
    settings_event = sign(kinds.SETTINGS, 1, (("d", "x"),))
    tags = tuple(("e", e.id) for e in (*events, settings_event))
    tags += tuple(("a", f"{kind}:{events[0].pubkey}:x") for kind in kept)
    async with SqliteEventStore(tmp_path / "e.db") as store:
        await put(store, *events, settings_event, sign(5, 2, tags))
        assert set(await ids(store, make_filter(kinds=[*kept, kinds.SETTINGS]))) == {e.id for e in events}
        # Nor is one kept out that comes after the request.
        assert await put(store, sign(kinds.RECEIPT, 1, (("d", "x"),), "late")) == [Outcome.STORED]


@pytest.mark.anyio
async def test_expired_events_are_not_served(tmp_path: Path) -> None:
    now = int(time.time())
    gone, stays = (
        KEYS[0].sign(UnsignedEvent(1, now, (("expiration", str(now + seconds)),), "")) for seconds in (-1, 3600)
    )
    async with SqliteEventStore(tmp_path / "e.db") as store:
        await put(store, gone, stays)
        assert await ids(store, make_filter()) == [stays.id]
        assert await ids(store, make_filter(ids=[gone.id])) == []
        assert await store.count([make_filter()]) == 1


@pytest.mark.anyio
async def test_known_miners(tmp_path: Path, sign) -> None:
    """A profile, or a p tag of a receipt; nothing else."""
    profile, noted = sign(0, who=2), sign(1, who=3, tags=(("p", "d" * 64),))
    receipt = sign(kinds.RECEIPT, tags=(("p", "e" * 64), ("p", "upper")))
    async with SqliteEventStore(tmp_path / "e.db") as store:
        await put(store, profile, noted, receipt)
        assert store.is_known(profile.pubkey)
        assert store.is_known("e" * 64)
        assert not store.is_known(noted.pubkey)
        assert not store.is_known("d" * 64)
        assert not store.is_known("upper")


@pytest.mark.anyio
async def test_a_slow_query_is_ended(tmp_path: Path, sign) -> None:
    async with SqliteEventStore(tmp_path / "e.db", query_seconds=-1) as store:
        await put(store, *[sign(at=n, tags=(("t", "x"),)) for n in range(3_000)])
        with pytest.raises(QueryTooSlow):
            await store.count([make_filter(tags={"t": ["x"]})])


@pytest.mark.anyio
async def test_a_failing_disk_is_told_and_nothing_is_promised(tmp_path: Path, sign) -> None:
    """Another process holds the database for writing beyond the time we wait."""
    async with SqliteEventStore(tmp_path / "e.db") as store:
        store._writer_db.execute("PRAGMA busy_timeout=10")
        blocker = sqlite3.connect(tmp_path / "e.db", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        assert await put(store, sign(), sign(at=1)) == [Outcome.FAILED, Outcome.FAILED]
        blocker.execute("ROLLBACK")
        blocker.close()
        assert await put(store, sign()) == [Outcome.STORED]
        assert await ids(store, make_filter()) == [sign().id]
    assert await put(store, sign(at=2)) == [Outcome.FAILED]


_WRITER = """
import asyncio, sys
from pathlib import Path
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent
from relay_bridge.adapters.event_store import SqliteEventStore
from relay_bridge.ports import Outcome

async def main():
    key = SecretKey(b"\\1" * 32)
    async with SqliteEventStore(Path(sys.argv[1])) as store:
        for n in range(100_000):
            event = key.sign(UnsignedEvent(4212, 1_700_000_000 + n, (("t", "x"),), "receipt"))
            done = lambda outcome, id=event.id: outcome is Outcome.STORED and print(id, flush=True)
            store.put(event, done)
            if n % 50 == 0:
                await asyncio.sleep(0)

asyncio.run(main())
"""


def test_what_was_confirmed_survives_kill_9(tmp_path: Path) -> None:
    """A process is killed in the middle of writing: every event it confirmed is there, whole and indexed."""
    path = tmp_path / "e.db"
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    confirmed = [writer.stdout.readline().strip() for _ in range(700)]
    writer.send_signal(signal.SIGKILL)
    confirmed += [line.strip() for line in writer.stdout if len(line) == 65]
    writer.stdout.close()
    assert writer.wait() == -signal.SIGKILL

    async def check() -> None:
        async with SqliteEventStore(path) as store:
            stored: set[str] = set()
            until = 2_000_000_000
            while page := await store.query(
                [make_filter(tags={"t": ["x"]}, until=until)], default_limit=5_000, max_limit=5_000
            ):
                events = [verify(decode_event(text)) for _, text in page]
                stored |= {event.id for event in events}
                until = events[-1].created_at - 1
            assert len(confirmed) >= 700
            assert set(confirmed) <= stored

    anyio.run(check)
