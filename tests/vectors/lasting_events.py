"""The vectors of what lasts when receipts are let go: summaries (4221, 4218) and archives (4220)."""

from nips.nip01 import VerifiedEvent
from tests.vectors.example_log import ACCOUNTING, EDGE, ExampleLog
from tests.vectors.pool_events import TEST_KEYS, Breaker, Json, wire


def _file(description: str, case: VerifiedEvent, breaker: Breaker) -> Json:
    return {
        "description": f"{description}; {TEST_KEYS}. Every invalid event has a good id and signature.",
        "cases": [{"event": wire(case)}],
        "invalid": breaker.made,
    }


def summary(log: ExampleLog) -> Json:
    made = Breaker(log.events["summary"], ACCOUNTING)
    made.common()
    made.link()
    miners = [tag for tag in made.event.tags if tag[0] == "p"]
    row = [0, "rig-1", "1", 1, [], "207fffff"]
    made.tag("miners not sorted", "p", *reversed(miners))
    made.tag("a miner without a row", "p", *miners, ("p", "ff" * 32))
    made.set("from_ms", 1, "it does not begin on the hour")
    made.set("to_ms", 1_767_225_600_000, "it ends where it begins")
    made.set("heads", {}, "no lane")
    made.set("heads", {f"{EDGE.pubkey}/0": [1]}, "a head without an id")
    made.set("rows", [[2, *row[1:]]], "a row of a miner without a tag")
    made.set("heads", {f"{EDGE.pubkey}/00": [1, "00" * 32]}, "a head of no lane")
    made.set("rows", [[*row[:2], "0", 0, [], ""], [1, *row[1:]]], "a row without shares or rejects")
    made.set("rows", [row, row, [1, *row[1:]]], "a row twice")
    made.set("rows", [[1, *row[1:]], row], "rows not sorted")
    made.set("rows", [row[:5], [1, *row[1:]]], "a row of five")
    made.set("rows", [[0, "a b", *row[2:]], [1, *row[1:]]], "a worker's name with a space")
    made.set("rows", [[0, "rig-1", 1, *row[3:]], [1, *row[1:]]], "work as a number")
    made.set("rows", [[*row[:3], 0, [], "207fffff"], [1, *row[1:]]], "a best share without shares")
    made.set("rows", [[*row[:5], ""], [1, *row[1:]]], "shares without a best one")
    made.set("rows", [[*row[:4], [[23, 1], [21, 1]], "207fffff"], [1, *row[1:]]], "rejects not sorted by code")
    made.set("rows", [[*row[:4], [[23, 0]], "207fffff"], [1, *row[1:]]], "a reject that happened no time")
    made.set("rows", [[*row[:5], "20ffffff"], [1, *row[1:]]], "a best share not canonical")
    made.set("parts", 2, "rows of its own and in parts")
    made.set("parts", 1, "a single part")
    made.set("work", 1, "the sum of the work as a number")
    made.set("treasury", [], "a treasury that is no object")
    return _file("4221, hourly summary", log.events["summary"], made)


def summary_part(log: ExampleLog) -> Json:
    made = Breaker(log.summary_part, ACCOUNTING)
    made.common()
    made.link()
    made.set("of", 4214, "a part of something else")
    made.set("part", -1, "a negative number")
    made.sign("no rows", tuple(tag for tag in made.event.tags if tag[0] != "p"), '{"v":1,"of":4221,"part":0,"rows":[]}')
    return _file("4218, part of a summary", log.summary_part, made)


def archive(log: ExampleLog) -> Json:
    made = Breaker(log.events["archive"], ACCOUNTING)
    made.common()
    made.link()
    made.set("to_s", 0, "it ends before it begins")
    made.set("events", -1, "a negative number of events")
    made.set("stream", {"sha256": "00", "size": 1}, "a hash of one byte")
    made.set("file", {"sha256": "00" * 32, "size": 1}, "the x tag names another file")
    made.set("urls", [1], "a place that is no text")
    made.set("heads", {f"{EDGE.pubkey}/0": ["0", "00" * 32]}, "a number of a head as text")
    made.set("heads", {f"{EDGE.pubkey}/edge": [0, "00" * 32]}, "a head of no chain")
    made.tag("no x tag", "x")
    file = _file("4220, archive, and the lines it announces", log.events["archive"], made)
    return {**file, "lines": [line.decode() for line in log.archive_lines]}
