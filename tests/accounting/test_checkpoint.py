"""An audit in parts, with checkpoints between, comes to what one audit of all comes to, wherever it is cut."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounting.adapters.checkpoint_file import open_checkpoint, resume, write_checkpoint
from accounting.adapters.shelf import SqliteShelves
from accounting.checkpoint import CODEC
from accounting.findings import Code
from accounting.report import Report
from accounting.verifier import Audit, audit
from nips.nip01 import VerifiedEvent
from nips.pool.chain import Head
from nips.pool.receipt import build_receipt
from tests.accounting.hourly import tell_hours

NOW = 10**9


@pytest.fixture(scope="module")
def story(tell: Any) -> Any:
    """The story, and two hours beyond it with their summaries."""
    return tell_hours(tell())


def in_parts(parts: list[list[VerifiedEvent]], log: Any, folder: Path) -> Report | None:
    """The report of an audit that stopped after each part and went on from its file."""
    file = folder / "checkpoint"
    for number, part in enumerate(parts):
        scratch = folder / f"scratch {number}"
        if number:
            shelves, state, resume_s = open_checkpoint(file, log.pool, scratch)
            assert resume_s == number
        else:
            shelves, state = SqliteShelves(scratch, CODEC), b""
        with shelves:
            judge = Audit(log.pool, shelves=shelves)
            if number:
                resume(judge, state, file)
            for event in part:
                judge.add(event)
            judge.settle()
            if judge.reopened is not None:
                return None
            write_checkpoint(file, judge, shelves, number + 1)
            if number == len(parts) - 1:
                return judge.finish(log.t0 + NOW)
    raise AssertionError("no parts")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_cut_anywhere_it_comes_to_the_same(story: Any, data: st.DataObject) -> None:
    """In the log's own order, some events left out, some coming parts later than their date."""
    labels = [
        label
        for label in story.events
        if label not in data.draw(st.sets(st.sampled_from(list(story.events)), max_size=2))
    ]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(labels) - 1), min_size=1, max_size=3)))
    parts = [labels[start:end] for start, end in zip([0, *cuts], [*cuts, len(labels)], strict=True)]
    for late in data.draw(st.sets(st.sampled_from(parts[0]), max_size=4)):
        parts[0].remove(late)
        parts[data.draw(st.integers(1, len(parts) - 1))].append(late)
    # What was read before is read again: the days overlap.
    parts[-1] += data.draw(st.lists(st.sampled_from(labels), max_size=5))
    events = [[story.events[label] for label in part] for part in parts]
    with tempfile.TemporaryDirectory() as folder:
        report = in_parts(events, story, Path(folder))
    whole = audit([story.events[label] for label in labels], [], story.pool, now_ms=story.t0 + NOW)
    # Terms that come after jobs made long after them, or that close a chain below what was read, begin it anew.
    assert report is None or report == whole
    assert report is not None or any("terms" in label for part in parts[1:] for label in part)


@pytest.mark.parametrize("parts", [2, 7, 40])
def test_a_day_at_a_time(story: Any, tmp_path: Path, parts: int) -> None:
    events = story.all()
    size = -(-len(events) // parts)
    split = [events[at : at + size] for at in range(0, len(events), size)]
    assert in_parts(split, story, tmp_path) == audit(events, [], story.pool, now_ms=story.t0 + NOW)


@pytest.mark.parametrize("without", ["summary 0", "part 1/0", "batch 0/0"])
def test_what_an_earlier_summary_lacked_is_not_held_against_a_later_one(
    story: Any, tmp_path: Path, without: str
) -> None:
    """A summary's place in its chain, and what was hidden before it, are judged alike on both sides of a checkpoint."""
    labels = [label for label in story.events if label != without]
    expected = audit([story.events[label] for label in labels], [], story.pool, now_ms=story.t0 + NOW)
    for cut in (labels.index("summary 1"), len(labels) - 1):
        folder = tmp_path / str(cut)
        folder.mkdir()
        parts = [[story.events[label] for label in part] for part in (labels[:cut], labels[cut:])]
        assert in_parts(parts, story, folder) == expected


def test_a_fork_that_comes_long_after_is_found(story: Any, tmp_path: Path) -> None:
    """Every id of every chain is kept: an event dated before the cut can't slip in beside the one that was read."""
    body = replace(story.bodies["batch 0/0"], to_ms=story.bodies["batch 0/0"].to_ms - 1)
    second = story.keys.edge.sign(build_receipt(story.pool, body, story.events["batch 0/0"].created_at))
    report = in_parts([story.all(), [second]], story, tmp_path)
    assert report is not None
    assert Code.FORK in {found.code for found in report.findings}


def test_terms_that_close_a_chain_below_the_checkpoint_begin_the_audit_anew(tell: Any, tmp_path: Path) -> None:
    log = tell()
    end = Head(1, log.events["batch 0/1"].id)
    before = log.all()
    log.terms(70_000, replace(log.bodies["terms 1"], closed={f"{log.keys.edge.pubkey}/0": end}))
    assert in_parts([before, [log.events["terms 2"]]], log, tmp_path) is None
