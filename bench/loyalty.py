"""What a bonus costs a large pool's statement, in CPU seconds of one core: `python -m bench.loyalty`.

A reward to 100,000 miners with one or two workers each, after a month in which 3,000 of them attested a device every
day: the statement without a bonus, then with one; as the first after a start, which reads the month's sums, and as one
later in the hour. Then what it takes to sum up an hour and a day as they end. Beside sha256d/s of the same run.

The month is made for this: each lane's days and hours as `accounting.turnout` keeps them, in a file as a running
accounting has it, and batches without shares behind them; the last hour's shares are there, though nobody hashed them.
"""

import tempfile
import time
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from accounting.adapters.kept_shelves import KeptShelves, open_kept_shelves
from accounting.attendance import Attendance
from accounting.chains import Chain
from accounting.facts import BlockSeen
from accounting.fold import codec_of, form
from accounting.lanes import NO_SHARES, Batch, Batches, Lane, LaneKey, Lanes
from accounting.rewards import Bonus, Expected, expected_split, made_with_bonus
from accounting.schemes.held import NOTHING_HELD
from accounting.schemes.loyalty import DAY_MS, DAY_S, HOUR_MS
from accounting.shares import CheckedShares, JobRef, Session
from accounting.shelves import Shelf
from accounting.turnout import DAYS, HOURS, HOURS_A_DAY, Turnout, Turnouts, turnout_of
from bench.accounting import resident_mb
from bench.accounting_speed import sha256d_rate
from bench.synthetic_log import ACCOUNTING, EDGE, POOL, POOL_KEY, payee
from nips.pool.attestation import Attestation, AttestationBody
from nips.pool.attestation_part import AttestationPart
from nips.pool.block import BlockFound
from nips.pool.chain import FIRST, Head, next_link
from nips.pool.job import Job
from nips.pool.statement import StatementBody, build_statement
from nips.pool.statement_rows import build_statement_part, split_statement
from nips.pool.terms import Loyalty, Model, Offer, Terms, TermsBody

MINERS, DEVICES = 100_000, 3_000
PER_LANE = 170
BATCH_MS, SHARES = 60_000, 6
DAYS_BACK = 31
# An afternoon: fifteen hours of the day are over.
START = (20_000 * HOURS_A_DAY + 15) * HOUR_MS
MINUTES = HOUR_MS // BATCH_MS
RATE = 1_200_000_000_000
# Of a share, so that six a minute are about the rate of a device.
WORK = RATE * 10
GROSS = 312_500_000_000


def workers_of(number: int) -> Iterator[str]:
    """A miner's workers: every second one has two."""
    yield "axe"
    if number % 2:
        yield "rig"


def day_of(numbers: Iterable[int], bits: int, seconds: int) -> Turnout:
    """What miners do in hours of a day."""
    works = {(payee(number), name): RATE * seconds for number in numbers for name in workers_of(number)}
    return turnout_of({payee(number): bits for number in numbers}, works)


class Month:
    """The lanes, and what is kept of the month in them."""

    def __init__(self, shelves: KeptShelves) -> None:
        self.shelves = shelves
        self.lanes = Lanes()
        self.attendance = Attendance(shelves)
        self.days: Shelf[bytes] = shelves.open(DAYS)
        self.hours: Shelf[bytes] = shelves.open(HOURS)
        today = START // DAY_MS
        for number in range(-(-MINERS // PER_LANE)):
            key = LaneKey(EDGE.pubkey, number)
            self.lanes[key] = Lane(key, Chain(str(key), lambda _: None), Batches(str(key), shelves))
            miners = range(number * PER_LANE, min((number + 1) * PER_LANE, MINERS))
            month = day_of(miners, (1 << HOURS_A_DAY) - 1, DAY_S)
            for day in range(today - DAYS_BACK, today):
                self.keep(self.days, key, day, DAY_MS, month)
            for hour in range(today * HOURS_A_DAY, START // HOUR_MS):
                self.keep(self.hours, key, hour, HOUR_MS, day_of(miners, 1 << hour % HOURS_A_DAY, DAY_S // HOURS_A_DAY))
            for minute in range(MINUTES):
                self.add(key, miners, START + minute * BATCH_MS)

    def keep(self, shelf: Shelf[bytes], key: LaneKey, number: int, length_ms: int, done: Turnout) -> None:
        """What a lane had in an hour or a day, as if its last batch told it."""
        lane = self.lanes[key]
        seq, end = len(lane.batches), (number + 1) * length_ms
        lane.add(Batch(seq, f"{key.number}/{seq}", number * length_ms, end, end // 1000, NO_SHARES), follows=True)
        place = f"{key}/{number:09d}"
        shelf[place] = done.pack(place, seq, f"{key.number}/{seq}")

    def add(self, key: LaneKey, miners: range, start: int) -> None:
        """A minute's shares of a lane."""
        lane = self.lanes[key]
        sessions = tuple(Session(payee(number), name, WORK) for number in miners for name in workers_of(number))
        count = SHARES * len(sessions)
        shares = CheckedShares(
            t=array("q", [start + n * BATCH_MS // count for n in range(count)]),
            index=array("I", range(count)),
            session=array("H", [n % len(sessions) for n in range(count)]),
            job=array("B", bytes(count)),
            sessions=sessions,
            jobs=(JobRef("00" * 32, 100, "loyal", by_worker=True),),
        )
        seq, end = len(lane.batches), start + BATCH_MS
        batch = Batch(seq, f"{key.number}/{seq}", start, end, end // 1000, shares.pack())
        batch.take(shares)
        lane.add(batch, follows=True)
        self.attendance.passed(lane, shares)


def attest(attendance: Attendance) -> None:
    """A device of each of some miners on each of the last days that are over, in the accounting's chain."""
    for day in range(START // DAY_MS - DAYS_BACK + 1, START // DAY_MS):
        told = tuple(
            Attestation(f"{number:064x}", payee(number), POOL, day * DAY_S, AttestationBody("axe", "axe", "", RATE, ""))
            for number in range(DEVICES)
        )
        attendance.add(AttestationPart("", ACCOUNTING.pubkey, POOL, FIRST, day * DAY_S, told))


def block_at(found_ms: int, offer: Offer, work: int) -> BlockSeen:
    """A block found at a time, under an offer whose window is three quarters of that work."""
    offers = {"loyal": replace(offer, window_min_work=work * 3 // 4)}
    terms = Terms("11" * 32, POOL_KEY.pubkey, POOL, FIRST, 0, TermsBody(offers=offers, keys=()))
    header = bytes(80)
    job = Job(
        ms=found_ms, terms=terms.id, offer="loyal", heads={}, height=100, version=0, prevhash=bytes(32),
        nbits=0x207FFFFF, ntime=0, coinb1=b"", coinb2=b"", merkle=(), version_mask=0,
        id="00" * 32, signer=EDGE.pubkey, pool=POOL,
    )  # fmt: skip
    block = BlockFound(
        height=100, header=header, coinbase=b"", merkle=(), finder=payee(0), receipt="", index=0,
        id="22" * 32, signer=EDGE.pubkey, pool=POOL, created_at=0,
    )  # fmt: skip
    return BlockSeen(block, found_ms, "loyal", terms, GROSS, job, EDGE.pubkey, 0, 0, 0, 0x207FFFFF)


def publish(body: StatementBody) -> None:
    """Sign a statement and its parts."""
    held = split_statement(body.rows, body.donations)
    link, second = FIRST, body.reward.end_ms // 1000
    for number, rows in enumerate(held):
        event = ACCOUNTING.sign(build_statement_part(POOL, link, number, rows, second))
        link = next_link(Head(link.seq, event.id))
    ACCOUNTING.sign(build_statement(POOL, link, body, second, "22" * 32, parts=len(held)))


@contextmanager
def timed(what: str, baseline: float) -> Iterator[None]:
    """Say what a thing took."""
    begun = time.process_time()
    yield
    took = time.process_time() - begun
    print(f"{what}: {took:.2f} CPU s ({took * baseline / 1e6:.2f} million sha256d); {resident_mb()} MB")


def state(lanes: Lanes, block: BlockSeen, attendance: Attendance) -> StatementBody:
    """As the accounting makes a statement: what it splits, what was attested, the bonuses, signed."""
    expected = expected_split(lanes, block, NOTHING_HELD)
    assert isinstance(expected, Expected)
    body = expected.body
    if block.pays_loyalty:
        bonus = Bonus(attendance, ACCOUNTING.pubkey)
        assert not bonus.wanting(lanes, body, block, ())
        body = made_with_bonus(lanes, block, NOTHING_HELD, body, bonus, expected.counted)
    publish(body)
    assert len(body.rows) == MINERS
    assert sum(row.msat for row in body.rows) + body.fee_msat == GROSS
    return body


def main() -> None:
    """All of it."""
    baseline = sha256d_rate()
    print(f"sha256d of a header: {baseline:.0f} a CPU second")
    with tempfile.TemporaryDirectory() as scratch:
        shelves = open_kept_shelves(Path(scratch) / "fold.sqlite", codec_of, form())
        month = Month(shelves)
        attendance = month.attendance
        attest(attendance)
        shelves.keep(1, "", b"")
        lanes, work = month.lanes, MINUTES * SHARES * WORK * sum(len(list(workers_of(n))) for n in range(MINERS))
        plain, rules = Offer(fee_ppm=10_000), Loyalty(250_000, hardware={"axe": Model(RATE, 1500)})
        half, end = START + HOUR_MS // 2, START + HOUR_MS - BATCH_MS - 1
        print(f"{len(lanes)} lanes, a month of {MINERS} miners kept: {resident_mb()} MB")
        with timed("a statement without a bonus", baseline):
            state(lanes, block_at(end, plain, work), attendance)
        with timed("the first with a bonus after a start", baseline):
            state(lanes, block_at(half, replace(plain, loyalty=rules), work // 2), attendance)
        with timed("the next with a bonus", baseline):
            body = state(lanes, block_at(end, replace(plain, loyalty=rules), work), attendance)
        assert all(row.bonus_msat for row in body.rows)
        sums = Turnouts(shelves)
        for key in lanes:
            # It was summed as its last batch came in.
            del month.hours[f"{key}/{START // HOUR_MS:09d}"]
        with timed("an hour of all lanes summed up as it ends", baseline):
            for lane in lanes.values():
                assert sums.hour(lane, START // HOUR_MS).miners
        for lane in lanes.values():
            seq, over = len(lane.batches), (START // DAY_MS + 1) * DAY_MS
            lane.add(Batch(seq, f"{lane.key.number}/{seq}", START + HOUR_MS, over, 0, NO_SHARES), follows=True)
            for hour in range(START // HOUR_MS + 1, over // HOUR_MS):
                sums.hour(lane, hour)
        with timed("a day of all lanes", baseline):
            for lane in lanes.values():
                assert sums.day(lane, START // DAY_MS).miners
        shelves.close()


if __name__ == "__main__":
    main()
