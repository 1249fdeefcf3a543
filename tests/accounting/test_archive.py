"""The file of an archive: its order, its index, and what is refused."""

import hashlib
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.archive import (
    ArchiveError,
    ArchiveHeader,
    ArchiveReader,
    canonical_order,
    check_lines,
    read_lines,
    stub_of,
    write_lines,
)
from nips.nip01 import verify
from nips.pool import kinds
from nips.pool.archive import Digest


@pytest.fixture(scope="module")
def header(story):
    dates = [event.created_at for event in story.events.values()]
    return ArchiveHeader(story.pool, min(dates), max(dates) + 1)


def ordered(events):
    by_id = {event.id: event for event in events}
    return [by_id[name] for name in canonical_order(map(stub_of, events))]


@pytest.fixture(scope="module")
def lines(story, header):
    return list(write_lines(header, ordered(story.all())))


def test_there_and_back(story, header, lines):
    reader = ArchiveReader()
    events = list(reader.read(lines))
    assert {verify(event).id for event in events} == {event.id for event in story.all()}
    assert reader.header == header
    assert reader.index.events == len(events) == len(lines) - 2
    assert reader.index.heads()[f"{story.keys.edge.pubkey}/0"] == story.heads["0"]
    assert reader.index.heads()[f"{story.keys.accounting.pubkey}/accounting"] == story.heads["accounting"]
    stream = b"".join(lines)
    assert reader.index.stream == Digest(hashlib.sha256(stream).hexdigest(), len(stream))
    assert check_lines(lines)[1].kinds[kinds.RECEIPT] == sum(e.kind == kinds.RECEIPT for e in events)


def test_every_event_stands_after_what_it_names(story):
    events = ordered(story.all())
    place = {event.id: at for at, event in enumerate(events)}
    for event in events:
        assert all(place[name] < place[event.id] for name in stub_of(event).needs if name in place)
    job = story.events["job B"]
    assert set(stub_of(job).needs) == {story.events[name].id for name in ("terms 0", "batch 0/1", "batch 1/1")}
    assert story.events["receipt 0"].id in stub_of(story.events["payout 0"]).needs
    assert story.events["batch 1/2"].id in stub_of(story.events["statement 0"]).needs


@given(st.integers(0, 2**32))
def test_the_order_is_the_same_whatever_came_first(story, seed):
    events = story.all()
    expected = [event.id for event in ordered(events)]
    random.Random(seed).shuffle(events)
    assert canonical_order(map(stub_of, events + events[:5])) == expected


def test_what_is_named_and_not_there_holds_nothing_up(story):
    without = story.all("batch 0/1", "terms 0")
    assert len(canonical_order(map(stub_of, without))) == len(without)


@given(st.data())
def test_a_changed_file_is_refused(lines, data):
    """Any byte changed, any line dropped, doubled or moved, any cut."""
    stream = b"".join(lines)
    how = data.draw(st.sampled_from(["byte", "drop", "double", "swap", "cut"]))
    at = data.draw(st.integers(0, len(lines) - 1))
    broken = list(lines)
    if how == "byte":
        place = data.draw(st.integers(0, len(stream) - 1))
        changed = stream[:place] + bytes([stream[place] ^ data.draw(st.integers(1, 255))]) + stream[place + 1 :]
        broken = changed.splitlines(keepends=True)
    elif how == "drop":
        del broken[at]
    elif how == "double":
        broken.insert(at, broken[at])
    elif how == "swap":
        other = data.draw(st.integers(0, len(lines) - 1).filter(lambda other: other != at))
        broken[at], broken[other] = broken[other], broken[at]
    else:
        broken = stream[: data.draw(st.integers(0, len(stream) - 1))].splitlines(keepends=True)
    with pytest.raises(ArchiveError) as refused:
        check_lines(broken)
    assert 1 <= refused.value.line <= len(broken) + 1
    assert str(refused.value).startswith(f"line {refused.value.line}: ")


@pytest.mark.parametrize(
    ("line", "place", "reason"),
    [
        (b"{}\n", 1, "no archive"),
        (b'{"archive":2,"pool":"","from_s":0,"to_s":1}\n', 1, "form 2"),
        (b'{"archive":1,"pool":"x","from_s":0,"to_s":1}\n', 1, "the a tag"),
        (b'{"archive":1,"pool":"34210:%s:main","from_s":1,"to_s":1}\n' % (b"00" * 32), 1, "the period"),
        (b"hello\n", 1, "no JSON"),
        (b'"' + b"x" * (1 << 20) + b'"\n', 1, "longer"),
        (b"[]\n", 2, "JSON object"),
    ],
)
def test_what_is_refused_says_why(lines, line, place, reason):
    broken = [*lines[: place - 1], line, *lines[place:]]
    with pytest.raises(ArchiveError, match=reason) as refused:
        list(read_lines(broken))
    assert refused.value.line == place


def test_an_event_of_another_time_or_writing_is_refused(story, header, lines):
    late = ArchiveHeader(header.pool, header.from_s + 30, header.to_s)
    with pytest.raises(ArchiveError, match="not of the file's period"):
        check_lines(write_lines(late, ordered(story.all())))
    spaced = json.dumps(json.loads(lines[3])).encode() + b"\n"
    with pytest.raises(ArchiveError, match="not written as NIP-01"):
        check_lines([*lines[:3], spaced, *lines[4:]])


def test_nothing_follows_the_index(lines):
    with pytest.raises(ArchiveError, match="follows the index"):
        check_lines([*lines, lines[1]])
    with pytest.raises(ArchiveError, match="ends before its index"):
        check_lines(lines[:-1])
    with pytest.raises(ArchiveError, match="cut off"):
        check_lines([*lines[:-1], lines[-1][:-1]])
    wrong = json.loads(lines[-1])
    wrong["events"] += 1
    with pytest.raises(ArchiveError, match="does not fit"):
        check_lines([*lines[:-1], json.dumps(wrong, separators=(",", ":")).encode() + b"\n"])
