"""The words miners read: the commands in them work, amounts are whole sats, every notice is short."""

import shlex

import pytest

from nips.pool.address import PoolAddress
from nips.pool.chain import Link
from nips.pool.payout import METHODS, Payout
from nips.pool.settings import SettingsBody
from noncestr.notices.texts import MAX_REASON, Speaker
from noncestr.notices.watch import Drop
from noncestr.verify.run import Asked, run_verify

KEY = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"


@pytest.fixture
def speaker(free_tcp_port):
    return Speaker("Example", PoolAddress(KEY, "regtest"), f"ws://127.0.0.1:{free_tcp_port}")


def payout(method="zap", msat=1_234_999, reverses=None):
    return Payout(
        payout_id="a1",
        miner=KEY,
        amount_msat=msat,
        network_fee_msat=0,
        to="",
        method=method,
        proof={},
        reverses=reverses,
        id="1" * 64,
        signer=KEY,
        pool=PoolAddress(KEY, "regtest"),
        link=Link(1, None),
        created_at=5,
    )


@pytest.mark.anyio
async def test_the_command_it_names_is_one(speaker):
    words = shlex.split(speaker.check.removeprefix("Check it: "))
    assert words[:2] == ["noncestr", "verify"]
    given = {name.removeprefix("--"): value for name, value in zip(words[2::2], words[3::2], strict=True)}
    assert set(given) == {"pool", "network", "relay"}
    # Nobody listens there: it looked, and could not.
    asked = Asked(
        relays=given["relay"], pool=given["pool"], network=given["network"], since=None, json=True, timeout_s=5
    )
    assert await run_verify(asked) == 2


@pytest.mark.parametrize("method", METHODS)
def test_each_method_has_a_name(speaker, method):
    notice = speaker.paid(payout(method), owed_msat=0, statement=None)
    assert notice.title == "Paid: 1,234 sat"
    assert "statement" not in notice.text


def test_each_has_its_subject(speaker):
    found = [
        speaker.paid(payout(), owed_msat=0, statement="2" * 64),
        speaker.paid(payout(msat=-5, reverses="a0"), owed_msat=0, statement=None),
        speaker.failed(KEY, "x" * 5000, since_ms=1, failures=3, given_up=False, owed_msat=0),
        speaker.failed(KEY, "x", since_ms=1, failures=9, given_up=True, owed_msat=0),
        speaker.destination(KEY, "3" * 64, SettingsBody(), 1),
        speaker.offline(KEY, "", 1),
        speaker.back(KEY, "rig", 1),
        speaker.hashrate(KEY, "", Drop(1, 0, recovered=False), 1),
        speaker.test(KEY, 1, 0),
        speaker.code(KEY, "a@example.com", "CODE"),
    ]
    # The payout and its reversal stand for one record here.
    assert len({notice.subject for notice in found}) == len(found) - 1
    assert all(len(notice.text) < MAX_REASON + 600 for notice in found)
    assert "what your profile says" in found[4].text
    assert "without a name" in found[5].text
