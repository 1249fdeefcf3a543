"""What firmwares say when they log in, and what they hear: scripted after what each is known to send."""

import json
from fractions import Fraction
from pathlib import Path

import pytest

from nips.nip19 import _encode

FILE = Path(__file__).parents[1] / "vectors/stratum/dialogues.json"
DIALOGUES = json.loads(FILE.read_text("utf-8"))["dialogues"]


def long_nprofile(pubkey: str) -> str:
    relay = b"wss://relay.example.com"
    return _encode("nprofile", b"\x00\x20" + bytes.fromhex(pubkey) + b"\x01" + bytes([len(relay)]) + relay)


def same(expected, message) -> None:
    """One line of ours against one that is expected; None stands for anything."""
    who, what = expected
    if isinstance(who, str) and who.startswith(("mining.", "client.")):
        assert message.get("method") == who, message
        assert message["id"] is None
        assert what is None or message["params"] == what, message
        return
    assert message["id"] == who, message
    assert "method" not in message
    if isinstance(what, dict) and "error" in what:
        code, text, _ = message["error"]
        assert (message["result"], code) == (None, what["error"])
        assert what["says"] in text
    else:
        assert message["error"] is None, message
        assert what is None or message["result"] == what, message


def test_there_are_dialogues():
    assert len(DIALOGUES) == 12


@pytest.mark.parametrize("dialogue", DIALOGUES, ids=lambda dialogue: dialogue["client"])
def test_a_firmware_hears_what_it_needs(edge, dialogue):
    peer = edge.Bench(start=Fraction(1024)).peer()
    nprofile = long_nprofile(edge.MINER.pubkey)
    lines = [
        line.replace("{npub}", edge.NPUB).replace("{other}", edge.OTHER_NPUB).replace("{nprofile:63}", nprofile[:63])
        for line in dialogue["lines"]
    ]
    assert not any("{n" in line for line in lines)
    heard = peer.raw(*(line.encode() for line in lines))
    for expected, message in zip(dialogue["expect"], heard, strict=True):
        same(expected, message)
    assert peer.session.closing == ""
    # cpuminer reads one line after subscribe and fails on methods it does not know before authorize is answered.
    if dialogue["client"].startswith("cpuminer"):
        assert [m["id"] for m in heard[:2]] == [1, 2]
