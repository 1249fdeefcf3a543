"""An audit's report as one HTML file that a person can keep: nothing in it comes from elsewhere, nothing in it runs.

All text that stems from the log is escaped; hex keys and ids are only ever shown.
"""

import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from html import escape

from accounting.chainfacts import ChainReport
from accounting.facts import ATTESTED, CLAIMED, PROVEN, REFUTED
from accounting.findings import REGISTRY
from accounting.report import Report, WorkOverTime
from nips.errors import NipError
from nips.nip19 import encode_npub
from noncestr.verify.record import RecordReport
from noncestr.verify.show import sat

# pygal hangs a finder of the old kind into Python's imports, for plug-ins that nobody here has; every import from then
# on would warn of it.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", ImportWarning)
    import pygal  # type: ignore[import-untyped]  # it ships no types
    from pygal.style import Style  # type: ignore[import-untyped]  # as above
sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, pygal.PluginImportFixer)]

# Points of the plot: as many as a phone shows apart.
MAX_POINTS = 72
# Rows of the longest tables; the JSON report has them all.
MAX_ROWS = 1000
_SCRIPT = re.compile(r"<script.*?</script>", re.DOTALL)
_UNITS = ("", "k", "M", "G", "T", "P", "E", "Z")

_STYLE = """
:root { color-scheme: light dark; --ink: #1d1d1f; --soft: #5f6368; --paper: #fff; --line: #d8dadd; --band: #f4f5f7;
  --bad: #b3261e; --odd: #8a5a00; --good: #1b6e3c; --plot: #2b6cb0; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececee; --soft: #a4a8ae; --paper: #16181b; --line: #3a3d42;
  --band: #202327; --bad: #ff8a80; --odd: #f0c060; --good: #7fd6a0; --plot: #7db4ee; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.2rem 1rem 3rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .6rem; }
p { margin: .4rem 0; } .soft { color: var(--soft); } .id { font-family: ui-monospace, monospace; font-size: .8rem;
  overflow-wrap: anywhere; color: var(--soft); }
.verdict { font-weight: 600; padding: .6rem .9rem; border-left: .35rem solid; background: var(--band); margin: 1rem 0; }
.good { color: var(--good); } .contradicted { color: var(--bad); } .missing { color: var(--odd); }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: right; padding: .35rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; } th { color: var(--soft); font-weight: 600; }
td { font-variant-numeric: tabular-nums; } td .id { font-size: .74rem; }
article { border-top: 1px solid var(--line); padding: .6rem 0; } article p { overflow-wrap: anywhere; }
figure { margin: 0; max-width: 44rem; } figure svg { width: 100%; height: auto; display: block; }
figure svg text { fill: var(--soft) !important; }
figure svg path { fill: none !important; stroke: var(--line) !important; }
figure svg .series path { fill: var(--plot) !important; fill-opacity: .18 !important; stroke: var(--plot) !important; }
figure svg rect.background, figure svg .plot > .background { fill: none !important; }
@media (max-width: 40rem) { thead { display: none; } tr { display: block; padding: .4rem 0;
  border-bottom: 1px solid var(--line); } td { display: flex; justify-content: space-between; border: 0;
  padding: .1rem 0; } td:first-child { font-weight: 600; } td[data-of]::before { content: attr(data-of);
  color: var(--soft); } td.none { display: none; } }
@media print { :root { --ink: #000; --soft: #444; --paper: #fff; --line: #bbb; --band: #fff; --bad: #900; --odd: #630;
  --good: #050; --plot: #036; } body { max-width: none; padding: 0; font-size: 10.5pt; } .wide { overflow: visible; }
  article, tr, figure { break-inside: avoid; } }
"""


def _moment(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def hashrate_text(rate: int) -> str:
    """1.23 TH/s of hashes per second."""
    scale = 0
    while rate >= 1000 ** (scale + 1) and scale < len(_UNITS) - 1:
        scale += 1
    return f"{rate / 1000**scale:.3g} {_UNITS[scale]}H/s"


def hashrates(work: WorkOverTime, from_ms: int, to_ms: int) -> list[tuple[int, int]]:
    """(start in Unix ms, hashes per second) of equal spans, at most MAX_POINTS, empty ones too; the first and the last
    by the part of them that the log covers.
    """
    if not work.spans:
        return []
    first, last = work.spans[0][0], work.spans[-1][0]
    # Neighbours are joined until they fit.
    joined = -(-(last - first + 1) // MAX_POINTS)
    sums = [0] * (-(-(last - first + 1) // joined))
    for span, amount in work.spans:
        sums[(span - first) // joined] += amount
    length = joined * work.span_ms
    points = []
    for at, amount in enumerate(sums):
        start = first * work.span_ms + at * length
        covered = min(start + length, to_ms) - max(start, from_ms)
        points.append((start, amount * 1000 // max(covered, 1)))
    return points


def plot(report: Report) -> str:
    """The pool's hashrate over time, by its good shares, as an SVG element; "" without any."""
    points = hashrates(report.work, report.from_ms, report.to_ms)
    if not points:
        return ""
    # Colours are the page's own, by style sheet: so the plot follows light, dark and print.
    style = Style(
        background="transparent",
        plot_background="transparent",
        font_family="system-ui, sans-serif",
        label_font_size=15,
        major_label_font_size=15,
    )
    chart = pygal.Line(
        style=style,
        width=640,
        height=260,
        show_legend=False,
        show_dots=False,
        fill=True,
        js=[],
        explicit_size=False,
        disable_xml_declaration=True,
        pretty_print=False,
        range=(0, max(rate for _, rate in points) or 1),
        x_labels_major_count=3,
        show_minor_x_labels=False,
        truncate_label=-1,
        margin=8,
        margin_right=56,
        value_formatter=lambda rate: hashrate_text(int(rate)),
        y_labels_major_count=4,
        show_minor_y_labels=False,
    )
    chart.x_labels = [_moment(ms)[5:16] for ms, _ in points]
    chart.add("hashrate", [rate for _, rate in points])
    # It leaves a script of settings for a library that is not there.
    return _SCRIPT.sub("", chart.render(is_unicode=True))


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield '<div class="wide"><table><thead><tr>'
    yield "".join(f"<th>{escape(head)}</th>" for head in heads)
    yield "</tr></thead><tbody>"
    for row in rows:
        cells = [f"<td>{row[0]}</td>"]
        for head, cell in zip(heads[1:], row[1:], strict=True):
            none = ' class="none"' if cell == "-" else ""
            cells.append(f'<td data-of="{escape(head)}"{none}>{escape(cell)}</td>')
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</tbody></table></div>"


def _claims(report: Report) -> Iterator[str]:
    yield "<h2>What was checked</h2>"
    heads = ("claim", "checked", "hold", "contradicted", "missing", "not checked")
    rows = []
    for row in report.claims:
        kind = "contradicted" if row.contradicted else "missing" if row.missing else ""
        numbers = (row.checked, row.held, row.contradicted, row.missing, row.not_checked)
        name = f'<span class="{kind}">{escape(row.name)}</span>'
        # Of what there is none of, that too is said.
        rows.append([name, *(f"{n:,}" if n or at < 2 else "-" for at, n in enumerate(numbers))])
    yield from _table(heads, rows)


def _name(miner: str) -> str:
    try:
        return encode_npub(miner)
    except NipError:
        return miner


def _miners(report: Report) -> Iterator[str]:
    yield "<h2>Miners</h2><p class=soft>Amounts in sat.</p>"
    heads = ("npub", "shares", "pending", "earned", "paid", "owed")
    rows = []
    for miner in report.miners[:MAX_ROWS]:
        msats = (miner.pending_msat, miner.earned_msat, miner.paid_msat, miner.owed_msat)
        rows.append(
            [
                f'<span class="id">{escape(_name(miner.miner))}</span>',
                f"{miner.shares:,}",
                *(sat(msat) for msat in msats),
            ]
        )
    yield from _table(heads, rows)
    if len(report.miners) > MAX_ROWS:
        yield f"<p class=soft>{len(report.miners) - MAX_ROWS} more miners are in the JSON report.</p>"


def _methods(report: Report) -> Iterator[str]:
    heads = ("method", PROVEN, ATTESTED, CLAIMED, REFUTED)
    rows = [
        [escape(method), *(f"{counts[grade]:,}" if grade in counts else "-" for grade in heads[1:])]
        for method, counts in report.methods.items()
    ]
    yield from _table(heads, rows)


def _findings(report: Report) -> Iterator[str]:
    yield f"<h2>Findings ({len(report.findings)})</h2>"
    if not report.findings:
        yield "<p>None.</p>"
    for found in report.findings[:MAX_ROWS]:
        grade = escape(found.grade)
        yield f'<article><p><strong class="{grade}">{grade}</strong> <code>{escape(found.code)}</code>: '
        yield f"{escape(REGISTRY[found.code][1])}</p>"
        if found.text:
            yield f"<p>{escape(found.text)}</p>"
        yield "".join(f'<p class="id">event {escape(event)}</p>' for event in found.events)
        yield "</article>"
    if len(report.findings) > MAX_ROWS:
        yield f"<p class=soft>{len(report.findings) - MAX_ROWS} more findings are in the JSON report.</p>"


def render_html(report: Report, chain: ChainReport | None, record: RecordReport | None, made_at: datetime) -> str:
    """The page."""
    holds = report.exit_code == 0 and (record is None or record.holds)
    parts = [
        "<!doctype html><html lang=en><head><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width, initial-scale=1'>",
        # Belt and braces: should anything slip through, a browser neither loads nor runs it.
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>Audit of a mining pool</title><style>{_STYLE}</style></head><body>",
        "<h1>Audit of a mining pool</h1>",
        f'<p class="id">{escape(report.pool)}</p>',
        f"<p>{escape(_covers(report))} Made {made_at.strftime('%Y-%m-%d %H:%M UTC')} by noncestr verify.</p>",
        '<p class="verdict good">All that was checked holds.</p>'
        if holds
        else '<p class="verdict contradicted">Not all holds: see the findings.</p>',
    ]
    svg = plot(report)
    if svg:
        parts.append(f"<h2>Hashrate by credited work</h2><figure>{svg}</figure>")
    parts += _claims(report)
    parts += _findings(report)
    parts.append("<h2>The block chain</h2>")
    not_asked = "It was not looked at: whether blocks are in the chain, and how deep, was not checked."
    parts.append(f"<p>{escape(chain.line() if chain is not None else not_asked)}</p>")
    if record is not None:
        parts.append("<h2>The miner's own record</h2>")
        parts += [f"<p>{escape(line)}</p>" for line in record.lines()]
    parts += _miners(report)
    if report.grades:
        told = ", ".join(f"{count:,} {grade}" for grade, count in report.grades.items())
        parts.append(f"<h2>Payouts</h2><p>By what their proofs are worth: {escape(told)}.</p>")
        parts += _methods(report)
    if report.notes:
        parts.append("<h2>What this audit did not look for</h2>")
        parts += [f"<p>{escape(note)}</p>" for note in report.notes]
    parts.append("</body></html>\n")
    return "".join(parts)


def _covers(report: Report) -> str:
    if not report.to_ms:
        return "The log holds no batch."
    return f"The log covers {_moment(report.from_ms)} to {_moment(report.to_ms)}."
