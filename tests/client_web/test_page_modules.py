"""The page's modules under node, with nips as the judge: what the page shows is what the protocol says."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import bolt11
import msgspec
import pytest
from bolt11 import Bolt11, MilliSatoshi, TagChar, Tags

from client_web.server import STATIC
from client_web.site import Site
from nips.keys import SecretKey
from nips.nip01 import Event, UnsignedEvent
from nips.nip19 import encode_npub
from nips.pool.address import PoolAddress
from nips.pool.block import BlockBody, build_block
from nips.pool.chain import FIRST, Link
from nips.pool.payout import PayoutBody, build_payout
from nips.pool.receipt import ReceiptBody, Session, ShareRecord, build_receipt
from nips.pool.statement import BlockReward, Row, StatementBody, Window, build_statement, build_status
from nips.pool.targets import difficulty_from_bits, share_bits_from_difficulty, target_from_bits, work_from_bits
from nips.pool.views import Balance, build_balance

Call = Callable[..., Any]
NOW = 1_800_000_000_000


@pytest.fixture(scope="session")
def evaluate(tmp_path_factory: pytest.TempPathFactory) -> Call:
    """Run calls of the page's modules under node; the results in order, `{"value"}` or `{"error"}`."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: the page's modules were not run")
    directory = tmp_path_factory.mktemp("page")
    shutil.copytree(STATIC, directory, dirs_exist_ok=True)
    # Without it node takes .js for CommonJS.
    (directory / "package.json").write_text('{"type":"module"}')
    script = Path(__file__).with_name("evaluate.mjs")

    def call(*calls: list[Any]) -> list[dict[str, Any]]:
        done = subprocess.run(
            [node, str(script), str(directory)], input=json.dumps(calls), capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        results = json.loads(done.stdout)
        assert len(results) == len(calls)
        return results

    return call


@pytest.fixture
def pool(site: Site) -> PoolAddress:
    return PoolAddress(site.pool, site.network)


def wire(event: Event) -> dict[str, Any]:
    return json.loads(msgspec.json.encode(event))


def receipt(
    key: SecretKey, pool: PoolAddress, miner: str, from_ms: int, offsets: list[int], link: Link = FIRST
) -> tuple[Event, ReceiptBody]:
    bits = share_bits_from_difficulty(1000)
    shares = b"".join(
        ShareRecord(0, 0, 2 if i == 1 else 0, ms, 0, i, 0, bytes(8)).pack() for i, ms in enumerate(offsets)
    )
    credited = len(offsets) - (1 if len(offsets) > 1 else 0)
    body = ReceiptBody(
        lane=0,
        link=link,
        from_ms=from_ms,
        to_ms=from_ms + 10_000,
        jobs=("ab" * 32,),
        miners=(miner,),
        sessions=(Session(0, "rig.1", bytes(4), bits),),
        shares=shares,
        rejects=(),
        work=credited * work_from_bits(bits),
    )
    return key.sign(build_receipt(pool, body, (from_ms + 10_000) // 1000)), body


def found_block(receipt_id: str, finder: str) -> BlockBody:
    header = bytes(72) + bytes.fromhex("ffff7f20") + bytes(4)
    return BlockBody(7, header, b"\x01", (), finder, receipt_id, 0)


def statement(pool: PoolAddress, block: BlockBody, miner: str, fee: int) -> UnsignedEvent:
    body = StatementBody(
        BlockReward(block.block, 7, NOW, 100_000),
        "cd" * 32,
        "main",
        Window(NOW - 60_000, 5, {}),
        fee,
        (Row(miner, 5, 99_000),),
    )
    return build_statement(pool, FIRST, body, NOW // 1000, "ef" * 32)


def payout(pool: PoolAddress, miner: str, preimage: bytes, shown: bytes) -> UnsignedEvent:
    tags = Tags()
    tags.add(TagChar.payment_hash, hashlib.sha256(preimage).hexdigest())
    tags.add(TagChar.payment_secret, "11" * 32)
    tags.add(TagChar.description, "zap")
    invoice = bolt11.encode(
        Bolt11(currency="bcrt", amount_msat=MilliSatoshi(5000), date=NOW // 1000, tags=tags), "e1" * 32
    )
    proof = {"bolt11": invoice, "preimage": shown.hex(), "receipt": "99" * 32}
    return build_payout(pool, FIRST, PayoutBody("p1", miner, 5000, 0, "cc" * 32, "zap", proof), NOW // 1000)


def test_sha256_agrees_with_hashlib_at_every_padding(evaluate: Call) -> None:
    messages = [bytes(range(256))[:size] for size in range(130)] + [b"a" * 70_000]
    results = evaluate(*(["verify/sha256", "sha256", {"hex": message.hex()}] for message in messages))
    assert [result["value"] for result in results] == [hashlib.sha256(message).hexdigest() for message in messages]


def test_npub_both_ways_and_its_refusals(evaluate: Call, miner_key: SecretKey) -> None:
    npub = encode_npub(miner_key.pubkey)
    flipped = npub[:-1] + ("q" if npub[-1] != "q" else "p")
    good, back, *bad = evaluate(
        ["verify/bech32", "npub", miner_key.pubkey],
        ["verify/bech32", "decodeNpub", npub],
        ["verify/bech32", "decodeNpub", flipped],
        ["verify/bech32", "decodeNpub", "nsec" + npub[4:]],
        ["verify/bech32", "decodeNpub", npub.title()],
        ["verify/bech32", "decodeNpub", ""],
    )
    assert good["value"] == npub
    assert back["value"] == miner_key.pubkey
    assert all("error" in result for result in bad)


@pytest.mark.parametrize("difficulty", [1, 3, 512, 1000, 2**40])
def test_targets_work_and_difficulty(evaluate: Call, difficulty: int) -> None:
    bits = share_bits_from_difficulty(difficulty)
    text = f"{bits:08x}"
    target, work, shown = evaluate(
        ["decode", "targetFromBits", text], ["decode", "workFromBits", text], ["decode", "difficultyFromBits", text]
    )
    assert int(target["value"]) == target_from_bits(bits)
    assert int(work["value"]) == work_from_bits(bits)
    assert shown["value"] == pytest.approx(float(difficulty_from_bits(bits)))


@pytest.mark.parametrize("content", ["plain", 'esc " \\ \n \r \t \b \f', "\x00\x1f\x7f", "é 日本 \U0001f600 \u2028"])
def test_an_events_id_is_checked(evaluate: Call, miner_key: SecretKey, content: str) -> None:
    event = wire(miner_key.sign(UnsignedEvent(1, 5, (("t", content),), content)))
    good, bad, odd = evaluate(
        ["decode", "checkEvent", event],
        ["decode", "checkEvent", {**event, "content": content + "."}],
        ["decode", "checkEvent", {**event, "tags": [[1]]}],
    )
    assert good["value"] == event
    assert "not its hash" in bad["error"]
    assert "not of text" in odd["error"]


def test_a_receipts_shares(evaluate: Call, pool: PoolAddress, pool_key: SecretKey, miner_key: SecretKey) -> None:
    event, body = receipt(pool_key, pool, miner_key.pubkey, NOW, [5, 10, 9_999])
    (result,) = evaluate(["decode", "decodeReceipt", wire(event)])
    read = result["value"]
    assert (read["fromMs"], read["toMs"], int(read["work"])) == (NOW, NOW + 10_000, body.work)
    assert [share["ms"] for share in read["shares"]] == [NOW + 5, NOW + 10, NOW + 9_999]
    assert [share["credited"] for share in read["shares"]] == [True, False, True]
    assert read["shares"][1]["status"] == "stale upstream"
    assert {(share["miner"], share["worker"]) for share in read["shares"]} == {(miner_key.pubkey, "rig.1")}
    assert sum(int(share["work"]) for share in read["shares"] if share["credited"]) == body.work


def test_a_broken_receipt_is_refused(
    evaluate: Call, pool: PoolAddress, pool_key: SecretKey, miner_key: SecretKey
) -> None:
    event = wire(receipt(pool_key, pool, miner_key.pubkey, NOW, [5])[0])
    content = json.loads(event["content"])
    broken = [
        {**content, "v": 2},
        {**content, "shares": content["shares"][:-4]},
        {**content, "sessions": []},
        {**content, "sessions": [[1, "w", "00000000", "1d00ffff"]]},
        {**content, "sessions": [[0, "<b>", "00000000", "1d00ffff"]]},
        {**content, "sessions": [[0, "w", "00000000", "1dffffff"]]},
        {**content, "shares": "!"},
        [],
    ]
    results = evaluate(*(["decode", "decodeReceipt", {**event, "content": json.dumps(each)}] for each in broken))
    assert [list(result) for result in results] == [["error"]] * len(broken)


def test_a_block_must_hash_to_its_name(
    evaluate: Call, pool: PoolAddress, pool_key: SecretKey, miner_key: SecretKey
) -> None:
    block = found_block("ab" * 32, miner_key.pubkey)
    event = wire(pool_key.sign(build_block(pool, block, NOW // 1000)))
    good, bad = evaluate(
        ["decode", "decodeBlock", event],
        ["decode", "decodeBlock", {**event, "content": event["content"].replace(block.block, "00" * 32)}],
    )
    assert good["value"]["block"] == block.block
    assert good["value"]["nbits"] == "207fffff"
    assert "does not hash" in bad["error"]


@pytest.mark.parametrize(("fee", "adds"), [(1000, True), (999, False)])
def test_a_statement_is_added_up_to_the_msat(
    evaluate: Call, pool: PoolAddress, pool_key: SecretKey, miner_key: SecretKey, fee: int, adds: bool
) -> None:
    block = found_block("ab" * 32, miner_key.pubkey)
    event = pool_key.sign(statement(pool, block, miner_key.pubkey, fee))
    (result,) = evaluate(["decode", "decodeStatement", wire(event)])
    assert result["value"]["adds"] is adds
    assert result["value"]["rows"] == [{"miner": miner_key.pubkey, "work": "5", "msat": 99_000, "gaveMsat": 0}]


@pytest.mark.parametrize(("shown", "proof"), [(bytes(32), "preimage"), (bytes([1]) * 32, "wrong preimage")])
def test_a_payouts_preimage_is_checked(
    evaluate: Call, pool: PoolAddress, pool_key: SecretKey, miner_key: SecretKey, shown: bytes, proof: str
) -> None:
    event = pool_key.sign(payout(pool, miner_key.pubkey, bytes(32), shown))
    (result,) = evaluate(["decode", "decodePayout", wire(event)])
    assert result["value"]["proof"] == proof
    assert result["value"]["zapReceipt"] == "99" * 32


def test_a_profile_without_an_address_is_seen(evaluate: Call) -> None:
    profiles = {
        '{"lud16":"bob@example.com"}': True,
        '{"lud16":" Bob@127.0.0.1:9911 "}': True,
        '{"lud06":"LNURL1DP68GURN"}': True,
        '{"lud16":"","lud06":"lnurl1dp68gurn"}': True,
        '{"lud16":"bob","lud06":"lnurl1dp68gurn"}': False,
        '{"lud06":"https://example.com"}': False,
        '{"name":"bob"}': False,
        '{"lud16":7}': False,
        "null": False,
    }
    results = evaluate(*(["decode", "decodePayable", {"content": content}] for content in profiles))
    assert [result.get("value") for result in results] == list(profiles.values())


def test_names_lose_what_misleads(evaluate: Call) -> None:
    names = {"ann": "ann", "a\u202eb\u200b\x07": "ab", "x" * 99: "x" * 32, " ": None, "<b>": "<b>"}
    results = evaluate(
        *(["decode", "decodeProfile", {"content": json.dumps({"name": name})}] for name in names),
        ["decode", "decodeProfile", {"content": '{"name":7}'}],
        ["decode", "decodeProfile", {"content": "not json"}],
    )
    assert [result.get("value") for result in results[:-1]] == [*names.values(), None]
    assert "error" in results[-1]


@pytest.mark.parametrize(("msat", "shown"), [
    (0, "0"),
    (1, "0.001"),
    (1_234_567_890, "1\u2009234\u2009567.89"),
    (-1500, "−1.5"),
    (21_000_000 * 10**8 * 1000, "2\u2009100\u2009000\u2009000\u2009000\u2009000"),
])  # fmt: skip
def test_sats(evaluate: Call, msat: int, shown: str) -> None:
    assert evaluate(["format", "sats", msat])[0]["value"] == shown


@pytest.mark.parametrize(("rate", "shown"), [
    (0, "0 H/s"), (999.6, "1 kH/s"), (1234, "1.23 kH/s"), (100, "100 H/s"), (1.2e12, "1.2 TH/s"), (5e23, "500 ZH/s"),
])  # fmt: skip
def test_hashrates(evaluate: Call, rate: float, shown: str) -> None:
    assert evaluate(["format", "hashrate", rate])[0]["value"] == shown


def test_the_pools_figures(
    evaluate: Call, site: Site, pool: PoolAddress, pool_key: SecretKey, miner_key: SecretKey
) -> None:
    """A minute of receipts, two blocks, a statement, its status, a payout and balances: what the page makes of it."""
    miner = miner_key.pubkey
    start = NOW - 60_000
    receipts = [
        receipt(pool_key, pool, miner, start + i * 10_000, [1, 2, 3], Link(i, "ab" * 32) if i else FIRST)
        for i in range(6)
    ]
    first = found_block(receipts[1][0].id, miner)
    second = replace(first, height=8, header=b"\x01" + first.header[1:], receipt=receipts[4][0].id)
    split = pool_key.sign(statement(pool, first, miner, 1000))
    events = [event for event, _ in receipts]
    events += [pool_key.sign(build_block(pool, first, NOW // 1000 - 40))]
    events += [pool_key.sign(build_block(pool, second, NOW // 1000 - 10))]
    events += [split, pool_key.sign(build_status(pool, Link(1, split.id), split.id, "matured", NOW // 1000))]
    events += [pool_key.sign(payout(pool, miner, bytes(32), bytes(32)))]
    events += [pool_key.sign(build_balance(pool, Balance(miner, 0, 99_000, 5_000, None), NOW // 1000))]
    stale = pool_key.sign(build_balance(pool, Balance(miner, 1, 1, 1, None), NOW // 1000 - 1))
    stranger = receipt(miner_key, pool, miner, NOW - 10_000, [1])[0]
    elsewhere = receipt(pool_key, PoolAddress(miner, "regtest"), miner, NOW - 10_000, [1])[0]
    forged = {**wire(receipts[0][0]), "id": "00" * 32}
    sent = [*map(wire, events), wire(events[0]), wire(stale), wire(stranger), wire(elsewhere), forged, None, {"id": 1}]
    calls = [["summary", NOW], ["miners", NOW], ["lastShares"], ["lastBlocks"], ["lastStatements"], ["dropped"]]
    later = [["summary", NOW + 600_000], ["watermark", NOW + 600_000]]
    (result,) = evaluate(["pool", site.config(), sent, [*calls, *later]])
    assert result["value"]["added"] == [True] * len(events) + [False] * 7
    summary, miners, shares, blocks, statements, dropped, stopped, watermark = result["value"]["answers"]
    work = sum(body.work for _, body in receipts)
    assert summary["hashrate"] == pytest.approx(work / 60)
    assert (summary["miners"], summary["workers"], summary["shares"], summary["blocks"]) == (1, 1, 12, 2)
    assert summary["paidMsat"] == 5_000
    assert [(each["pubkey"], each["workers"], each["shares"]) for each in miners] == [(miner, ["rig.1"], 12)]
    assert miners[0]["balance"]["owedMsat"] == 94_000
    times = [share["ms"] for share in shares]
    assert len(times) == 18
    assert times == sorted(times, reverse=True)
    assert [(block["height"], block["status"]) for block in blocks] == [(8, "counting"), (7, "matured")]
    spent = sum(body.work for _, body in receipts[2:5])
    assert blocks[0]["effort"] == pytest.approx(spent / work_from_bits(0x207FFFFF))
    assert blocks[1]["effort"] is None
    assert [each["status"] for each in statements] == ["matured"]
    assert len(dropped) == 3
    assert stopped["hashrate"] is None
    assert watermark["silent"] is True


def test_donations_periods_and_parts_of_statements_are_read(
    evaluate: Call, pool: PoolAddress, pool_key: SecretKey, miner_key: SecretKey
) -> None:
    other, settings = pool_key.pubkey, "cd" * 32
    miners = sorted([miner_key.pubkey, other])
    giver = miners.index(miner_key.pubkey)
    rows = [["0", 10_000], ["0", 10_000]]
    rows[giver] = ["5", 80_000]
    content = {
        "v": 1, "reward": {"type": "period", "from_ms": NOW - 3_600_000, "to_ms": NOW, "gross_msat": 100_000},
        "terms": "11" * 32, "offer": "main", "window": {"from_ms": NOW - 9, "work": "5", "heads": {}},
        "fee_msat": 10_000, "parts": 0, "rows": rows, "donations": [[giver, settings, 10_000]],
    }  # fmt: skip
    tags = (("a", str(pool)), *(("p", miner) for miner in miners))

    def told(**changed: Any) -> Any:
        fields = {**content, **changed}
        event = pool_key.sign(UnsignedEvent(4214, NOW // 1000, tags, json.dumps(fields)))
        return evaluate(["decode", "decodeStatement", wire(event)])[0]

    found = told()["value"]
    assert (found["type"], found["fromMs"], found["ms"], found["adds"]) == ("period", NOW - 3_600_000, NOW, True)
    assert [row["gaveMsat"] for row in found["rows"]] == [10_000 if i == giver else 0 for i in range(2)]
    assert told(parts=3, rows=[], donations=[])["value"]["parts"] == 3
    assert told(donations=[[2, settings, 1]])["error"] == "a donation of no row"
    assert "error" in told(donations=[[giver, "<b>", 1]])
