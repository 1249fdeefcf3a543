"""NIP-47: connections, and messages between client and wallet service, recorded from @getalby/sdk and our own."""

from collections.abc import Callable
from typing import Any

import nostr_sdk
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nips.keys import SecretKey
from nips.nip01 import Tags, UnsignedEvent, VerifiedEvent
from nips.nip44 import KeyCipher
from nips.nip47 import (
    Connection,
    ErrorCode,
    InvalidConnection,
    InvalidNwc,
    Notification,
    Request,
    WalletError,
    build_info,
    build_notification,
    build_request,
    build_response,
    parse_connection,
    parse_info,
    parse_notification,
    parse_request,
    parse_response,
)

WALLET, CLIENT, MALLORY = (SecretKey(bytes([n]) * 32) for n in (0x21, 0x22, 0x23))
NOW = 1_800_000_000
Verified = Callable[[Any], VerifiedEvent]
Vectors = Callable[[str], Any]
# The NIP's own example.
EXAMPLE = (
    "nostr+walletconnect://b889ff5b1513b641e2a139f661a661364979c5beee91842f8f0ef42ab558e9d4"
    "?relay=wss%3A%2F%2Frelay.damus.io&secret=71a8c14c1407c113601079c4302dab36460f0ccd0ad506f1f2dc73b5100e4f3c"
)


def test_the_nips_connection() -> None:
    connection = parse_connection(EXAMPLE)
    assert connection.wallet == "b889ff5b1513b641e2a139f661a661364979c5beee91842f8f0ef42ab558e9d4"
    assert connection.relays == ("wss://relay.damus.io",)
    secret = "71a8c14c1407c113601079c4302dab36460f0ccd0ad506f1f2dc73b5100e4f3c"
    assert connection.secret.pubkey == SecretKey.from_hex(secret).pubkey
    assert connection.lud16 is None
    assert connection.uri() == EXAMPLE
    assert secret not in repr(connection)


@given(
    st.lists(
        st.sampled_from(["wss://a.example", "ws://[::1]:8080", "wss://b.example/x?y=z&u=+"]), min_size=1, unique=True
    ),
    st.none() | st.sampled_from(["pool@a.example", "pool+tag@a.example"]),
)
def test_a_connection_survives_its_uri(relays: list[str], lud16: str | None) -> None:
    connection = parse_connection(Connection(WALLET.pubkey, tuple(relays), CLIENT, lud16).uri())
    assert (connection.wallet, connection.relays, connection.lud16) == (WALLET.pubkey, tuple(relays), lud16)
    assert connection.secret.secret_bytes() == CLIENT.secret_bytes()


def test_nostr_sdk_reads_our_uri() -> None:
    uri = Connection(WALLET.pubkey, ("wss://a.example", "wss://b.example"), CLIENT, "pool@a.example").uri()
    theirs = nostr_sdk.NostrWalletConnectUri.parse(uri)
    assert theirs.public_key().to_hex() == WALLET.pubkey
    assert theirs.secret().to_hex() == CLIENT.secret_bytes().hex()
    assert [str(url).rstrip("/") for url in theirs.relays()] == ["wss://a.example", "wss://b.example"]
    assert theirs.lud16() == "pool@a.example"


@pytest.mark.parametrize(
    "text",
    [
        EXAMPLE.replace("nostr+walletconnect://", "nostr+walletconnect:"),
        EXAMPLE.replace("nostr+walletconnect://", "nostrwalletconnect://"),
        EXAMPLE.replace("nostr+walletconnect", "NOSTR+WalletConnect"),
        EXAMPLE.replace("?", "/?"),
        " " + EXAMPLE + "\n",
        EXAMPLE + "&unknown=1",
        EXAMPLE.replace("%3A%2F%2F", "://"),
    ],
)
def test_other_ways_to_write_it(text: str) -> None:
    assert parse_connection(text).uri() == EXAMPLE


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://a.example",
        EXAMPLE.partition("?")[0],
        EXAMPLE.replace("secret=71", "secret=7"),
        EXAMPLE.replace("secret=71a8", "secret=zzzz"),
        EXAMPLE.replace("&secret=", "&key="),
        EXAMPLE + "&secret=" + "11" * 32,
        EXAMPLE.replace("relay=", "relai="),
        EXAMPLE.replace("relay=wss", "relay=https"),
        EXAMPLE.replace("b889", "b8"),
        EXAMPLE.replace("b889ff5b", "00000000"),
        EXAMPLE + "".join(f"&relay=wss://r{n}.example" for n in range(5)),
        EXAMPLE + "&x=" + "x" * 3000,
    ],
)
def test_what_is_no_connection(text: str) -> None:
    with pytest.raises(InvalidConnection) as caught:
        parse_connection(text)
    assert "71a8" not in str(caught.value)


def test_the_recorded_info(vectors: Vectors, verified: Verified) -> None:
    info = parse_info(verified(vectors("nip47")["info"]))
    assert info.methods == {
        "pay_invoice",
        "get_balance",
        "get_info",
        "make_invoice",
        "lookup_invoice",
        "list_transactions",
    }
    assert info.notifications == {"payment_sent"}
    assert info.encryptions == {"nip44_v2", "nip04"}
    assert info.speaks_nip44


def test_info_is_built_and_read() -> None:
    event = WALLET.sign(build_info(["pay_invoice", "get_info"], notifications=["payment_sent"], created_at=NOW))
    info = parse_info(event)
    assert (info.methods, info.notifications) == ({"pay_invoice", "get_info"}, {"payment_sent"})
    assert info.encryptions == {"nip44_v2"}
    bare = WALLET.sign(UnsignedEvent(13194, NOW, (), "pay_invoice <b> " + "x" * 99))
    assert parse_info(bare).methods == {"pay_invoice"}
    assert not parse_info(bare).speaks_nip44
    with pytest.raises(InvalidNwc, match="13194"):
        parse_info(WALLET.sign(UnsignedEvent(1, NOW, (), "")))


def test_the_recorded_answers(vectors: Vectors, verified: Verified) -> None:
    """Our requests, @getalby/sdk's answers."""
    cases = vectors("nip47")["answered"]
    assert len(cases) == 9
    told: list[Any] = []
    for case in cases:
        asked, event = verified(case["request"]), verified(case["response"])
        assert parse_request(asked, cipher=KeyCipher(WALLET), now_s=asked.created_at).method == case["method"]
        try:
            told.append(parse_response(event, asked=asked, method=case["method"], cipher=KeyCipher(CLIENT)))
        except WalletError as error:
            told.append(error.code)
    assert told[1] == {"balance": 123456}
    assert told[6] == {"preimage": "42" * 32, "fees_paid": 3}
    assert told[4] is ErrorCode.NOT_FOUND
    assert told[7] is ErrorCode.INSUFFICIENT_BALANCE
    assert told[8] is ErrorCode.NOT_IMPLEMENTED
    for case in cases:
        with pytest.raises(InvalidNwc, match="another request"):
            parse_response(
                verified(case["response"]),
                asked=verified(cases[cases.index(case) - 1]["request"]),
                method=case["method"],
                cipher=KeyCipher(CLIENT),
            )


def test_the_recorded_questions(vectors: Vectors, verified: Verified) -> None:
    """@getalby/sdk's requests, as our wallet service would read them."""
    found = [
        parse_request(verified(event), cipher=KeyCipher(WALLET), now_s=event["created_at"])
        for event in vectors("nip47")["asked"]
    ]
    assert found == [
        Request("get_balance", {}),
        Request("pay_invoice", {"invoice": "lnbcrt1x"}),
        Request("pay_invoice", {"invoice": "lnbcrt1y"}),
        Request("lookup_invoice", {"payment_hash": "aa" * 32}),
    ]


def asked(request: Request = Request("get_balance", {}), expires_at: int = NOW + 60) -> VerifiedEvent:  # noqa: B008  a frozen value
    return CLIENT.sign(
        build_request(
            request,
            wallet=WALLET.pubkey,
            cipher=KeyCipher(CLIENT),
            nonce=bytes(32),
            created_at=NOW,
            expires_at=expires_at,
        )
    )


def answered(answer: Any, *, method: str = "get_balance", by: SecretKey = WALLET) -> VerifiedEvent:
    return by.sign(build_response(asked(), method, answer, cipher=KeyCipher(by), nonce=b"\x01" * 32, created_at=NOW))


def read(event: VerifiedEvent) -> Any:
    return parse_response(event, asked=asked(), method="get_balance", cipher=KeyCipher(CLIENT))


values = st.none() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), values, max_size=4))
def test_question_and_answer(value: dict[str, Any]) -> None:
    request = Request("pay_invoice", value)
    assert parse_request(asked(request), cipher=KeyCipher(WALLET), now_s=NOW) == request
    assert read(answered(value)) == value


@given(st.sampled_from(ErrorCode), st.text(st.characters(categories=["L", "N"]), max_size=300))
def test_an_error_is_an_error(code: ErrorCode, message: str) -> None:
    with pytest.raises(WalletError) as caught:
        read(answered(WalletError(code, message)))
    assert (caught.value.code, caught.value.message) == (code, message)
    assert str(caught.value) == f"the wallet answered {code.value}: {message}"


def test_an_expired_request_is_not_answered() -> None:
    with pytest.raises(InvalidNwc, match="expired"):
        parse_request(asked(expires_at=NOW), cipher=KeyCipher(WALLET), now_s=NOW + 1)


def raw(kind: int, content: Any, tags: Tags, by: SecretKey = WALLET, to: SecretKey = CLIENT) -> VerifiedEvent:
    text = KeyCipher(by).encrypt(to.pubkey, content, bytes(32))
    return by.sign(UnsignedEvent(kind, NOW, tags, text))


TO_WALLET: Tags = (("p", WALLET.pubkey), ("encryption", "nip44_v2"))


@pytest.mark.parametrize(
    ("event", "word"),
    [
        (raw(23195, "{}", TO_WALLET, CLIENT, WALLET), "kind 23194"),
        (raw(23194, "{}", (("p", CLIENT.pubkey),), CLIENT, WALLET), "p tag"),
        (raw(23194, "{}", TO_WALLET, CLIENT, WALLET), "method"),
        (raw(23194, "[]", TO_WALLET, CLIENT, WALLET), "object"),
        (raw(23194, "{", TO_WALLET, CLIENT, WALLET), "JSON"),
        (raw(23194, '{"method":5}', TO_WALLET, CLIENT, WALLET), "method"),
        (raw(23194, '{"method":"a b"}', TO_WALLET, CLIENT, WALLET), "method"),
        (raw(23194, '{"method":"x","params":[]}', TO_WALLET, CLIENT, WALLET), "params"),
        (raw(23194, "{}", (*TO_WALLET, ("expiration", "soon")), CLIENT, WALLET), "expired"),
        (CLIENT.sign(UnsignedEvent(23194, NOW, TO_WALLET, "x")), "characters"),
    ],
)
def test_what_is_no_request(event: VerifiedEvent, word: str) -> None:
    with pytest.raises(InvalidNwc, match=word):
        parse_request(event, cipher=KeyCipher(WALLET), now_s=NOW)


def test_a_request_in_nip04_gets_the_nips_error() -> None:
    with pytest.raises(WalletError) as caught:
        parse_request(raw(23194, "{}", TO_WALLET[:1], CLIENT, WALLET), cipher=KeyCipher(WALLET), now_s=NOW)
    assert caught.value.code is ErrorCode.UNSUPPORTED_ENCRYPTION


TO_CLIENT: Tags = (("p", CLIENT.pubkey), ("e", asked().id))
GOOD = '{"result_type":"get_balance","result":{}}'


@pytest.mark.parametrize(
    ("event", "word"),
    [
        (raw(23194, GOOD, TO_CLIENT), "kind 23195"),
        (answered({}, by=MALLORY), "by the wallet"),
        (raw(23195, GOOD, TO_CLIENT[:1]), "another request"),
        (raw(23195, GOOD, (*TO_CLIENT[:1], ("e", "00" * 32))), "another request"),
        (raw(23195, GOOD, (("p", MALLORY.pubkey), TO_CLIENT[1])), "another request"),
        (answered({}, method="get_info"), "something else"),
        (raw(23195, '{"result":{}}', TO_CLIENT), "something else"),
        (raw(23195, '{"result_type":"get_balance"}', TO_CLIENT), "result"),
        (raw(23195, '{"result_type":"get_balance","result":5}', TO_CLIENT), "result"),
        (raw(23195, '{"result_type":"get_balance","error":"x"}', TO_CLIENT), "error"),
        (raw(23195, "[]", TO_CLIENT), "object"),
        (WALLET.sign(UnsignedEvent(23195, NOW, TO_CLIENT, "x" * 200)), "base64|version"),
    ],
)
def test_what_is_no_answer(event: VerifiedEvent, word: str) -> None:
    with pytest.raises(InvalidNwc, match=word):
        read(event)


def test_answers_that_are_forgiven() -> None:
    assert read(raw(23195, GOOD, TO_CLIENT[1:])) == {}
    for error, code, message in (
        ('{"code":"NEW_CODE","message":"a\\nb"}', ErrorCode.OTHER, "a b"),
        ('{"code":5}', ErrorCode.OTHER, "no message"),
        ('{"code":"INTERNAL","message":"' + "x" * 999 + '"}', ErrorCode.INTERNAL, "x" * 300),
    ):
        with pytest.raises(WalletError) as caught:
            read(raw(23195, '{"error":' + error + "}", TO_CLIENT))
        assert (caught.value.code, caught.value.message) == (code, message)


def test_notifications() -> None:
    told = Notification("payment_sent", {"payment_hash": "aa" * 32})
    event = WALLET.sign(
        build_notification(told, client=CLIENT.pubkey, cipher=KeyCipher(WALLET), nonce=bytes(32), created_at=NOW)
    )
    assert parse_notification(event, wallet=WALLET.pubkey, cipher=KeyCipher(CLIENT)) == told
    for wrong in (
        raw(23196, '{"notification_type":"x","notification":{}}', TO_CLIENT),
        raw(23197, '{"notification_type":"x","notification":{}}', TO_CLIENT, MALLORY),
        raw(23197, '{"notification_type":5,"notification":{}}', TO_CLIENT),
        raw(23197, '{"notification_type":"x","notification":[]}', TO_CLIENT),
    ):
        with pytest.raises(InvalidNwc):
            parse_notification(wrong, wallet=WALLET.pubkey, cipher=KeyCipher(CLIENT))
