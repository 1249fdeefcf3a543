"""4212 receipts and their records."""

import base64
import struct
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.errors import InvalidPoolEvent
from nips.nip01 import UnsignedEvent, encode_event
from nips.pool.chain import FIRST, Link
from nips.pool.content import parse_base64
from nips.pool.receipt import (
    CREDITED_STATUSES,
    MAX_JOBS,
    RECORD_SIZE,
    STATUSES,
    ReceiptBody,
    Rejects,
    Session,
    ShareRecord,
    build_receipt,
    parse_receipt,
    read_known_receipt,
    receipt_second,
    worker_name,
)
from nips.pool.targets import share_bits_from_difficulty
from tests.vectors.example_log import EDGE, POOL, T0

u32 = st.integers(0, 0xFFFFFFFF)
id64 = st.binary(min_size=32, max_size=32).map(bytes.hex)
workers = st.from_regex(r"\A(?:[A-Za-z0-9._-]{0,32}|#[0-9a-f]{8})\Z")


@st.composite
def bodies(draw):
    miners = tuple(draw(st.lists(id64, min_size=1, max_size=3, unique=True)))
    jobs = tuple(draw(st.lists(id64, min_size=1, max_size=3, unique=True)))
    from_ms, length = draw(st.integers(0, 2**40)), draw(st.integers(1, 0xFFFFFFFF))
    bits = st.integers(1, 2**60).map(share_bits_from_difficulty)
    session = st.builds(Session, st.integers(0, len(miners) - 1), workers, st.binary(min_size=4, max_size=4), bits)
    sessions = tuple(draw(st.lists(session, min_size=1, max_size=4)))
    record = st.builds(
        ShareRecord,
        session=st.integers(0, len(sessions) - 1),
        job=st.integers(0, len(jobs) - 1),
        status=st.sampled_from(sorted(STATUSES)),
        ms=st.integers(0, length - 1),
        ntime=u32,
        nonce=u32,
        version=u32,
        extranonce2=st.binary(min_size=8, max_size=8),
    )
    records = sorted(draw(st.lists(record, max_size=8)), key=lambda r: r.ms)
    reject = st.builds(Rejects, st.integers(0, len(sessions) - 1), st.integers(20, 25), st.integers(0, 2**40))
    seq = draw(st.integers(0, 99))
    return ReceiptBody(
        lane=draw(st.integers(0, 65535)),
        link=Link(seq, draw(id64)) if seq else FIRST,
        from_ms=from_ms,
        to_ms=from_ms + length,
        jobs=jobs,
        miners=miners,
        sessions=sessions,
        shares=b"".join(r.pack() for r in records),
        rejects=tuple(draw(st.lists(reject, max_size=3))),
        work=draw(st.integers(0, 2**200)),
        fin=draw(st.booleans()),
    )


def body_of(receipt):
    return ReceiptBody(**{field.name: getattr(receipt, field.name) for field in fields(ReceiptBody)})


def test_record_vectors(vectors, log):
    file = vectors("share_record")
    assert (len(file["cases"]), len(file["invalid"])) == (6, 3)
    for case in file["cases"]:
        extra = bytes.fromhex(case["extranonce2"])
        values = [case[name] for name in ("session", "job", "status", "ms", "ntime", "nonce", "version")]
        assert ShareRecord(*values, extra).pack().hex() == case["record"]
        # The table of SPEC.md, field by field.
        raw = bytes.fromhex(case["record"])
        assert len(raw) == RECORD_SIZE == 28
        assert [int.from_bytes(raw[a:b], "little") for a, b in ((0, 2), (2, 3), (3, 4), (4, 8))] == values[:4]
        assert [int.from_bytes(raw[a : a + 4], "little") for a in (8, 12, 16)] == values[4:]
        assert raw[20:] == extra
    column = parse_base64(file["column"], "shares")
    assert column == b"".join(bytes.fromhex(case["record"]) for case in file["cases"])
    receipt = parse_receipt(log.events["receipt"])
    assert receipt.shares == column
    for case in file["invalid"]:
        event = log.events["receipt"]
        text = event.content.replace(file["column"], case["base64"])
        assert text != event.content
        with pytest.raises(InvalidPoolEvent):
            parse_receipt(EDGE.sign(UnsignedEvent(event.kind, event.created_at, event.tags, text)))


def test_vectors(check_vectors, log):
    empty, receipt, last = check_vectors("receipt", parse_receipt, 3, 42)
    assert (last.fin, receipt.fin, last.count) == (True, False, 0)
    assert (empty.count, empty.records(), empty.link, empty.work) == (0, [], FIRST, 0)
    assert receipt.records() == log.records
    assert receipt.count == 6
    assert receipt.sessions == log.sessions
    assert receipt.link == Link(1, empty.id)
    assert receipt.from_ms == empty.to_ms
    assert receipt.work == 2 * 1024 + 4 * 4096
    assert receipt.rejects == (Rejects(0, 23, 2),)
    for made, name in ((empty, "empty_receipt"), (receipt, "receipt"), (last, "last_receipt")):
        event = log.events[name]
        assert EDGE.sign(build_receipt(made.pool, body_of(made), made.created_at)) == event


@given(bodies())
def test_there_and_back(body):
    event = EDGE.sign(build_receipt(POOL, body, receipt_second(body.to_ms, 0)))
    receipt = parse_receipt(event)
    assert body_of(receipt) == body
    assert read_known_receipt(event) == receipt
    assert (receipt.id, receipt.signer, receipt.pool) == (event.id, EDGE.pubkey, POOL)
    assert b"".join(record.pack() for record in receipt.records()) == body.shares


@given(
    st.builds(
        ShareRecord,
        *[st.integers(0, top) for top in (0xFFFF, 0xFF, 0xFF)],
        u32,
        u32,
        u32,
        u32,
        st.binary(min_size=8, max_size=8),
    )
)
def test_records_are_struct_packed(record):
    assert ShareRecord(*struct.unpack("<HBBIIII8s", record.pack())) == record


def test_every_bit_of_the_receipt_is_signed(log, verified):
    """A flipped bit of the records leaves an event that nobody signed."""
    event = log.events["receipt"]
    raw = parse_receipt(event).shares
    good = base64.b64encode(raw).decode()
    for at in range(len(raw)):
        flipped = bytearray(raw)
        flipped[at] ^= 1
        wire = {name: getattr(event, name) for name in event.__struct_fields__}
        wire["tags"] = [list(tag) for tag in event.tags]
        wire["content"] = event.content.replace(good, base64.b64encode(bytes(flipped)).decode())
        with pytest.raises(Exception, match="is not the event's hash"):
            verified(wire)


@given(st.text())
def test_worker_names(text):
    name = worker_name(text)
    assert len(name) == min(len(text), 32)
    assert worker_name(name) == name
    assert all(a == b or b == "_" for a, b in zip(text, name, strict=False))
    assert name.isascii()


@given(st.integers(0, 2**45), st.integers(0, 2**40))
def test_the_second_of_a_receipt(to_ms, newest):
    second = receipt_second(to_ms, newest)
    assert second * 1000 >= to_ms
    assert second >= newest
    assert second == newest or (second - 1) * 1000 < to_ms


@given(st.data())
def test_nothing_else_is_raised(fuzz, log, data):
    fuzz(data, parse_receipt, log.events["receipt"])


def test_bounds(log):
    body = body_of(parse_receipt(log.events["empty_receipt"]))
    jobs = tuple(f"{n:064x}" for n in range(MAX_JOBS + 1))
    at = T0 // 1000 + 30
    assert len(parse_receipt(EDGE.sign(build_receipt(POOL, replace(body, jobs=jobs[:-1]), at))).jobs) == 256
    with pytest.raises(InvalidPoolEvent, match="256"):
        parse_receipt(EDGE.sign(build_receipt(POOL, replace(body, jobs=jobs), at)))
    long = replace(body, from_ms=0, to_ms=0xFFFFFFFF)
    assert parse_receipt(EDGE.sign(build_receipt(POOL, long, at))).to_ms == 0xFFFFFFFF
    with pytest.raises(InvalidPoolEvent, match="window"):
        parse_receipt(EDGE.sign(build_receipt(POOL, replace(long, to_ms=0x100000000), at)))


def test_sizes(log):
    """What SPEC.md says of sizes: 28 bytes are 37.4 in an event; an empty batch stays under 700."""
    assert len(encode_event(log.events["empty_receipt"])) < 700
    receipt = parse_receipt(log.events["receipt"])
    sizes = []
    for count in (0, 1500):
        shares = log.records[0]._replace(ms=0).pack() * count
        sizes.append(len(encode_event(EDGE.sign(build_receipt(POOL, replace(body_of(receipt), shares=shares), 2**31)))))
    assert 37.3 < (sizes[1] - sizes[0]) / 1500 < 37.5
    assert sizes[1] < 60_000


def test_credited():
    assert {0, 1} == CREDITED_STATUSES
    assert {0, 1, 2, 3, 4, 5} == STATUSES
