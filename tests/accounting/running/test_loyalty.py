"""A running accounting pays bonuses, and puts the attestations that they rest on into its chain."""

import sqlite3
from contextlib import closing

import anyio
import pytest

from accounting.adapters.kept_fold import fold_path
from accounting.adapters.reads import open_reads
from accounting.service import Accounting, AccountingConfig
from accounting.verifier import audit
from nips.keys import AtHand
from nips.pool.attestation_part import parse_attestation_part
from nips.pool.kinds import STATEMENT, STATEMENT_PART
from nips.pool.statement import parse_statement
from tests.accounting.conftest import KEYS, POOL, T0
from tests.accounting.loyalty_story import MIDNIGHT, attest, tell_loyal
from tests.accounting.running.conftest import FakeChain, FakeClock, FakeRelay

NOW = T0 + MIDNIGHT + 40_000


@pytest.mark.anyio
async def test_bonuses_are_paid_by_what_miners_attested(tmp_path, eventually):
    story, relay, path = tell_loyal(), FakeRelay(), tmp_path / "ledger.sqlite"
    relay.put(*(event for event in story.events.values() if event.pubkey != KEYS.accounting.pubkey))
    # One that nothing bears out, and a second of the same day.
    relay.put(attest(), attest(KEYS.bob, model="other"), attest(second=T0 // 1000 + 61, model="other"))

    def start():
        return Accounting(
            pool=POOL,
            signer=AtHand(KEYS.accounting),
            feed=relay,
            chain=FakeChain(),
            store_path=path,
            clock=FakeClock(NOW),
            config=AccountingConfig(tick_s=0.01),
        )

    sums = []
    for each in range(4):
        # The later starts have nothing to add to the log.
        accounting = start()
        if each == 2:
            fold_path(path).unlink()
        if each == 3:
            # As an older version left it.
            with closing(sqlite3.connect(path)) as db:
                db.executescript("DROP TABLE bonuses; DROP TABLE let_go; PRAGMA user_version = 5")
            fold_path(path).unlink()
        async with anyio.create_task_group() as tasks:
            await tasks.start(accounting.run)
            await eventually(lambda: len(relay.of_kind(STATEMENT)) == 3)
            condition = accounting.condition
            await eventually(lambda ask=condition: ask().synced and not ask().unpublished)
            assert condition().violations == ()
            await eventually(lambda of=accounting: len(of.fold.ledger.bonuses.sums) == 2 and not of._amid)
            async with open_reads(path) as stored:
                rows = await stored.fetch("SELECT miner, pending_msat, matured_msat FROM bonuses ORDER BY miner")
            assert {miner: tuple(rest) for miner, *rest in rows} == accounting.fold.ledger.bonuses.sums
            sums.append(accounting.fold.ledger.bonuses.sums)
            tasks.cancel_scope.cancel()
    assert sums == sums[:1] * 4
    assert sum(pending for pending, _ in sums[0].values()) == sum(
        row.bonus_msat for label, body in story.bodies.items() if label.startswith("statement") for row in body.rows
    )
    parts = [event for event in relay.of_kind(STATEMENT_PART) if "attestations" in event.content]
    (part,) = (parse_attestation_part(event) for event in parts)
    assert [told.id for told in part.attestations] == [attest().id]
    found = {told.reward.block: told for told in map(parse_statement, relay.of_kind(STATEMENT))}
    for label in ("statement 0", "statement 1", "statement 2"):
        wanted = story.bodies[label]
        made = found[wanted.reward.block]
        assert (made.rows, made.fee_msat, made.window.work) == (wanted.rows, wanted.fee_msat, wanted.window.work)
    report = audit(relay.order, [], POOL, now_ms=NOW)
    assert {each.code.value for each in report.findings} <= {"chain-facts", "summary-overdue"}
