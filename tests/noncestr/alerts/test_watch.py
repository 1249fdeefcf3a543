"""The watch over a running pool: what it tells, what it remembers."""

from collections import namedtuple
from dataclasses import dataclass, field, replace

import pytest

from accounting.adapters.database import StoreFailed
from noncestr.alerts.conditions import HOUR_MS, SETTLE_MS
from noncestr.alerts.watch import MAX_UNSENT, MEMORY, AlertWatch, load_memory, payout_facts
from noncestr.config.alerts import AlertsSection

pytestmark = pytest.mark.anyio
DAY = 24 * HOUR_MS
# Midnight, UTC.
START = 20_000 * DAY
Usage = namedtuple("Usage", "total used free")


@dataclass
class FakePool:
    blocked: str = ""
    fails: Exception | None = None
    now_ms: int = START
    sent: list[tuple[str, str]] = field(default_factory=list)
    refusing: int = 0
    count: int = 1

    async def health(self):
        if self.fails:
            raise self.fails
        return {
            "parts": {
                "accounting": {"ok": True},
                "edge": {"stalled": False},
                "relays": {"ok": True, "alarms": {}, "dead": [], "each": []},
                "zapper": {"blocked": self.blocked, "alerts": [], "settled": 1},
            }
        }

    async def pool(self):
        return {"hashrate_hs": {"1h": "5"}, "miners": 1, "workers": 1, "blocks_found": 2, "height": 3, "lanes": []}

    async def treasury(self):
        return None

    async def send(self, title, text):
        self.sent.append((title, text))
        return ["json"] * self.refusing


@pytest.fixture
def pool():
    return FakePool()


@pytest.fixture
def watch(pool, tmp_path):
    def make(**config):
        async def facts():
            return {}

        return AlertWatch(
            "Example",
            AlertsSection(disk_mib=0, disk_days=0, **config),
            pool,
            facts,
            pool,
            data=tmp_path,
            now_ms=lambda: pool.now_ms,
        )

    return make


async def test_told_once_and_over_across_a_restart(pool, watch):
    first = watch()
    await first.look()
    assert pool.sent == []
    pool.blocked = "behind"
    await first.look()
    await first.look()
    assert pool.sent == [("Example: 1 alert", "Nothing is paid: behind")]
    again = watch()
    await again.look()
    assert len(pool.sent) == 1
    pool.blocked, pool.now_ms = "", START + HOUR_MS
    await again.look()
    assert pool.sent[1:] == [("Example: 1 alert", "Over after 60 min: Nothing is paid: behind")]


async def test_what_was_not_taken_is_sent_with_the_next(pool, watch):
    pool.blocked, pool.refusing = "behind", 1
    looking = watch()
    await looking.look()
    pool.refusing = 0
    await looking.look()
    await looking.look()
    assert [text for _, text in pool.sent] == ["Nothing is paid: behind"] * 2


async def test_one_service_that_fails_does_not_have_the_others_told_again(pool, watch):
    pool.blocked, pool.count, pool.refusing = "behind", 2, 1
    looking = watch()
    for _ in range(3):
        await looking.look()
    assert len(pool.sent) == 1
    pool.blocked, pool.refusing = "", 2
    await looking.look()
    await looking.look()
    assert [text for _, text in pool.sent[1:]] == ["Over after 0 min: Nothing is paid: behind"] * 2


async def test_what_nobody_takes_does_not_grow_without_end(pool, watch):
    pool.refusing = 1
    looking = watch()
    for turn in range(MAX_UNSENT + 10):
        pool.blocked = "" if turn % 2 else "behind"
        await looking.look()
    text = pool.sent[-1][1]
    assert len(text.splitlines()) == MAX_UNSENT
    assert text.splitlines()[-1].startswith("Over")


async def test_a_pool_that_cannot_be_looked_at_is_a_trouble(pool, watch):
    pool.blocked = "behind"
    looking = watch()
    await looking.look()
    pool.fails = RuntimeError()
    await looking.look()
    assert len(pool.sent) == 1
    pool.now_ms += SETTLE_MS
    await looking.look()
    await looking.look()
    assert pool.sent[1:] == [("Example: 1 alert", "The pool can't be looked at: RuntimeError, see its log")]
    pool.fails = None
    await looking.look()
    # What lasted before lasts on: neither said again nor said to be over.
    [(_, text)] = pool.sent[2:]
    assert text == "Over after 5 min: The pool can't be looked at: RuntimeError, see its log"


async def test_a_database_that_is_away_is_said_in_its_own_words_and_without_a_traceback(pool, watch, caplog):
    pool.fails = StoreFailed("postgresql://db/noncestr", "no connection")
    looking = watch()
    await looking.look()
    pool.now_ms += SETTLE_MS
    await looking.look()
    assert [text for _, text in pool.sent] == ["The pool can't be looked at: postgresql://db/noncestr: no connection"]
    assert not any(record.exc_info for record in caplog.records)


async def test_a_full_disk_keeps_nobody_from_being_told(pool, watch, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("noncestr.alerts.watch.save_memory", full)
    pool.blocked = "behind"
    looking = watch()
    await looking.look()
    await looking.look()
    assert [text for _, text in pool.sent] == ["Nothing is paid: behind"]


async def test_the_report_comes_on_its_schedule(pool, watch):
    looking = watch(report="0 8 * * *")
    await looking.look()
    pool.now_ms = START + 8 * HOUR_MS - 1
    await looking.look()
    assert pool.sent == []
    pool.now_ms += 1
    await looking.look()
    await looking.look()
    [(title, text)] = pool.sent
    assert title == "Example: report"
    assert "No trouble" in text
    pool.now_ms += DAY
    await looking.look()
    assert len(pool.sent) == 2


async def test_without_services_the_log_tells(pool, tmp_path, caplog):
    async def facts():
        return {}

    pool.blocked = "behind"
    looking = AlertWatch(
        "Example", AlertsSection(disk_mib=0, disk_days=0), pool, facts, None, data=tmp_path, now_ms=lambda: pool.now_ms
    )
    await looking.look()
    assert "Nothing is paid: behind" in caplog.text


async def test_a_memory_that_cannot_be_read(tmp_path):
    for text in ("[]", "{", '{"a": {"b": 1}}', '{"a": {"since_ms": "x", "said_ms": 1, "text": ""}}', "\udcff"):
        (tmp_path / MEMORY).write_text(text, errors="surrogateescape")
        assert load_memory(tmp_path / MEMORY) == {}


async def test_payouts_under_way():
    async def counts():
        return {"settled": (9, 1), "unknown": (1, 50), "sending": (2, 40)}

    assert await payout_facts(counts, {"ab": "why"}) == {"oldest_payout_ms": 40, "dead": {"ab": "why"}}


def test_limits_come_from_the_configuration(pool, tmp_path):
    async def facts():
        return {}

    config = replace(AlertsSection(), payout_hours=2, backlog=5, disk_mib=3, disk_days=4)
    limits = AlertWatch("x", config, pool, facts, None, data=tmp_path, now_ms=lambda: 0).limits
    assert (limits.payout_ms, limits.backlog, limits.disk_bytes) == (2 * HOUR_MS, 5, 3 * 2**20)
    assert limits.disk_ms == 4 * DAY


async def test_a_disk_that_will_be_full_is_told_once(pool, tmp_path, monkeypatch):
    free = 100 * 10**9
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10**12, 0, free))

    async def facts():
        return {}

    for hour in range(30):
        # The pool may be started again at any time.
        watch = AlertWatch(
            "Example", AlertsSection(disk_mib=0), pool, facts, pool, data=tmp_path, now_ms=lambda: pool.now_ms
        )
        pool.now_ms = START + hour * HOUR_MS
        free -= 10**9
        await watch.look()
    assert [text.partition(":")[0] for _, text in pool.sent] == ["The data folder's disk is full in 3.1 days"]
