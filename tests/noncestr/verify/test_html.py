"""The page of a report: whole in itself, nothing of the log gets through as markup, all of it readable."""

import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from accounting.chainfacts import ChainReport
from accounting.findings import Code, Finding
from accounting.report import CLAIMS, MinerRow, Report, WorkOverTime, claim_row
from noncestr.verify.html import hashrate_text, hashrates, render_html
from noncestr.verify.record import RecordReport

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
NOW = datetime(2026, 1, 31, tzinfo=UTC)
NPUB_HEX = "c9e1a13c74426e7d74095e7841560e3ceca7e4b29346c7eb829be65932fbb214"


def report(*findings: Finding, miners: int = 1, work: WorkOverTime | None = None) -> Report:
    return Report(
        pool=f"34210:{EVIL}:regtest",
        from_ms=1_767_225_600_000,
        to_ms=1_767_232_800_000,
        claims=tuple(claim_row(name, 10, 9, findings) for name in CLAIMS),
        findings=findings,
        miners=tuple(MinerRow(NPUB_HEX, 5, 10, 1, 2_000_500, 3) for _ in range(miners)),
        grades={"attested": 3},
        ignored=0,
        work=work or WorkOverTime(60_000, tuple((29_453_760 + minute, 10**15) for minute in range(120))),
    )


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def parsed(text: str) -> list[tuple[str, dict[str, str | None]]]:
    reader = Tags()
    reader.feed(text)
    return reader.tags


def test_nothing_of_the_log_becomes_markup() -> None:
    evil = Finding(Code.GAP, "missing", EVIL, (EVIL,), EVIL)
    record = RecordReport(EVIL)
    text = render_html(report(evil), None, record, NOW)
    tags = parsed(text)
    assert not {tag for tag, _ in tags} & {"script", "img", "iframe", "object", "link", "a", "form"}
    assert not [name for _, attrs in tags for name in attrs if name.startswith("on")]
    assert "<script" not in text
    assert text.count("&lt;script&gt;alert(1)") >= 3


def test_it_needs_nothing_from_elsewhere() -> None:
    text = render_html(report(), None, None, NOW)
    assert not {name for _, attrs in parsed(text) for name in attrs} & {"src", "href", "action", "srcset", "data"}
    assert not re.search(r"url\(|@import", text)
    assert "default-src 'none'" in text
    assert "name=viewport" in text
    for medium in ("prefers-color-scheme: dark", "@media print", "max-width: 40rem"):
        assert medium in text


def test_it_says_what_the_report_says() -> None:
    gap = Finding(Code.GAP, "missing", "lane 0 lacks 3 to 4", ("ab" * 32,))
    text = render_html(report(gap), ChainReport(0, 9, 1, 2, 3, 4, False), None, NOW)
    for said in (
        "lane 0 lacks 3 to 4",
        "ab" * 32,
        "Not all holds",
        "npub1",
        "2,000.500",
        "3 attested",
        "1 blocks of the log",
    ):
        assert said in text
    assert "<svg" in text
    honest = render_html(report(), None, None, NOW)
    assert "All that was checked holds" in honest
    assert "It was not looked at" in honest


def test_a_record_that_does_not_hold_is_no_clean_page() -> None:
    record = RecordReport("aa", submitted=1, acknowledged=1)
    record.other_work.append((1, "ab" * 32, 2, 1))
    assert "Not all holds" in render_html(report(), None, record, NOW)


def test_long_tables_are_cut_and_say_so() -> None:
    assert "500 more miners are in the JSON report" in render_html(report(miners=1500), None, None, NOW)


def test_a_log_without_work_has_no_plot() -> None:
    assert "<svg" not in render_html(report(work=WorkOverTime()), None, None, NOW)


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0, "0 H/s"), (999, "999 H/s"), (1000, "1 kH/s"), (1_230_000_000_000, "1.23 TH/s"), (10**27, "1e+06 ZH/s")],
)
def test_hashrates_read_well(rate: int, text: str) -> None:
    assert hashrate_text(rate) == text


def test_hashrates_by_spans_joined_until_they_fit() -> None:
    """A steady hashrate is steady, in whatever spans, to the ends that the log covers in part."""
    start = 1000 * 60_000
    work = WorkOverTime(60_000, tuple((1000 + minute, 6_000_000) for minute in range(500)))
    points = hashrates(work, start, start + 500 * 60_000)
    assert len(points) <= 72
    assert {rate for _, rate in points} == {100_000}
    assert hashrates(WorkOverTime(60_000, ((1000, 60_000), (1003, 60_000))), start, start + 240_000) == [
        (start, 1000), (start + 60_000, 0), (start + 120_000, 0), (start + 180_000, 1000)
    ]  # fmt: skip
