"""What the chain says of a log. The story's blocks are put into a made-up chain, on it or off it."""

import struct
from typing import Any

import pytest

from accounting.chainfacts import HeaderChain, check_chain, read_headers
from accounting.findings import NOT_CHECKED, Code
from accounting.verifier import Audit
from nips.pool.hashing import sha256d
from nips.pool.targets import target_from_bits

NBITS = 0x207FFFFF


def header(prevhash: bytes, seed: int, nbits: int = NBITS) -> bytes:
    """A header with the work that it claims."""
    for nonce in range(1 << 20):
        made = struct.pack("<I32s32sIII", 1, prevhash, sha256d(b"%d" % seed), 0, nbits, nonce)
        if int.from_bytes(sha256d(made), "little") <= target_from_bits(nbits):
            return made
    raise AssertionError("no luck")


class MadeChain:
    """A chain by decree: names at heights, coinbases beside them. Work and links are HeaderChain's to check."""

    def __init__(self, names: dict[bytes, int], tip: int, headers: dict[int, bytes] | None = None) -> None:
        self.first, self.tip = 0, tip
        self.names = names
        self.headers = headers or {}
        self.coinbases: dict[int, bytes] = {}

    def height_of(self, block: bytes) -> int | None:
        return self.names.get(block)

    def header_at(self, height: int) -> bytes | None:
        return self.headers.get(height)

    def coinbase_at(self, height: int) -> bytes | None:
        return self.coinbases.get(height)

    def output_at(self, txid: str, vout: int) -> None:
        """No output is shown: those are test_onchain_proof's."""


def folded(log: Any, *without: str) -> Any:
    judge = Audit(log.pool)
    for event in log.all(*without):
        judge.add(event)
    judge.settle()
    return judge.log


def found_block(log: Any, label: str) -> bytes:
    return sha256d(log.bodies[label].header)


@pytest.fixture
def chain(story: Any) -> MadeChain:
    """Blocks 0 and 1 (matured) stand in it, deep; block 2 (orphaned) does not."""
    names = {sha256d(b"block 0"): 100, sha256d(b"block 1"): 101, sha256d(b"block 2"): 102}
    names |= {found_block(story, "block 0"): 101, found_block(story, "block 1"): 102}
    # The tips that jobs name are made up; their children are blocks of ours.
    return MadeChain(names, 300, {101: story.bodies["block 0"].header, 102: story.bodies["block 1"].header})


def test_an_honest_log_agrees_with_its_chain(story: Any, chain: MadeChain) -> None:
    report, found = check_chain(folded(story), chain)
    assert found == []
    assert (report.on_chain, report.off_chain, report.not_shown, report.jobs_placed) == (2, 1, 0, 3)
    assert "2 blocks of the log in it, 1 not" in report.line()


def codes(log: Any, chain: MadeChain) -> list[tuple[Code, str]]:
    return [(found.code, found.text) for found in check_chain(folded(log), chain)[1]]


def test_a_matured_reward_off_the_chain_is_named(story: Any, chain: MadeChain) -> None:
    del chain.names[found_block(story, "block 0")]
    ((code, text),) = codes(story, chain)
    assert code is Code.CHAIN_STATUS
    assert "not in the chain" in text


def test_a_reward_that_matured_too_soon_is_named(story: Any, chain: MadeChain) -> None:
    chain.tip = 150
    assert {code for code, _ in codes(story, chain)} == {Code.CHAIN_STATUS}
    assert "confirmations of 100" in codes(story, chain)[0][1]


def test_an_orphan_that_stands_in_the_chain_is_named(story: Any, chain: MadeChain) -> None:
    chain.names[found_block(story, "block 2")] = 102
    ((code, text),) = codes(story, chain)
    assert code is Code.CHAIN_STATUS
    assert "said to be orphaned" in text


def test_blocks_beyond_what_is_shown_are_counted_not_judged(story: Any, chain: MadeChain) -> None:
    chain.tip = 101
    report, _ = check_chain(folded(story), chain)
    assert report.not_shown == 2


def test_a_jobs_height_and_target_are_the_chains(story: Any, chain: MadeChain) -> None:
    chain.names[sha256d(b"block 0")] = 90
    assert (Code.CHAIN_JOB, "made for height 101 on a block of height 90") in codes(story, chain)
    chain.names[sha256d(b"block 0")] = 100
    chain.headers[101] = header(bytes(32), 1, 0x1F7FFFFF)
    assert (Code.CHAIN_JOB, "nbits 207fffff where the chain has 1f7fffff") in codes(story, chain)


def test_work_on_a_block_that_is_not_in_the_chain_is_noted(story: Any, chain: MadeChain) -> None:
    del chain.names[sha256d(b"block 2")]
    (found,) = check_chain(folded(story), chain)[1]
    assert (found.code, found.grade) == (Code.CHAIN_JOB, NOT_CHECKED)
    assert found.events == (story.events["job F"].id,)
    # What is not that deep may still change.
    chain.tip = 107
    assert not [text for code, text in codes(story, chain) if code is Code.CHAIN_JOB]


def test_a_block_of_the_chain_mined_on_a_job_and_told_by_nobody_is_named(story: Any, chain: MadeChain) -> None:
    """Its coinbase is the job's, with some binding in its place; the header is another share's than any told."""
    job = story.bodies["job B"]
    chain.headers[101] = header(sha256d(b"block 0"), 7)
    chain.coinbases[101] = job.coinb1 + bytes(44) + job.coinb2
    found = check_chain(folded(story), chain)[1]
    assert Code.CHAIN_UNTOLD in {each.code for each in found}
    # Another pool's block on the same parent is none of ours.
    chain.coinbases[101] = job.coinb1 + bytes(44) + job.coinb2 + b"\0"
    assert codes(story, chain) == []


def test_headers_are_a_chain_of_work() -> None:
    headers = [header(bytes(32), 0)]
    for seed in range(1, 6):
        headers.append(header(sha256d(headers[-1]), seed))
    chain = HeaderChain(500, headers)
    assert (chain.first, chain.tip) == (500, 505)
    assert [chain.height_of(sha256d(each)) for each in headers] == list(range(500, 506))
    assert chain.height_of(bytes(32)) == 499
    assert chain.height_of(b"\1" * 32) is None
    assert (chain.header_at(499), chain.header_at(503), chain.header_at(506)) == (None, headers[3], None)
    with pytest.raises(ValueError, match="height 502 does not follow"):
        HeaderChain(500, [*headers[:2], headers[3]])
    with pytest.raises(ValueError, match="has not the work"):
        HeaderChain(0, [struct.pack("<I32s32sIII", 1, bytes(32), bytes(32), 0, 0x1D00FFFF, 0)])


def test_headers_are_read_as_bytes_or_hex() -> None:
    headers = [header(bytes(32), 0), header(bytes(32), 1)]
    assert read_headers(b"".join(headers)) == headers
    assert read_headers("".join(each.hex() + "\n" for each in headers).encode()) == headers
    for bad in (b"", b"".join(headers)[:-1], headers[0].hex()[:-2].encode()):
        with pytest.raises(ValueError, match="80 bytes"):
            HeaderChain(0, read_headers(bad))
