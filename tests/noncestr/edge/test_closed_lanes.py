"""An edge whose lane was closed: what its journal holds goes out, void, and is reported; an old copy stays shut."""

import hashlib
import json
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from nips.keys import SecretKey
from nips.nip01 import VerifiedEvent
from nips.nip19 import encode_npub
from nips.pool.address import PoolAddress
from nips.pool.chain import FIRST, Head, Link
from nips.pool.receipt import ReceiptBody, build_receipt, parse_receipt
from noncestr.config.sections import LogConfig
from noncestr.edge.closed_lanes import account_for_closed, closed_journals
from noncestr.edge.lost_work import report_path
from noncestr.edge.parts import Surroundings
from relay_bridge.errors import RelayUnavailable
from stratum_edge.adapters.journal_file import JournalFile
from stratum_edge.journal import Checkpoint, Kind, encode_json

EDGE = SecretKey(hashlib.sha256(b"noncestr test key closed lanes").digest())
POOL = PoolAddress(EDGE.pubkey, "regtest")
T0 = 1_800_000_000_000

pytestmark = pytest.mark.anyio


def chain_of(count: int) -> list[VerifiedEvent]:
    events: list[VerifiedEvent] = []
    for seq in range(count):
        link = FIRST if seq == 0 else Link(seq, events[-1].id)
        body = ReceiptBody(0, link, T0 + 1000 * seq, T0 + 1000 * seq + 1000, (), (), (), b"", (), 0)
        events.append(EDGE.sign(build_receipt(POOL, body, T0 // 1000 + seq + 2)))
    return events


CHAIN = chain_of(4)


class Rig:
    """A data folder whose lane 0 was put away with its journal at batch `seq`; batches up to 1 had been published."""

    def __init__(self, data: Path, seq: int) -> None:
        self.data = data
        self.relay = CHAIN[:2]
        self.away = 0
        folder = data / "journal" / "over" / "0"
        folder.mkdir(parents=True)
        journal = JournalFile(folder)
        start = Checkpoint(
            pool=str(POOL),
            pubkey=EDGE.pubkey,
            lane=0,
            from_ms=T0 + 1000 * seq + 1000,
            newest_s=CHAIN[seq].created_at,
            seq=seq,
            head=CHAIN[seq].id,
            pending=[(number, [CHAIN[number]]) for number in range(2, seq + 1)],
            blocks=[],
        )
        assert journal.rotate(encode_json(Kind.CHECKPOINT, start))
        journal.close()
        self.around = Surroundings(
            data=data,
            pool=POOL,
            signer=EDGE,
            source=cast(Any, None),
            terms=cast(Any, None),
            publisher=self,
            clock=cast(Any, self),
            log=LogConfig(),
        )

    def now_ms(self) -> int:
        return T0 + 60_000

    async def publish(self, event: VerifiedEvent, *, chain: str = "") -> None:
        assert chain == f"{EDGE.pubkey}/0"
        self.relay.append(event)

    async def flush(self, timeout_s: float) -> bool:
        return timeout_s > 0

    async def fetch(self, filters: Any, *, timeout_s: float = 10) -> list[VerifiedEvent]:
        if self.away:
            self.away -= 1
            raise RelayUnavailable({})
        return [event for event in self.relay if any(wanted.matches(event) for wanted in filters)]

    async def account(self, end: int) -> None:
        with anyio.fail_after(10):
            await account_for_closed(self.around, self, {f"{EDGE.pubkey}/0": Head(end, CHAIN[end].id)})

    @property
    def report(self) -> Any:
        path = report_path(self.data, 0)
        return json.loads(path.read_text()) if path.exists() else None


async def test_what_was_not_published_goes_out_in_order_and_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(tmp_path, 3)
    await rig.account(1)
    seqs = [parse_receipt(event).link.seq for event in rig.relay]
    assert seqs == [0, 1, 2, 3, 4]
    assert parse_receipt(rig.relay[-1]).fin
    assert (rig.report["lane"], rig.report["batch"]) == (f"{encode_npub(EDGE.pubkey)}/0", 1)
    assert (rig.report["batches"], rig.report["complete"]) == (3, True)
    assert "lane 0 was closed at batch 1: 0 shares of 0 miners" in caplog.text
    # Said once: the next start has nothing to add.
    await rig.account(1)
    assert len(rig.relay) == 5
    assert caplog.text.count("lane 0 was closed") == 1


async def test_an_old_copy_of_a_journal_is_left_alone(tmp_path: Path) -> None:
    """It ends before the lane does: a batch sealed from it would be a second one of its number."""
    rig = Rig(tmp_path, 2)
    await rig.account(3)
    assert rig.relay == CHAIN[:2]
    assert rig.report is None


async def test_relays_that_are_away_are_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noncestr.edge.closed_lanes.RETRY_S", 0.001)
    rig = Rig(tmp_path, 1)
    rig.away = 3
    await rig.account(1)
    assert (rig.away, rig.report["batches"]) == (0, 1)


async def test_a_damaged_journal_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(tmp_path, 1)
    (file,) = (tmp_path / "journal" / "over" / "0").glob("*.journal")
    file.write_bytes(b"x" * 100)
    await rig.account(1)
    assert "what lane 0 held beyond its end can't be told" in caplog.text


def test_only_lanes_that_the_terms_closed_are_looked_at(tmp_path: Path) -> None:
    for name in ("0", "1", "unbegun"):
        (tmp_path / "over" / name).mkdir(parents=True)
    closed = {f"{EDGE.pubkey}/1": Head(1, "e"), f"{'ab' * 32}/0": Head(1, "e")}
    assert closed_journals(tmp_path, EDGE.pubkey, closed) == {1: tmp_path / "over" / "1"}
    assert closed_journals(tmp_path / "none", EDGE.pubkey, closed) == {}
