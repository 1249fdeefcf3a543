"""Looking into a journal on the disk, and saving what a damaged one still holds. Both hold its lock meanwhile."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from nips.errors import NipError
from nips.nip01 import VerifiedEvent, encode_event
from stratum_edge.adapters.journal_file import JournalFile
from stratum_edge.adapters.segment_file import begin_copy, list_segments, read_segment
from stratum_edge.errors import JournalDamaged
from stratum_edge.journal import Record, Recovered, records_of, recover
from stratum_edge.journal_v1 import may_be_v1, read_records_v1
from stratum_edge.salvage import Gap, Salvage, records_to_go_on, salvage
from stratum_edge.segment import HEADER_SIZE, decode_header, scan

# Signed events of a journal that can't go on: its lane's last, for the operator to publish.
UNSENT_NAME = "unsent.jsonl"


@dataclass(frozen=True, slots=True)
class SegmentView:
    """A segment. `state`: "whole", "begun" (no checkpoint yet: the one before it counts), "torn" (cut at `end` by the
    next start) or "damaged" from `end` on. `recovered`: what it adds up to, up to `end`. `salvage`: over the damage.
    """

    path: Path
    size: int
    state: str
    end: int
    recovered: Recovered | None
    error: str = ""
    salvage: Salvage | None = None


def view_segment(path: Path) -> SegmentView:
    """Look at one segment."""
    data = read_segment(path)
    size = len(data)
    header = decode_header(data)
    if header is None:
        return _view_v1(path, data)
    found = scan(data, header)
    if found.damaged:
        saved = salvage(found)
        try:
            before = recover(records_of(found.whole))
        except (JournalDamaged, NipError) as error:
            return SegmentView(path, size, "damaged", found.end, None, str(error), saved)
        return SegmentView(path, size, "damaged", found.end, before, "", saved)
    try:
        recovered = recover(records_of(found.whole))
    except (JournalDamaged, NipError) as error:
        saved = Salvage(gaps=[Gap(HEADER_SIZE, size, None, None)], why_not=str(error), lost_records=None)
        return SegmentView(path, size, "damaged", found.end, None, str(error), saved)
    if recovered is None:
        return SegmentView(path, size, "begun", found.end, None)
    return SegmentView(path, size, "whole" if found.end == size else "torn", found.end, recovered)


def _view_v1(path: Path, data: bytes) -> SegmentView:
    """A segment of format 1, or one whose header is gone."""
    size = len(data)
    records: list[Record] = []
    try:
        if size > HEADER_SIZE and not may_be_v1(data):
            raise JournalDamaged("its header is damaged")
        # Up to the damage: what came before the error stays in the list.
        records.extend(read_records_v1(data))
        recovered = recover(records)
    except (JournalDamaged, NipError) as error:
        end = records[-1].end if records else 0
        saved = Salvage(
            recovered=_prefix(records),
            gaps=[Gap(end, size, None, None)],
            why_not="format 1, or the header is damaged: what stands behind the damage can't be told apart",
            lost_records=None,
        )
        return SegmentView(path, size, "damaged", end, saved.recovered, str(error), saved)
    if recovered is None:
        return SegmentView(path, size, "begun", 0, None)
    end = records[-1].end
    return SegmentView(path, size, "whole" if end == size else "torn", end, recovered)


def _prefix(records: list[Record]) -> Recovered | None:
    try:
        return recover(records)
    except (JournalDamaged, NipError):
        return None


def view_journal(directory: Path) -> list[SegmentView]:
    """Its segments, newest first. Raises JournalInUse, OSError."""
    journal = JournalFile(directory)
    try:
        return [view_segment(path) for _, path in reversed(list_segments(directory))]
    finally:
        journal.close()


def newest_used(views: list[SegmentView]) -> SegmentView | None:
    """The segment that counts: the newest that is more than begun."""
    return next((view for view in views if view.state != "begun"), None)


def salvage_journal(directory: Path) -> tuple[SegmentView | None, Path | None]:
    """Make a damaged journal one that an edge goes on from, if that is safe; the damaged segment is kept.

    The segment that counts, None if there is none, and what was written: a segment if the lane can go on, else a file
    of the signed events that may not have been sent, if there are any. Raises JournalInUse, OSError.
    """
    journal = JournalFile(directory)
    try:
        segments = list_segments(directory)
        view = newest_used([view_segment(path) for _, path in reversed(segments)])
        if view is None or view.salvage is None:
            return view, None
        saved = view.salvage
        if saved.why_not or saved.recovered is None:
            return view, _write_events(directory / UNSENT_NAME, saved.unsent())
        number = max(number for number, _ in segments)
        shutil.copy2(view.path, view.path.with_suffix(".damaged"))
        written = begin_copy(directory, number + 1, number, records_to_go_on(saved.recovered))
        view.path.unlink()
        return view, written
    finally:
        journal.close()


def _write_events(path: Path, events: list[VerifiedEvent]) -> Path | None:
    if not events:
        return None
    path.write_bytes(b"".join(encode_event(event) + b"\n" for event in events))
    return path
