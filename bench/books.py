"""What the books keep in memory of payouts, which grow with the years: `python -m bench.books [PAYOUTS]`.

Records of payouts to 10,000 miners are booked into a ledger whose shelves lie in a file, as a running accounting's do.
"""

import hashlib
import sys
import tempfile
import time
from pathlib import Path

from accounting.adapters.kept_shelves import open_kept_shelves
from accounting.fold import codec_of, form
from accounting.ledger import Ledger
from bench.accounting import resident_mb
from bench.synthetic_log import POOL
from nips.pool.chain import Link
from nips.pool.payout import Payout

MINERS = 10_000
PAYOUTS = 300_000
# What the service does after each step.
TAKEN_EACH = 10_000


def name(number: int) -> str:
    """32 bytes of hex that are no other number's."""
    return hashlib.sha256(b"%d" % number).hexdigest()


def record(number: int) -> Payout:
    """A payout by zap, with a proof of the usual size."""
    own = name(number)
    return Payout(
        payout_id=own[:32],
        miner=name(number % MINERS),
        amount_msat=1_000_000,
        network_fee_msat=1_000,
        to="miner@example.com",
        method="zap",
        proof={"bolt11": "lnbcrt" + 300 * "x", "preimage": own},
        id=own,
        signer=POOL.pubkey,
        pool=POOL,
        link=Link(number, own),
        created_at=1_700_000_000 + number,
    )


def main() -> None:
    """Book them and print what they took."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else PAYOUTS
    with tempfile.TemporaryDirectory() as scratch:
        shelves = open_kept_shelves(Path(scratch) / "fold", codec_of, form())
        ledger = Ledger(shelves=shelves)
        before, begun = resident_mb(), time.process_time()
        for number in range(count):
            ledger.book_payout(record(number), miner_bears_fee=True)
            if number % TAKEN_EACH == TAKEN_EACH - 1:
                ledger.take_touched()
                shelves.keep(number, "", b"")
        took, grown = time.process_time() - begun, resident_mb() - before
        begun = time.process_time()
        thawed = Ledger(shelves=shelves)
        thawed.thaw(dict(ledger.accounts), ledger.bonuses.sums)
        again = time.process_time() - begun
        assert len(thawed.payouts) == count
        shelves.close()
    print(
        f"{count} payouts booked in {took:.1f} CPU s: {grown} MB of memory, {grown * 1_000_000 // count} bytes each;"
        f" read again at a start in {again:.1f} CPU s"
    )


if __name__ == "__main__":
    main()
