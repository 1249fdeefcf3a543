"""Two readings of logs altered at random: one event, several, or a whole chain told otherwise from some place on.

`make altered` tries thousands; the suite some. They find the same of each; where nothing is found each miner has the
same.
"""

import os
import random
from typing import Any

from tests.accounting.conftest import tell_story
from tests.client_web.alterations import Source, run
from tests.client_web.test_verify_accounts import BROKEN, hours, offers
from tests.client_web.told_logs import FOLLOWING, Told, codes, judge_logs

# So many logs are tried, from this seed on; make's verb sets them.
TRIED = int(os.environ.get("NONCESTR_ALTERED", "16"))
SEED = int(os.environ.get("NONCESTR_ALTER_SEED", "1"))
# As many at once as node is given.
BATCH = 40
AFTER_MS = 10**9
SOURCES = (
    Source("offers", offers, AFTER_MS),
    Source("hours", hours, AFTER_MS),
    Source("story", lambda tamper=None: tell_story(tamper=tamper), AFTER_MS),
)


def difference(log: Told, ours: Any) -> str | None:
    """Where the two differ about a log; None if they do not."""
    theirs = log.audit()
    here, there = codes(ours["findings"]), codes(theirs["findings"])
    following = FOLLOWING | (BROKEN if (here | there) & {"malformed", "unknown-version", "gap"} else set())
    same = here - following == there - following and bool(here) == bool(there) and ours["holds"] == theirs["holds"]
    if same and ours["holds"]:
        notes = [codes(report["findings"], notes=True) for report in (ours, theirs)]
        same = notes[0] == notes[1] and ours["miners"] == theirs["miners"]
    return None if same else f"{log.label}: {sorted(here)} here, {sorted(there)} there"


def test_altered_logs(node: str) -> None:
    chance = random.Random(SEED)
    told = run(SOURCES, chance)
    differ, held = [], 0
    for start in range(0, TRIED, BATCH):
        logs = []
        for _ in range(min(BATCH, TRIED - start)):
            name, how, whole, events = next(told)
            now_ms = whole.t0 + chance.choice((AFTER_MS, AFTER_MS // 10, 10**12))
            logs.append(Told(f"{name}: {how}", whole.pool, now_ms, events))
        for log, ours in zip(logs, judge_logs(node, logs), strict=True):
            held += ours["holds"]
            found = difference(log, ours)
            differ += [] if found is None else [found]
    assert not differ, "\n".join(differ)
    assert TRIED / 10 < held < TRIED * 0.9
