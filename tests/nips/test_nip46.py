"""NIP-46, both sides' messages: tokens, requests, answers, and answers that lie."""

import json
from typing import Any

import nostr_sdk
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.keys import SecretKey
from nips.nip01 import Tags, UnsignedEvent, VerifiedEvent, encode_event
from nips.nip44 import KeyCipher
from nips.nip46 import (
    AuthChallenge,
    Bunker,
    InvalidConnect,
    InvalidRemote,
    NostrConnect,
    RemoteRefused,
    Request,
    Response,
    build_request,
    build_response,
    check_connected,
    check_pubkey,
    check_signed,
    connect,
    parse_bunker,
    parse_first_response,
    parse_nostrconnect,
    parse_permissions,
    parse_request,
    parse_response,
    result_of,
    sign_event,
)

BUNKER, USER, CLIENT, MALLORY = (SecretKey(bytes([n]) * 32) for n in (0x31, 0x32, 0x33, 0x34))
NOW = 1_800_000_000
NOTE = UnsignedEvent(1, NOW, (("t", "x"),), 'say "é"\n')
# The NIP's own example.
OFFER = (
    "nostrconnect://83f3b2ae6aa368e8275397b9c26cf550101d63ebaab900d19dd4a4429f5ad8f5?relay=wss%3A%2F%2Frelay1.example"
    ".com&perms=nip44_encrypt%2Cnip44_decrypt%2Csign_event%3A13%2Csign_event%3A14%2Csign_event%3A1059&name=My+Client"
    "&secret=0s8j2djs&relay=wss%3A%2F%2Frelay2.example2.com"
)


def test_the_nips_token() -> None:
    offer = parse_nostrconnect(OFFER)
    assert offer.client == "83f3b2ae6aa368e8275397b9c26cf550101d63ebaab900d19dd4a4429f5ad8f5"
    assert offer.relays == ("wss://relay1.example.com", "wss://relay2.example2.com")
    assert (offer.secret, offer.name) == ("0s8j2djs", "My Client")
    assert offer.permissions == ("nip44_encrypt", "nip44_decrypt", "sign_event:13", "sign_event:14", "sign_event:1059")
    assert parse_nostrconnect(offer.uri()) == offer
    assert "0s8j2djs" not in repr(offer)


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
relays = st.lists(
    st.sampled_from(["wss://a.example", "ws://[::1]:8080", "wss://b.example/x?y=z"]), min_size=1, unique=True
)


@given(relays, st.none() | texts, texts, st.none() | texts)
def test_tokens_survive_their_text(urls: list[str], secret: str | None, other: str, name: str | None) -> None:
    bunker = Bunker(BUNKER.pubkey, tuple(urls), secret)
    assert parse_bunker(bunker.uri()) == bunker
    offer = NostrConnect(CLIENT.pubkey, tuple(urls), other, ("ping", "sign_event:1"), name)
    assert parse_nostrconnect(offer.uri()) == offer


def test_nostr_sdk_reads_our_tokens() -> None:
    uri = Bunker(BUNKER.pubkey, ("wss://a.example",), "s3cret").uri()
    assert str(nostr_sdk.NostrConnectUri.parse(uri)).startswith(f"bunker://{BUNKER.pubkey}?")
    assert "s3cret" not in repr(parse_bunker(uri))


GOOD = f"bunker://{BUNKER.pubkey}?relay=wss://a.example&secret=s3cret"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s3cret",
        OFFER,
        GOOD.replace("bunker", "bunk"),
        GOOD.replace(BUNKER.pubkey, "s3cret"),
        GOOD.replace(BUNKER.pubkey, "00" * 32),
        GOOD.replace("relay=", "relai="),
        GOOD.replace("wss://", "https://"),
        GOOD + "".join(f"&relay=wss://r{n}.example" for n in range(5)),
        GOOD + "x" * 300,
        GOOD + "&x=" + "x" * 5000,
    ],
)
def test_what_is_no_bunker(text: str) -> None:
    with pytest.raises(InvalidConnect) as caught:
        parse_bunker(text)
    assert "s3cret" not in str(caught.value)


def test_a_clients_token_needs_a_secret() -> None:
    for text in (OFFER.replace("secret=", "secrets="), OFFER.replace("0s8j2djs", ""), GOOD):
        with pytest.raises(InvalidConnect):
            parse_nostrconnect(text)


def test_permissions() -> None:
    text = "sign_event:1,ping,,sign_event:,x y,ping,sign_event:123456,sign_event"
    assert parse_permissions(text) == ("sign_event:1", "ping", "sign_event")
    assert parse_permissions("") == ()


def asked(request: Request) -> VerifiedEvent:
    return CLIENT.sign(
        build_request(request, signer=BUNKER.pubkey, cipher=KeyCipher(CLIENT), nonce=bytes(32), created_at=NOW)
    )


def answered(response: Response, by: SecretKey = BUNKER) -> VerifiedEvent:
    return by.sign(
        build_response(response, client=CLIENT.pubkey, cipher=KeyCipher(by), nonce=bytes(32), created_at=NOW)
    )


@given(texts, texts, st.lists(texts, max_size=8).map(tuple))
def test_requests_arrive(id_: str, method: str, params: tuple[str, ...]) -> None:
    request = Request(id_, method, params)
    assert parse_request(asked(request), cipher=KeyCipher(BUNKER)) == request


@given(texts, st.none() | texts, st.none() | texts)
def test_answers_arrive(id_: str, result: str | None, error: str | None) -> None:
    response = Response(id_, result, error)
    assert parse_response(answered(response), signer=BUNKER.pubkey, cipher=KeyCipher(CLIENT)) == response


def raw(content: str, *, kind: int = 24133, tags: Tags = (("p", BUNKER.pubkey),)) -> VerifiedEvent:
    text = KeyCipher(CLIENT).encrypt(BUNKER.pubkey, content, bytes(32))
    return CLIENT.sign(UnsignedEvent(kind, NOW, tags, text))


@pytest.mark.parametrize(
    ("event", "word"),
    [
        (raw("{}", kind=24134), "24133"),
        (raw("{}", tags=()), "p tag"),
        (raw("{}", tags=(("p", MALLORY.pubkey),)), "p tag"),
        (raw("{"), "form"),
        (raw("[]"), "form"),
        (raw("{}"), "form"),
        (raw('{"id":1,"method":"ping","params":[]}'), "form"),
        (raw('{"id":"1","method":"ping","params":{}}'), "form"),
        (raw('{"id":"1","method":"ping","params":[1]}'), "form"),
        (raw('{"id":"","method":"ping","params":[]}'), "id"),
        (raw('{"id":"' + "x" * 129 + '","method":"ping","params":[]}'), "id"),
        (raw('{"id":"1","method":"ping","params":["","","","","","","","",""]}'), "parameters"),
        (CLIENT.sign(UnsignedEvent(24133, NOW, (("p", BUNKER.pubkey),), "x")), "characters"),
    ],
)
def test_what_is_no_request(event: VerifiedEvent, word: str) -> None:
    with pytest.raises(InvalidRemote, match=word):
        parse_request(event, cipher=KeyCipher(BUNKER))


def test_a_strangers_answer_is_none() -> None:
    with pytest.raises(InvalidRemote, match="not by the remote signer"):
        parse_response(answered(Response("1", "ack"), MALLORY), signer=BUNKER.pubkey, cipher=KeyCipher(CLIENT))


def test_who_takes_an_offer_up_knows_its_secret() -> None:
    offer = NostrConnect(CLIENT.pubkey, ("wss://a.example",), "s3cret")
    event = answered(Response("1", "s3cret"))
    assert parse_first_response(event, offered=offer, cipher=KeyCipher(CLIENT)) == BUNKER.pubkey
    for wrong in (Response("1", "ack"), Response("1", None, "s3cret"), Response("1")):
        with pytest.raises(InvalidRemote, match="secret"):
            parse_first_response(answered(wrong, MALLORY), offered=offer, cipher=KeyCipher(CLIENT))


def test_results_refusals_and_challenges() -> None:
    assert result_of(Response("1", "pong")) == "pong"
    assert result_of(Response("1", "pong", "")) == "pong"
    with pytest.raises(RemoteRefused) as refused:
        result_of(Response("1", None, "no\nway" + "x" * 999))
    assert refused.value.reason == "no way" + "x" * 294
    assert str(refused.value).startswith("the remote signer refused: no way")
    with pytest.raises(AuthChallenge) as challenge:
        result_of(Response("1", "auth_url", "https://bunker.example/ok"))
    assert challenge.value.url == "https://bunker.example/ok"
    assert "open https://bunker.example/ok" in str(challenge.value)
    for url in ("javascript:alert(1)", "http://bunker.example", "https://a\nb", "", "https://" + "x" * 5000):
        with pytest.raises(InvalidRemote):
            result_of(Response("1", "auth_url", url))
    with pytest.raises(InvalidRemote, match="result or an error"):
        result_of(Response("1"))


def test_connecting() -> None:
    bunker = Bunker(BUNKER.pubkey, ("wss://a.example",), "s3cret")
    request = connect("1", bunker, permissions=["sign_event:1", "ping"], name="pool")
    assert request.params == (BUNKER.pubkey, "s3cret", "sign_event:1,ping", '{"name":"pool"}')
    assert connect("1", Bunker(BUNKER.pubkey, (), None)).params == (BUNKER.pubkey, "", "")
    check_connected("ack", bunker)
    check_connected("s3cret", bunker)
    for wrong in ("", "no", "None"):
        for offered in (bunker, Bunker(BUNKER.pubkey, (), None)):
            with pytest.raises(InvalidRemote):
                check_connected(wrong, offered)


def signed(by: SecretKey = USER, unsigned: UnsignedEvent = NOTE) -> str:
    return encode_event(by.sign(unsigned)).decode()


def test_signing() -> None:
    assert json.loads(sign_event("1", NOTE).params[0]) == {
        "kind": 1,
        "created_at": NOW,
        "tags": [["t", "x"]],
        "content": NOTE.content,
    }
    assert check_signed(signed(), unsigned=NOTE, user=USER.pubkey) == USER.sign(NOTE)


@pytest.mark.parametrize(
    "result",
    [
        "",
        "{}",
        signed(MALLORY),
        signed(unsigned=UnsignedEvent(1, NOW, NOTE.tags, "other")),
        signed(unsigned=UnsignedEvent(1, NOW + 1, NOTE.tags, NOTE.content)),
        signed(unsigned=UnsignedEvent(1, NOW, (), NOTE.content)),
        signed(unsigned=UnsignedEvent(2, NOW, NOTE.tags, NOTE.content)),
        signed().replace('"sig":"', '"sig":"00')[:-4] + '"}',
        signed().replace("say", "lie"),
    ],
)
def test_a_signature_over_something_else_is_refused(result: Any) -> None:
    with pytest.raises(InvalidRemote):
        check_signed(result, unsigned=NOTE, user=USER.pubkey)


def test_the_users_key() -> None:
    assert check_pubkey(USER.pubkey) == USER.pubkey
    for wrong in ("", "00" * 32, "npub1x"):
        with pytest.raises(InvalidRemote):
            check_pubkey(wrong)
