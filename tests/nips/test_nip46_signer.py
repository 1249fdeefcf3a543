"""NIP-46, the remote signer: a recorded conversation with nostr-tools, and clients that want too much."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips import nip46_signer
from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent
from nips.nip44 import KeyCipher
from nips.nip46 import Bunker, Request, Response, check_signed, connect, parse_request, sign_event
from nips.nip46_signer import RemoteSigner

BUNKER, USER, CLIENT = (SecretKey(bytes([n]) * 32) for n in (0x31, 0x32, 0x33))
NONCE = bytes(32)
NOTE = UnsignedEvent(1, 1_800_000_000, (("t", "x"),), "x")


def remote(permissions: str = "sign_event:1,nip44_encrypt,nip44_decrypt") -> RemoteSigner:
    signer = RemoteSigner(USER, KeyCipher(USER))
    signer.offer("let me in", permissions)
    return signer


def ask(signer: RemoteSigner, method: str, *params: str, client: str = CLIENT.pubkey) -> Response:
    return signer.answer(client, Request("7", method, params), nonce=NONCE)


def let_in(permissions: str = "sign_event:1,nip44_encrypt,nip44_decrypt") -> RemoteSigner:
    signer = remote(permissions)
    assert ask(signer, "connect", BUNKER.pubkey, "let me in") == Response("7", "ack")
    return signer


def test_a_recorded_conversation(vectors: Callable[[str], Any], verified: Callable[[Any], VerifiedEvent]) -> None:
    signer = remote()
    answers = []
    for event in map(verified, vectors("nip46")["requests"]):
        assert event.pubkey == CLIENT.pubkey
        answers.append(signer.answer(event.pubkey, parse_request(event, cipher=KeyCipher(BUNKER)), nonce=NONCE))
    assert len(answers) == 7
    assert [answer.result for answer in answers[:3]] == ["ack", "pong", USER.pubkey]
    asked = UnsignedEvent(1, 1_800_000_000, (("t", "x"),), 'signed "far" away é')
    assert check_signed(answers[3].result or "", unsigned=asked, user=USER.pubkey).kind == 1
    assert KeyCipher(USER).decrypt(USER.pubkey, answers[4].result or "") == "to myself"
    assert answers[5].result == "to myself"
    assert answers[6].error == "signing kind 4 is not permitted to this client"


@pytest.mark.parametrize("method", ["ping", "get_public_key", "sign_event", "nip44_encrypt", "switch_relays", "logout"])
def test_nothing_before_connect(method: str) -> None:
    assert ask(remote(), method, "x", "y") == Response("7", error="connect first")


@pytest.mark.parametrize("params", [(), (BUNKER.pubkey,), (BUNKER.pubkey, ""), (BUNKER.pubkey, "let me i"), ("", "é")])
def test_a_wrong_secret_lets_nobody_in(params: tuple[str, ...]) -> None:
    signer = remote()
    assert ask(signer, "connect", *params).error == "this secret lets nobody in"
    assert ask(signer, "ping").error == "connect first"


def test_a_secret_counts_once() -> None:
    signer = let_in()
    other = "ab" * 32
    assert ask(signer, "connect", BUNKER.pubkey, "let me in", client=other).error is not None
    assert ask(signer, "connect", BUNKER.pubkey, "let me in").result == "ack"
    with pytest.raises(ValueError, match="everybody"):
        signer.offer("", "ping")


def test_our_client_gets_in() -> None:
    bunker = Bunker(BUNKER.pubkey, ("wss://a.example",), "let me in")
    assert remote().answer(CLIENT.pubkey, connect("1", bunker), nonce=NONCE) == Response("1", "ack")


def test_permissions_hold() -> None:
    signer = let_in("sign_event:1,sign_event:7")
    assert ask(signer, "sign_event", sign_event("1", NOTE).params[0]).error is None
    for kind in (0, 2, 11):
        refused = signer.answer(CLIENT.pubkey, sign_event("1", UnsignedEvent(kind, 1, (), "")), nonce=NONCE)
        assert refused == Response("1", error=f"signing kind {kind} is not permitted to this client")
    for method in ("nip44_encrypt", "nip44_decrypt"):
        assert ask(signer, method, USER.pubkey, "x").error == f"{method} is not permitted to this client"
    every = let_in("sign_event")
    assert ask(every, "sign_event", sign_event("1", UnsignedEvent(9734, 1, (), "")).params[0]).error is None
    assert ask(let_in(""), "sign_event", sign_event("1", NOTE).params[0]).error is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "[]",
        "{}",
        '{"kind":1,"content":"","tags":[[]],"created_at":1}',
        '{"kind":1,"content":"","tags":[[1]],"created_at":1}',
        '{"kind":65536,"content":"","tags":[],"created_at":1}',
        '{"kind":1,"content":"","tags":[],"created_at":-1}',
        '{"kind":1,"content":"","tags":[],"created_at":9007199254740992}',
        '{"kind":"1","content":"","tags":[],"created_at":1}',
        '{"kind":1,"content":"\\ud800","tags":[],"created_at":1}',
    ],
)
def test_only_events_are_signed(text: str) -> None:
    assert ask(let_in("sign_event"), "sign_event", text).error == "what is to be signed is not an event"


def test_encrypting() -> None:
    signer = let_in()
    payload = ask(signer, "nip44_encrypt", CLIENT.pubkey, "hello").result or ""
    assert KeyCipher(CLIENT).decrypt(USER.pubkey, payload) == "hello"
    back = KeyCipher(CLIENT).encrypt(USER.pubkey, "hello too", NONCE)
    assert ask(signer, "nip44_decrypt", CLIENT.pubkey, back).result == "hello too"
    for params in ((), (CLIENT.pubkey,), ("00" * 32, "x"), (CLIENT.pubkey, ""), (CLIENT.pubkey, "x", "y")):
        assert ask(signer, "nip44_encrypt", *params).error
        assert ask(signer, "nip44_decrypt", *params).error


def test_odds_and_ends() -> None:
    signer = let_in()
    assert ask(signer, "switch_relays").result == "null"
    assert "not know" in (ask(signer, "nip04_encrypt", CLIENT.pubkey, "x").error or "")
    assert ask(signer, "logout").result == "ack"
    assert ask(signer, "ping").error == "connect first"


def test_clients_are_kept_over_a_restart() -> None:
    kept = let_in().clients()
    assert kept == ((CLIENT.pubkey, "nip44_decrypt,nip44_encrypt,sign_event:1"),)
    again = RemoteSigner(USER, KeyCipher(USER), clients=kept)
    assert ask(again, "ping").result == "pong"
    assert again.clients() == kept


def test_clients_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nip46_signer, "MAX_CLIENTS", 1)
    signer = let_in()
    signer.offer("me too", "ping")
    assert ask(signer, "connect", BUNKER.pubkey, "me too", client="ab" * 32).error


@given(
    st.sampled_from(["connect", "sign_event", "nip44_encrypt", "nip44_decrypt", "x"]), st.lists(st.text(), max_size=4)
)
def test_no_request_upsets_the_signer(method: str, params: list[str]) -> None:
    response = ask(let_in(), method, *params)
    assert (response.result is None) != (response.error is None)
    assert USER.secret_bytes().hex() not in repr(response)
