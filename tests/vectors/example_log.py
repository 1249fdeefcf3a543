"""A small pool's log from its first terms to its first payout, the same bytes each time: the examples of SPEC.md.

Keys are sha256("noncestr test key N"): public, for tests only. The work is real (regtest targets), the chain's facts
(prevhash, the other transaction) are made up.
"""

import hashlib
from collections.abc import Iterator
from fractions import Fraction

import bolt11

from accounting.archive import ArchiveHeader, canonical_order, stub_of, write_lines
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent, encode_event
from nips.pool.address import PoolAddress
from nips.pool.archive import ArchiveBody, Digest, build_archive
from nips.pool.binding import BoundWork
from nips.pool.block import BlockBody, build_block
from nips.pool.chain import FIRST, Head
from nips.pool.coinbase import Output, build_coinb1, build_coinb2, push_data, push_height
from nips.pool.funds import Place, build_funds
from nips.pool.hashing import hash_value, sha256d
from nips.pool.job import JobBody, build_job, parse_job
from nips.pool.payout import PayoutBody, build_payout
from nips.pool.receipt import ReceiptBody, Rejects, Session, ShareRecord, build_receipt, receipt_second
from nips.pool.statement import BlockReward, Row, StatementBody, Window, build_statement, build_status
from nips.pool.summary import (
    HOUR_MS,
    Refused,
    SummaryBody,
    SummaryRow,
    build_summary,
    build_summary_part,
)
from nips.pool.targets import bits_at_least, share_bits_from_difficulty, target_from_bits, work_from_bits
from nips.pool.terms import Limits, LogTerms, Offer, TermsBody, build_terms
from nips.pool.views import (
    Balance,
    MinerStatistics,
    PoolStatistics,
    build_announcement,
    build_balance,
    build_miner_statistics,
    build_pool_statistics,
)


def key(number: int) -> SecretKey:
    """The test key of that number."""
    return SecretKey(hashlib.sha256(f"noncestr test key {number}".encode()).digest())


POOL_KEY, EDGE, ACCOUNTING, ZAPPER, WALLET = key(0), key(1), key(2), key(3), key(7)
MINERS = tuple(sorted(key(n).pubkey for n in (4, 5, 6)))
POOL = PoolAddress(POOL_KEY.pubkey, "regtest")
RELAY = "wss://relay.example.com"
T0 = 1_767_225_600_000  # 2026-01-01T00:00:00Z, in ms
HEIGHT = 201
SUBSIDY_SAT = 25_00000000  # regtest halves every 150 blocks
FEES_SAT = 14_300
BLOCK_BITS = share_bits_from_difficulty(Fraction(1, 2**19))
FEE_PPM = 10_000
WINDOW_MIN_WORK = 15_000
# BIP 320: the version bits miners may roll.
VERSION_MASK = 0x1FFFE000

TERMS_BODY = TermsBody(
    offers={
        "main": Offer(fee_ppm=FEE_PPM, window_min_work=WINDOW_MIN_WORK, window_max_ms=86_400_000),
    },
    keys=((EDGE.pubkey, "edge"), (ACCOUNTING.pubkey, "accounting"), (ZAPPER.pubkey, "zapper")),
    limits=Limits(block_bits=BLOCK_BITS),
    log=LogTerms(relays=(RELAY,), retention_days=365),
)


def mine(work: BoundWork, targets: range, extranonce2: bytes, ntime: int, version: int) -> Iterator[int]:
    """The nonces, in order, whose hash lies within `targets`."""
    header = bytearray(work.header(extranonce2, ntime, 0, version))
    for nonce in range(1 << 32):
        header[76:80] = nonce.to_bytes(4, "little")
        if hash_value(sha256d(bytes(header))) in targets:
            yield nonce


class ExampleLog:
    """Every event of the example, signed; `events` maps a name to it, in the order they were made."""

    def __init__(self) -> None:
        self.events: dict[str, VerifiedEvent] = {}
        self._sign("terms", POOL_KEY, build_terms(POOL, FIRST, T0 // 1000, TERMS_BODY))
        empty = ReceiptBody(0, FIRST, T0, T0 + 30_000, (), (), (), b"", (), 0)
        self._receipt("empty_receipt", empty, T0 // 1000)
        self._job()
        self._shares()
        self._last_receipt()
        self._statement()
        self._payout()
        self._summary()
        self._archive()
        self._views()

    def _sign(self, name: str, signer: SecretKey, unsigned: UnsignedEvent) -> VerifiedEvent:
        self.events[name] = signer.sign(unsigned)
        return self.events[name]

    def _receipt(self, name: str, body: ReceiptBody, newest: int) -> None:
        self._sign(name, EDGE, build_receipt(POOL, body, receipt_second(body.to_ms, newest)))

    def _job(self) -> None:
        commitment = hashlib.sha256(b"noncestr test witness commitment").digest()
        self.prefix = push_height(HEIGHT) + push_data(b"/noncestr/")
        self.outputs = (
            Output(SUBSIDY_SAT + FEES_SAT, b"\x51\x20" + bytes.fromhex(POOL.pubkey)),
            Output(0, b"\x6a\x24\xaa\x21\xa9\xed" + commitment),
        )
        body = JobBody(
            ms=T0 + 30_500,
            terms=self.events["terms"].id,
            offer="main",
            heads={0: self.events["empty_receipt"].id},
            height=HEIGHT,
            version=0x20000000,
            prevhash=sha256d(b"noncestr test block 200"),
            nbits=0x207FFFFF,
            ntime=T0 // 1000 + 30,
            coinb1=build_coinb1(2, self.prefix),
            coinb2=build_coinb2(self.outputs),
            merkle=(sha256d(b"noncestr test transaction 1"),),
            version_mask=VERSION_MASK,
        )
        self.job = parse_job(self._sign("job", EDGE, build_job(POOL, body)))

    def _shares(self) -> None:
        """Two miners, three sessions, six shares; the last one is a block."""
        easy, hard = (share_bits_from_difficulty(Fraction(1, 2**k)) for k in (22, 20))
        self.sessions = (
            Session(0, "rig-1", bytes.fromhex("00000001"), easy),
            Session(0, "rig-1", bytes.fromhex("00000001"), hard),
            Session(1, "", bytes.fromhex("00000002"), hard),
        )
        self.bound = [BoundWork(self.job, MINERS[s.miner], s.share_bits, s.extranonce1) for s in self.sessions]
        rolled = self.job.version | 0x00002000
        plan = [
            # session, ms since the window's start, ntime past the job's, version, extranonce2
            (0, 700, 0, self.job.version, "0000000000000000"),
            (0, 900, 0, self.job.version, "0000000000000001"),
            (1, 2500, 2, rolled, "0000000000000002"),
            (2, 2500, 1, self.job.version, "0a00000000000000"),
            (2, 6100, 5, rolled, "0b00000000000000"),
            (2, 8216, 7, rolled, "0c00000000000000"),
        ]
        self.records: list[ShareRecord] = []
        for index, (session, ms, later, version, extranonce2) in enumerate(plan):
            last = index == len(plan) - 1
            # Only the last is a block: one earlier would have closed the batch.
            block, share = (target_from_bits(b) for b in (BLOCK_BITS, self.sessions[session].share_bits))
            targets = range(block + 1) if last else range(block + 1, share + 1)
            ntime, extra = self.job.ntime + later, bytes.fromhex(extranonce2)
            nonce = next(mine(self.bound[session], targets, extra, ntime, version))
            self.records.append(ShareRecord(session, 0, 0, ms, ntime, nonce, version, extra))
        first = self.events["empty_receipt"]
        body = ReceiptBody(
            lane=0,
            link=Head(0, first.id).next(),
            from_ms=T0 + 30_000,
            to_ms=T0 + 38_217,
            jobs=(self.job.id,),
            miners=MINERS[:2],
            sessions=self.sessions,
            shares=b"".join(record.pack() for record in self.records),
            rejects=(Rejects(0, 23, 2),),
            work=sum(work_from_bits(self.sessions[record.session].share_bits) for record in self.records),
        )
        self._receipt("receipt", body, first.created_at)
        block = self.records[-1]
        bound = self.bound[block.session]
        self.block = BlockBody(
            height=HEIGHT,
            header=bound.header(block.extranonce2, block.ntime, block.nonce, block.version),
            coinbase=bound.coinbase(block.extranonce2),
            merkle=self.job.merkle,
            finder=MINERS[1],
            receipt=self.events["receipt"].id,
            index=len(self.records) - 1,
        )
        self._sign("block", EDGE, build_block(POOL, self.block, self.events["receipt"].created_at))

    def _last_receipt(self) -> None:
        """The lane ends for good: so nobody waits for it, be it for an hour that is over."""
        before = self.events["receipt"]
        ended = ReceiptBody(0, Head(1, before.id).next(), T0 + 38_217, T0 + 40_000, (), (), (), b"", (), 0, fin=True)
        self._receipt("last_receipt", ended, before.created_at)

    def _statement(self) -> None:
        """pplns by hand: the newest shares until WINDOW_MIN_WORK (8 blocks' work, 16 hashes, are less than that)."""
        left, found = WINDOW_MIN_WORK, T0 + 30_000 + self.records[-1].ms
        self.split = [f"W = max(floor(8000 * 2 / 1000), {WINDOW_MIN_WORK}) = {WINDOW_MIN_WORK}"]
        counted: dict[str, int] = {}
        oldest = found
        for index, record in reversed(list(enumerate(self.records))):
            session = self.sessions[record.session]
            miner, part = MINERS[session.miner], min(left, work_from_bits(session.share_bits))
            if part == 0:
                break
            counted[miner] = counted.get(miner, 0) + part
            oldest = T0 + 30_000 + record.ms
            left -= part
            self.split.append(f"share {index} of {miner[:8]}... counts {part}, {left} left")
        gross = (SUBSIDY_SAT + FEES_SAT) * 1000
        pot, total = gross - gross * FEE_PPM // 1_000_000, sum(counted.values())
        self.split += [f"gross {gross}, fee {gross - pot} and what rounding leaves, pot {pot}"]
        self.split += [
            f"{m[:8]}...: floor({pot} * {w} / {total}) = {pot * w // total}" for m, w in sorted(counted.items())
        ]
        rows = tuple(Row(miner, work, pot * work // total) for miner, work in sorted(counted.items()))
        body = StatementBody(
            reward=BlockReward(self.block.block, HEIGHT, found, gross),
            terms=self.events["terms"].id,
            offer="main",
            window=Window(oldest, total, {f"{EDGE.pubkey}/0": Head(1, self.events["receipt"].id)}),
            fee_msat=gross - sum(row.msat for row in rows),
            rows=rows,
        )
        made = found // 1000 + 10
        statement = self._sign(
            "statement", ACCOUNTING, build_statement(POOL, FIRST, body, made, self.events["block"].id)
        )
        self.rows = rows
        link = Head(0, statement.id).next()
        self._sign("status", ACCOUNTING, build_status(POOL, link, statement.id, "matured", made + 3600))

    def _payout(self) -> None:
        """A zap of the first row's whole millions of msat, to the address in the miner's profile."""
        miner = next(k for k in map(key, (4, 5, 6)) if k.pubkey == self.rows[0].miner)
        paid_at = self.events["status"].created_at + 60
        profile = self._sign(
            "profile", miner, UnsignedEvent(0, T0 // 1000, (), '{"name":"miner","lud16":"miner@wallet.example.com"}')
        )
        amount = self.rows[0].msat // 1_000_000 * 1_000_000
        request = UnsignedEvent(
            9734,
            paid_at,
            (("relays", RELAY), ("amount", str(amount)), ("p", miner.pubkey)),
            "mining payout",
        )
        signed = self._sign("zap_request", ZAPPER, request)
        preimage = hashlib.sha256(b"noncestr test preimage").digest()
        tags = bolt11.Tags()
        tags.add(bolt11.TagChar.payment_hash, hashlib.sha256(preimage).hexdigest())
        tags.add(bolt11.TagChar.payment_secret, hashlib.sha256(b"noncestr test payment secret").hexdigest())
        tags.add(bolt11.TagChar.description_hash, hashlib.sha256(encode_event(signed)).hexdigest())
        invoice = bolt11.Bolt11(currency="bcrt", date=paid_at, tags=tags, amount_msat=bolt11.MilliSatoshi(amount))
        body = PayoutBody(
            payout_id="00000001",
            miner=miner.pubkey,
            amount_msat=amount,
            network_fee_msat=1204,
            to=profile.id,
            method="zap",
            proof={
                "bolt11": bolt11.encode(invoice, WALLET.secret_bytes().hex()),
                "preimage": preimage.hex(),
                "zap_request": {
                    "id": signed.id,
                    "pubkey": signed.pubkey,
                    "created_at": signed.created_at,
                    "kind": signed.kind,
                    "tags": [list(tag) for tag in signed.tags],
                    "content": signed.content,
                    "sig": signed.sig,
                },
            },
        )
        self.payout = body
        self._sign("payout", ZAPPER, build_payout(POOL, FIRST, body, paid_at + 2))

    def _summary(self) -> None:
        """The first hour, added up by hand; and its first row as it would stand in a part."""
        rows = []
        for number, worker in enumerate(("rig-1", "")):
            mine = [record for record in self.records if self.sessions[record.session].miner == number]
            best = min(
                hash_value(sha256d(self.bound[r.session].header(r.extranonce2, r.ntime, r.nonce, r.version)))
                for r in mine
            )
            work = sum(work_from_bits(self.sessions[record.session].share_bits) for record in mine)
            refused = () if number else (Refused(23, 2),)
            rows.append(SummaryRow(MINERS[number], worker, work, len(mine), refused, bits_at_least(best)))
        heads = {f"{EDGE.pubkey}/0": Head(2, self.events["last_receipt"].id)}
        self.summary = SummaryBody(T0, T0 + HOUR_MS, heads, tuple(rows))
        link, made = Head(1, self.events["status"].id).next(), self.events["status"].created_at + 2
        self._sign("summary", ACCOUNTING, build_summary(POOL, link, self.summary, made))
        # Not of this log, where no summary needs parts.
        self.summary_part = ACCOUNTING.sign(build_summary_part(POOL, link, 0, rows[:1], made))

    def _archive(self) -> None:
        """Everything so far as a file. What a compressor makes of it is made up: it differs from one to the next."""
        names = ("terms", "empty_receipt", "job", "receipt", "block", "last_receipt", "statement", "status", "payout")
        kept = {self.events[name].id: self.events[name] for name in (*names, "summary")}
        ordered = [kept[name] for name in canonical_order(map(stub_of, kept.values()))]
        from_s, to_s = T0 // 1000, T0 // 1000 + 86_400
        self.archive_lines = list(write_lines(ArchiveHeader(POOL, from_s, to_s), ordered))
        stream = b"".join(self.archive_lines)
        file = b"noncestr test file"
        body = ArchiveBody(
            from_s=from_s,
            to_s=to_s,
            events=len(ordered),
            stream=Digest(hashlib.sha256(stream).hexdigest(), len(stream)),
            file=Digest(hashlib.sha256(file).hexdigest(), len(file)),
            heads={
                f"{POOL_KEY.pubkey}/terms": Head(0, self.events["terms"].id),
                f"{EDGE.pubkey}/0": Head(2, self.events["last_receipt"].id),
                f"{ACCOUNTING.pubkey}/accounting": Head(2, self.events["summary"].id),
                f"{ZAPPER.pubkey}/payouts": Head(0, self.events["payout"].id),
            },
            urls=("https://pool.example.com/archive/2026-01-01.jsonl.gz",),
        )
        link = Head(2, self.events["summary"].id).next()
        self._sign("archive", ACCOUNTING, build_archive(POOL, link, body, to_s + 7200))

    def _views(self) -> None:
        status, now = self.events["status"], self.events["payout"].created_at
        row = self.rows[0]
        announcement = build_announcement(
            POOL,
            name="Example",
            terms=self.events["terms"].id,
            stratum=("stratum+tcp://pool.example.com:3333",),
            relays=(RELAY,),
            web="https://pool.example.com",
            created_at=T0 // 1000,
        )
        self._sign("announcement", POOL_KEY, announcement)
        balance = Balance(row.miner, 0, row.msat, self.payout.amount_msat, Head(1, status.id))
        self._sign("balance", ACCOUNTING, build_balance(POOL, balance, now))
        pool_stats = PoolStatistics(T0 + 40_000, {"5m": 62, "1h": 5}, 2, 2, 6, 2, 1, HEIGHT)
        self._sign("pool_statistics", ACCOUNTING, build_pool_statistics(POOL, pool_stats, T0 // 1000 + 40))
        places = (Place("lightning", 2_000_000_000, T0 + 39_000), Place("node"))
        self._sign("funds", ZAPPER, build_funds(POOL, places, T0 // 1000 + 40))
        work = sum(work_from_bits(self.sessions[r.session].share_bits) for r in self.records if r.session < 2)
        miner_stats = MinerStatistics(
            MINERS[0], T0 + 40_000, {"5m": 20, "1h": 1}, {"rig-1": 20}, 3, 2, work, T0 + 32_500
        )
        self._sign("miner_statistics", ACCOUNTING, build_miner_statistics(POOL, miner_stats, T0 // 1000 + 40))
