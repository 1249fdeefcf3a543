"""A miner's own record beside the log: what was credited is proven, what was not is shown."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from accounting.verifier import Audit
from nips.pool.binding import BoundWork
from nips.pool.receipt import parse_receipt
from noncestr.errors import NoncestrError
from noncestr.verify.record import RecordCheck, RecordReport, Submission, read_record
from tests.accounting.conftest import KEYS, SHARE_BITS, LogBuilder, Mined, tell_story

DIFFICULTY = 1 / (1 << 26)


@pytest.fixture(scope="module")
def log() -> LogBuilder:
    return tell_story()


def mined_by(log: LogBuilder, miner: str) -> list[dict[str, Any]]:
    """What the miner's record says of each share that the log credits it, as `noncestr miner --record` writes it."""
    lines = []
    jobs = {job.id: job for job in log.jobs.values()}
    for label, event in log.events.items():
        if not label.startswith("batch"):
            continue
        receipt = parse_receipt(event)
        for record in receipt.records():
            session = receipt.sessions[record.session]
            if receipt.miners[session.miner] == miner and record.status == 0:
                ms = receipt.from_ms + record.ms
                lines += submission(jobs[receipt.jobs[record.job]], miner, session.share_bits, session, record, ms)
    return lines


def submission(job: Any, miner: str, bits: int, session: Any, record: Any, ms: int) -> list[dict[str, Any]]:
    work = BoundWork(job, miner, bits, session.extranonce1)
    header = work.header(record.extranonce2, record.ntime, record.nonce, record.version)
    coinb1 = (job.coinb1 + work.binding).hex()
    name = job.id[:4]
    difficulty = DIFFICULTY if bits == SHARE_BITS else DIFFICULTY * 2
    told = {"ms": ms, "type": "job", "job": name, "notify": [name, "", coinb1, "", []], "difficulty": difficulty}
    params = ["user", name, record.extranonce2.hex(), f"{record.ntime:08x}", f"{record.nonce:08x}"]
    share = {"ms": ms, "type": "share", "job": name, "params": params, "header": header.hex(), "answer": True}
    return [{**told, "extranonce1": session.extranonce1.hex()}, share]


def write(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return path


def compare(log: LogBuilder, miner: str, path: Path, *without: str) -> RecordReport:
    check = RecordCheck(miner, read_record(path))
    judge = Audit(log.pool, on_batch=check.see)
    for event in log.all(*without):
        judge.add(event)
    judge.settle()
    return check.report(judge.log)


def test_every_share_of_an_honest_log_is_found_with_its_work(log: LogBuilder, tmp_path: Path) -> None:
    for key in (KEYS.alice, KEYS.bob):
        lines = mined_by(log, key.pubkey)
        report = compare(log, key.pubkey, write(tmp_path / "record", lines))
        assert report.holds
        assert report.submitted == report.acknowledged == report.credited == len(lines) // 2
        credited = sum(told.work for told in log.told if told.miner == key.pubkey)
        assert report.credited_work == credited


def test_what_was_acknowledged_and_left_out_is_shown(log: LogBuilder, tmp_path: Path) -> None:
    """A share the pool took and put into no receipt, on a job that it published."""
    alice, extra = KEYS.alice.pubkey, tell_story()
    share: Mined = extra.mine(extra.jobs["A"], KEYS.alice, 15_000)
    lines = mined_by(log, alice)
    mine = submission(share.job, alice, SHARE_BITS, share.session, share.record, share.t)
    refused = submission(share.job, alice, SHARE_BITS, share.session, share.record._replace(nonce=1), share.t)
    refused[1]["answer"] = [23, "low difficulty", None]
    report = compare(log, alice, write(tmp_path / "record", [*lines, *mine, *refused]))
    assert not report.holds
    (lost,) = report.uncredited
    assert lost.meets_target is True
    assert lost.bound_job == share.job.id
    assert lost.header == mine[1]["header"]
    assert int(lost.hash[:4], 16) < 0x400
    text = "\n".join(report.lines())
    assert lost.hash in text
    assert "not every acknowledged share" in text
    assert report.to_json()["uncredited"][0]["bound_job"] == share.job.id


def test_work_credited_to_somebody_else_is_not_credited(log: LogBuilder, tmp_path: Path) -> None:
    """The binding makes it impossible to credit the work; a record of another's shares matches nothing."""
    report = compare(log, KEYS.stranger.pubkey, write(tmp_path / "record", mined_by(log, KEYS.bob.pubkey)))
    assert report.credited == 0
    assert len(report.uncredited) == report.submitted
    assert all(not lost.bound_job for lost in report.uncredited)


def test_less_work_than_was_handed_out_is_said(log: LogBuilder, tmp_path: Path) -> None:
    lines = mined_by(log, KEYS.alice.pubkey)
    lines[0]["difficulty"] *= 2
    report = compare(log, KEYS.alice.pubkey, write(tmp_path / "record", lines))
    assert [(expected, credited) for _, _, expected, credited in report.other_work] == [(128, 64)]
    assert not report.holds


def test_what_is_younger_than_the_log_is_not_lost_yet(log: LogBuilder, tmp_path: Path) -> None:
    lines = mined_by(log, KEYS.alice.pubkey)
    report = compare(log, KEYS.alice.pubkey, write(tmp_path / "record", lines), "batch 0/5", "batch 1/5")
    assert report.holds
    assert report.early == 1


def test_the_plain_form_as_csv_and_json_lines(log: LogBuilder, tmp_path: Path) -> None:
    """extranonce2, ntime, nonce, version and whatever else the miner knows."""
    alice, rows = KEYS.alice.pubkey, []
    for label in ("batch 0/1", "batch 0/3"):
        receipt = parse_receipt(log.events[label])
        for record in receipt.records():
            if receipt.miners[receipt.sessions[record.session].miner] == alice:
                numbers = {name: f"{getattr(record, name):08x}" for name in ("ntime", "nonce", "version")}
                rows.append(
                    {"extranonce2": record.extranonce2.hex(), **numbers, "job": receipt.jobs[0], "accepted": "1"}
                )
    lost = {**rows[0], "nonce": "00000001", "extranonce1": "00000000", "difficulty": f"1/{1 << 26}"}
    table = io.StringIO()
    writer = csv.DictWriter(table, list(lost))
    writer.writeheader()
    writer.writerows([*rows, lost])
    (tmp_path / "csv").write_text(table.getvalue())
    for path in (tmp_path / "csv", write(tmp_path / "lines", [*rows, lost])):
        report = compare(log, alice, path)
        assert (report.submitted, report.credited) == (len(rows) + 1, len(rows))
        # The header is rebuilt from the published job: this one is no share.
        assert [(each.meets_target, len(each.header)) for each in report.uncredited] == [(False, 160)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"extranonce2":"00","ntime":"0"}', "line 1: no nonce, version"),
        ("extranonce2,ntime,nonce,version\n00,zz,0,0\n", "line 2: ntime"),
        ('{"type":"share","header":"00"}', "header has 80 bytes"),
        ('{"type":"share"', "line 1"),
    ],
)
def test_a_record_that_can_not_be_read_says_where(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "record").write_text(text)
    with pytest.raises(NoncestrError, match=says):
        read_record(tmp_path / "record")
    with pytest.raises(NoncestrError, match="--record"):
        read_record(tmp_path / "nowhere")


def test_a_share_told_as_stale_is_not_credited(log: LogBuilder) -> None:
    receipt = parse_receipt(log.events["batch 1/2"])
    stale = next(record for record in receipt.records() if record.status == 2)
    key = stale.pack()[20:] + stale.pack()[8:20]
    check = RecordCheck(KEYS.alice.pubkey, [Submission(1, key, acknowledged=True)])
    judge = Audit(log.pool, on_batch=check.see)
    for event in log.all():
        judge.add(event)
    judge.settle()
    assert len(check.report(judge.log).uncredited) == 1
