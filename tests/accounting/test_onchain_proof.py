"""What the chain proves of payouts on it."""

from dataclasses import replace
from typing import Any

import pytest

from accounting.facts import CLAIMED, PROVEN, REFUTED
from accounting.findings import Code, Finding
from accounting.log import PoolLog
from accounting.onchain_proof import OnchainPaid, PaidOutput, check_onchain
from accounting.payout_proof import check_proof
from nips.nip01 import VerifiedEvent
from nips.pool.payout import Payout, parse_payout
from nips.pool.settings import SettingsBody, build_settings
from nips.pool.withdrawal import WithdrawalBody, build_withdrawal

TXID = "ab" * 32
ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
SAT = 1_234_000


class Shown:
    """A chain with one output."""

    def __init__(self, output: PaidOutput | None) -> None:
        self.output = output

    def output_at(self, txid: str, vout: int) -> PaidOutput | None:
        return self.output if (txid, vout) == (TXID, 1) else None


def settings(story: Any, signer: str = "alice", address: str = ADDRESS) -> VerifiedEvent:
    body = SettingsBody(methods=("onchain",), onchain=address)
    event: VerifiedEvent = getattr(story.keys, signer).sign(build_settings(story.pool.pubkey, body, 1_700_000_000))
    return event


def judged(story: Any, named: VerifiedEvent, output: PaidOutput | None, *, read: bool = True) -> tuple[str, list[Any]]:
    """The grade of a payout to where `named` says, and what was found, on a chain with that output."""
    log = PoolLog(story.pool)
    payout = replace(
        parse_payout(story.events["payout 0"]), miner=story.keys.alice.pubkey, amount_msat=SAT * 1000, method="onchain",
        to=named.id, proof={"txid": TXID, "vout": 1},
    )  # fmt: skip
    if read:
        log.add(named)
    log.onchain[payout.id] = payout
    log.books.grade(payout.id, payout.method, CLAIMED)
    found = list(check_onchain(log, Shown(output)))
    return log.books.grades[payout.id], found


def test_an_output_to_the_address_of_the_miners_settings_proves(story: Any) -> None:
    grade, [paid] = judged(story, settings(story), PaidOutput(ADDRESS, SAT, 3))
    assert grade == PROVEN
    assert isinstance(paid, OnchainPaid)
    assert (paid.txid, paid.vout, paid.depth) == (TXID, 1, 3)
    assert judged(story, settings(story, address=ADDRESS.upper()), PaidOutput(ADDRESS, SAT, 3))[0] == PROVEN


def test_an_output_to_the_address_of_a_withdrawal_proves(story: Any) -> None:
    body = WithdrawalBody("onchain", SAT * 1000, ADDRESS, 1_700_000_100)
    asked = build_withdrawal(story.pool, story.keys.zapper.pubkey, body, 1_700_000_000)
    assert judged(story, story.keys.alice.sign(asked), PaidOutput(ADDRESS, SAT, 9))[0] == PROVEN


@pytest.mark.parametrize(
    ("output", "word"),
    [
        (PaidOutput(ADDRESS, SAT - 1, 3), "1233999 sat"),
        (PaidOutput("bcrt1qother", SAT, 3), "bcrt1qother"),
        (PaidOutput("", SAT, 3), "no address"),
    ],
)
def test_another_output_refutes(story: Any, output: PaidOutput, word: str) -> None:
    grade, [found] = judged(story, settings(story), output)
    assert grade == REFUTED
    assert isinstance(found, Finding)
    assert found.code is Code.PAYOUT_PROOF
    assert word in found.text


def test_what_is_not_shown_stays_a_claim(story: Any) -> None:
    named, output = settings(story), PaidOutput(ADDRESS, SAT, 3)
    assert judged(story, named, None) == (CLAIMED, [])
    assert judged(story, named, output._replace(depth=2)) == (CLAIMED, [])
    assert judged(story, named, output, read=False) == (CLAIMED, [])
    assert judged(story, settings(story, "bob"), output) == (CLAIMED, [])


@pytest.mark.parametrize("proof", [{}, {"txid": TXID}, {"txid": TXID, "vout": -1}, {"txid": "ab", "vout": 0}])
def test_a_proof_without_its_output_is_refuted(story: Any, proof: dict[str, Any]) -> None:
    payout: Payout = replace(parse_payout(story.events["payout 0"]), method="onchain", proof=proof, amount_msat=1000)
    assert check_proof(payout, frozenset(), frozenset(), {}).grade == REFUTED
    whole = check_proof(replace(payout, proof={"txid": TXID, "vout": 0}), frozenset(), frozenset(), {})
    assert (whole.grade, whole.serves) == (CLAIMED, (f"output {TXID}:0",))
