"""What counts nowhere: the batches of a lane beyond the end that the terms have set it (SPEC.md, "Silent lanes").

A share can't move: its proof of work commits to a job, and the job names the lanes it counts in. So an edge that comes
back to a closed lane publishes what is left of it as it is, void, and keeps a report of it for its operator and miners.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nips.nip19 import encode_npub
from nips.pool.block import BlockFound
from nips.pool.chain import Head
from nips.pool.receipt import CREDITED_STATUSES, Receipt
from nips.pool.targets import work_from_bits
from noncestr.whole_file import write_whole

# Where in an edge's data folder the reports are, one file a lane.
FOLDER: Final = "lost"


@dataclass(frozen=True, slots=True)
class ClosedLane:
    """A lane of an edge that the terms have closed. `last`: the number of its last batch as its journal had it."""

    edge: str
    number: int
    end: Head
    last: int


def lost_report(lane: ClosedLane, receipts: Sequence[Receipt], blocks: Sequence[BlockFound]) -> dict[str, Any]:
    """What a closed lane holds beyond its end, of its receipts that are known.

    `complete`: whether all of them are, up to the last; `missing`: the numbers of those that are not.
    """
    end = lane.end
    mine = [receipt for receipt in receipts if (receipt.signer, receipt.lane) == (lane.edge, lane.number)]
    beyond = {receipt.link.seq: receipt for receipt in mine if receipt.link.seq > end.seq}
    shares: dict[str, int] = defaultdict(int)
    work: dict[str, int] = defaultdict(int)
    for receipt in beyond.values():
        for record in receipt.records():
            if record.status in CREDITED_STATUSES:
                session = receipt.sessions[record.session]
                shares[receipt.miners[session.miner]] += 1
                work[receipt.miners[session.miner]] += work_from_bits(session.share_bits)
    ids = {receipt.id for receipt in beyond.values()}
    missing = [seq for seq in range(end.seq + 1, lane.last + 1) if seq not in beyond]
    return {
        "lane": f"{encode_npub(lane.edge)}/{lane.number}",
        "number": lane.number,
        "batch": end.seq,
        "receipt": end.id,
        "last": lane.last,
        "from_ms": min((receipt.from_ms for receipt in beyond.values()), default=0),
        "to_ms": max((receipt.to_ms for receipt in beyond.values()), default=0),
        "batches": len(beyond),
        "missing": missing,
        "complete": not missing,
        "shares": sum(shares.values()),
        "work": str(sum(work.values())),
        "miners": [
            {"miner": encode_npub(miner), "shares": shares[miner], "work": str(work[miner])}
            for miner in sorted(shares, key=lambda miner: (-work[miner], miner))
        ],
        "blocks": [
            {"height": block.height, "block": block.block, "miner": encode_npub(block.finder)}
            for block in sorted(blocks, key=lambda block: (block.height, block.block))
            if block.receipt in ids
        ],
    }


def report_path(data: Path, number: int) -> Path:
    """Where the report of a lane is."""
    return data / FOLDER / f"{number}.json"


def write_report(data: Path, number: int, report: dict[str, Any]) -> None:
    """Keep a report; the one before is replaced whole."""
    path = report_path(data, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, f"{json.dumps(report, indent=1)}\n".encode())


def read_reports(data: Path) -> list[dict[str, Any]]:
    """All reports, by lane."""
    paths = sorted((data / FOLDER).glob("*.json"), key=lambda path: int(path.stem))
    return [json.loads(path.read_text()) for path in paths]
