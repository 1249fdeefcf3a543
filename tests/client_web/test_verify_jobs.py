"""Two readings of the batches that jobs name, and of who signed them."""

import pytest

from tests.accounting.conftest import KEYS, LogBuilder, tell_story
from tests.accounting.conftest import TERMS as STORY_TERMS
from tests.client_web.told_logs import Told, codes, judge_logs

GRACE_MS = 60_000


def test_a_batch_on_its_way_in_another_lane_is_not_missing_yet(node: str) -> None:
    """Lane 0's batch came, lane 1's, which its job names, did not: a snapshot of a live pool."""
    log = LogBuilder()
    log.terms(0, STORY_TERMS)
    for lane in (0, 1):
        log.batch(lane, 0, 500)
    for lane in (0, 1):
        log.batch(lane, 500, 1000)
    log.batch(0, 1000, 2000, [log.mine(log.job("A", 1000, (0, 1)), log.keys.alice, 1500)])
    # A job that nobody mined by may name what it likes.
    log.job("B", 1000, (0, 1))
    logs = [
        Told(f"{ms} ms later", log.pool, log.t0 + 1000 + ms, log.all("batch 1/1")) for ms in (0, GRACE_MS, GRACE_MS + 1)
    ]
    logs.append(Told("nothing of the lane", log.pool, log.t0 + 1000, log.all("batch 1/0", "batch 1/1")))
    log.batch(1, 1000, 2000)
    logs.append(Told("a gap", log.pool, log.t0 + 3000, log.all("batch 1/1")))
    expected: list[set[str]] = [set(), set(), {"missing-batch"}, set(), {"gap", "missing-batch"}]
    for told, ours, found in zip(logs, judge_logs(node, logs), expected, strict=True):
        assert codes(ours["findings"]) == codes(told.audit()["findings"]) == found, told.label


@pytest.mark.parametrize("signer", ["stranger", "alice", "accounting", "zapper", "pool"])
def test_a_job_that_no_edge_signed(node: str, signer: str) -> None:
    """The edge's receipts name it: it is not missing, whoever's it is."""
    log = tell_story(signers={"job A": getattr(KEYS, signer)})
    told = Told(signer, log.pool, log.t0 + 10**9, log.all())
    (ours,) = judge_logs(node, [told])
    assert codes(ours["findings"]) == codes(told.audit()["findings"]) >= {"job-signer", "share-job"}
