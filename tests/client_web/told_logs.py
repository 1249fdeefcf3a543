"""Logs told to both verifiers, and what they say of them."""

import dataclasses
import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from accounting.mint_keys import mint_keys, read_mint_keys
from accounting.verifier import Audit, Unverified
from nips.nip01 import Event, VerifiedEvent, encode_event
from nips.pool import kinds
from nips.pool.address import PoolAddress

ROOT = Path(__file__).parents[2]
MODULES = ROOT / "client_web" / "verify"
AFTER_MS = 100_000_000
# One fault makes others appear; how many of these a verifier goes on to name is its own affair (SPEC.md, "Verifying").
FOLLOWING = {
    "block-mismatch", "block-not-solved", "job-head", "missing-batch", "missing-receipt", "share-job",
    "statement-heads", "statement-no-block", "statement-not-recomputed", "statement-reward", "statement-split",
    "statement-window",
}  # fmt: skip
Judge = Callable[[Sequence["Told"]], list[dict[str, Any]]]


@dataclasses.dataclass(eq=False)
class Told:
    """A log as relays have it: events whose signature holds, and some whose does not."""

    label: str
    pool: PoolAddress
    now_ms: int
    good: list[VerifiedEvent]
    bad: list[Event] = dataclasses.field(default_factory=list)
    # Texts of files of mints' keys.
    mint_keys: tuple[str, ...] = ()

    def line(self) -> str:
        events = [json.loads(encode_event(event)) for event in (*self.good, *self.bad)]
        log = {"pool": self.pool.pubkey, "network": self.pool.network, "now_ms": self.now_ms, "events": events}
        return json.dumps({**log, "mint_keys": self.mint_keys})

    def audit(self) -> Any:
        """The report of the verifier in Python, as it prints it."""
        # An event outside of the log that is not signed is nobody's word, and no finding.
        bad = [
            Unverified(event.id, event.pubkey, event.created_at)
            for event in self.bad
            if event.kind in kinds.LEDGER_KINDS
        ]
        judge = Audit(self.pool)
        judge.log.mint_keys = mint_keys(each for text in self.mint_keys for each in read_mint_keys(text))
        for event in self.good:
            judge.take(event)
        for unsigned in bad:
            judge.reject(unsigned)
        report = judge.finish(self.now_ms)
        assert report is not None
        return json.loads(report.to_json())


def judge_logs(node: str, logs: Sequence[Told]) -> list[dict[str, Any]]:
    """The second verifier's reports on logs."""
    done = subprocess.run(
        [node, str(Path(__file__).with_name("verify_logs.mjs")), str(MODULES), "ts"],
        input="".join(f"{log.line()}\n" for log in logs),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(reports) == len(logs)
    return reports


def claims(rows: Sequence[Any]) -> dict[str, tuple[int, int]]:
    return {row["name"]: (row["checked"], row["held"]) for row in rows}


def codes(findings: Sequence[Any], notes: bool = False) -> set[str]:
    return {found["code"] for found in findings if notes or found["grade"] != "not checked"}
