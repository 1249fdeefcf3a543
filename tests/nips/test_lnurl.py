"""LNURL-pay: addresses, names, answers, callbacks, and the judgement of an invoice."""

import contextlib
import hashlib
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nips.bolt11 import Invoice
from nips.errors import InvalidInvoice, NipError
from nips.keys import SecretKey
from nips.lnurl import (
    MAX_URL,
    InvalidLnurl,
    LnurlRefused,
    address_url,
    callback_url,
    check_invoice,
    check_url,
    decode_lnurl,
    encode_lnurl,
    parse_invoice_reply,
    parse_pay_params,
)

METADATA = '[["text/plain","hello"],["text/identifier","a@b.example"]]'
KEY = SecretKey(b"\x05" * 32).pubkey
PARAMS: dict[str, Any] = {
    "tag": "payRequest",
    "callback": "https://b.example/cb",
    "minSendable": 1000,
    "maxSendable": 2000,
    "metadata": METADATA,
    "allowsNostr": True,
    "nostrPubkey": KEY,
}
# LUD-01's example.
LUD01_URL = "https://service.com/api?q=3fc3645b439ce8e7f2553a69e5267081d96dcd340693afabe04be7b0ccd178df"
LUD01 = (
    "LNURL1DP68GURN8GHJ7UM9WFMXJCM99E3K7MF0V9CXJ0M385EKVCENXC6R2C35XVUKXEFCV5MKVV34X5EKZD3EV56NYD3HXQURZEPEXEJXXEPNXSCRVWFNV9"
    "NXZCN9XQ6XYEFHVGCXXCMYXYMNSERXFQ5FNS"
)


def test_lud01s_example() -> None:
    assert decode_lnurl(LUD01) == LUD01_URL
    assert decode_lnurl("lightning:" + LUD01.lower()) == LUD01_URL
    assert encode_lnurl(LUD01_URL).upper() == LUD01


@given(st.text("abcxyz0189-._~/?=&%", max_size=200))
@settings(max_examples=60)
def test_names_come_back(path: str) -> None:
    url = "https://host.example/" + path
    assert decode_lnurl(encode_lnurl(url)) == url


@pytest.mark.parametrize(
    "text",
    ["", "lnurl1", LUD01[:-1], LUD01[:-1] + "T", LUD01.replace("LNURL", "LNURX"), LUD01[:9].lower() + LUD01[9:], "é"],
)
def test_broken_names_are_refused(text: str) -> None:
    with pytest.raises(InvalidLnurl):
        decode_lnurl(text)


def test_addresses() -> None:
    assert address_url("alice@pay.example") == "https://pay.example/.well-known/lnurlp/alice"
    assert address_url(" Alice@Pay.Example ") == "https://pay.example/.well-known/lnurlp/alice"
    assert address_url("a.b-c_d+tag@x.co:8443") == "https://x.co:8443/.well-known/lnurlp/a.b-c_d+tag"
    assert address_url(f"a@{'x' * 56}.onion") == f"http://{'x' * 56}.onion/.well-known/lnurlp/a"


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost"])
def test_plain_http_is_for_the_demo_on_this_machine(host: str) -> None:
    assert address_url(f"a@{host}").startswith("https://")
    assert address_url(f"a@{host}", allow_http_loopback=True) == f"http://{host}/.well-known/lnurlp/a"
    assert address_url("a@10.0.0.1", allow_http_loopback=True).startswith("https://")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "alice",
        "@x.example",
        "alice@",
        "al ice@x.example",
        "a/b@x.example",
        "a@x.example/path",
        "a@b@c",
        "a@x..y",
        "a@-x.example",
        "a@x.example:port",
        "a@x#y",
        "ä@x.example",
        "a@x.example?q",
    ],
)
def test_addresses_out_of_form_are_refused(address: str) -> None:
    with pytest.raises(InvalidLnurl):
        address_url(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://x.example/",
        "ftp://x.example/",
        "https:///x",
        "https://u:p@x.example/",
        "https://x.example/#f",
        "https://x.example/ y",
        "https://[::1",
        "https://x.example:99999/",
        "file:///etc/passwd",
        "https://x.example/" + "a" * MAX_URL,
        "http://127.0.0.1/",
    ],
)
def test_urls_that_lnurl_does_not_allow(url: str) -> None:
    with pytest.raises(InvalidLnurl):
        check_url(url)


def test_pay_parameters() -> None:
    params = parse_pay_params(PARAMS)
    assert (params.callback, params.min_sendable_msat, params.max_sendable_msat) == ("https://b.example/cb", 1000, 2000)
    assert params.nostr_pubkey == KEY
    assert params.metadata_hash == hashlib.sha256(METADATA.encode()).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        {"allowsNostr": False},
        {"allowsNostr": 1},
        {"nostrPubkey": None},
        {"nostrPubkey": "ff" * 32},
        {"nostrPubkey": KEY.upper()},
    ],
)
def test_zaps_need_both_the_permission_and_a_key(change: dict[str, Any]) -> None:
    assert parse_pay_params({**PARAMS, **change}).nostr_pubkey is None


@pytest.mark.parametrize(
    "change",
    [
        {"tag": "withdrawRequest"},
        {"callback": None},
        {"callback": "http://b.example/cb"},
        {"callback": "https://127.0.0.1@b.example/"},
        {"minSendable": 0},
        {"minSendable": 3000},
        {"minSendable": "1000"},
        {"maxSendable": 2000.0},
        {"maxSendable": True},
        {"metadata": None},
        {"metadata": "[]"},
        {"metadata": "{"},
        {"metadata": '[["text/plain","a"],["text/plain","b"]]'},
        {"metadata": '["text/plain"]'},
        {"metadata": '[["text/plain","\\ud800"]]' + " " * 60_001},
    ],
)
def test_pay_parameters_out_of_form_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidLnurl):
        parse_pay_params({**PARAMS, **change})


@pytest.mark.parametrize("value", [None, 1, "x", [], [PARAMS]])
def test_answers_that_are_no_object_are_refused(value: object) -> None:
    with pytest.raises(InvalidLnurl):
        parse_pay_params(value)
    with pytest.raises(InvalidLnurl):
        parse_invoice_reply(value)


def test_a_servers_no_is_told_in_one_clean_line() -> None:
    with pytest.raises(LnurlRefused) as told:
        parse_invoice_reply({"status": "ERROR", "reason": "a\nb\x1b" + "c" * 1000})
    assert told.value.reason == "a b " + "c" * 196
    assert str(told.value).startswith("the LNURL server refused: a b c")
    with pytest.raises(LnurlRefused, match="no reason given"):
        parse_pay_params({"status": "error"})


def test_callbacks() -> None:
    params = parse_pay_params(PARAMS)
    assert callback_url(params, 1500) == "https://b.example/cb?amount=1500"
    url = callback_url(
        parse_pay_params({**PARAMS, "callback": "https://b.example/cb?x=1"}),
        1500,
        zap_request='{"a":"ü &"}',
        lnurl="lnurl1x",
    )
    assert parse_qs(urlsplit(url).query) == {
        "x": ["1"],
        "amount": ["1500"],
        "nostr": ['{"a":"ü &"}'],
        "lnurl": ["lnurl1x"],
    }
    assert " " not in url
    assert url.isascii()


def test_invoice_replies() -> None:
    assert parse_invoice_reply({"pr": "lnbc1", "routes": []}) == "lnbc1"
    for value in ({}, {"pr": None}, {"pr": ""}, {"pr": 5}):
        with pytest.raises(InvalidLnurl):
            parse_invoice_reply(value)


INVOICE = Invoice(5000, "aa" * 32, "bb" * 32, None, 1000, 600, "regtest", "02" + "cc" * 32, "lnbcrt1")


def judge(**changes: Any) -> None:
    check_invoice(
        INVOICE, **{"amount_msat": 5000, "description_hash": "bb" * 32, "network": "regtest", "now_s": 1000, **changes}
    )


def test_the_invoice_asked_for_passes_until_it_is_about_to_expire() -> None:
    judge()
    judge(now_s=1570)
    with pytest.raises(InvalidInvoice, match="expired"):
        judge(now_s=1571)
    judge(now_s=400)
    with pytest.raises(InvalidInvoice, match="future"):
        judge(now_s=399)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"amount_msat": 4999}, "asks for 5000"),
        ({"description_hash": "bc" * 32}, "commit"),
        ({"network": "main"}, "for regtest"),
    ],
)
def test_any_other_invoice_is_refused(change: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidInvoice, match=word):
        judge(**change)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from([*PARAMS, "pr", "status", "reason"]), inner, max_size=9)
        ),
    )
)
@settings(max_examples=200)
def test_answers_raise_nothing_else(value: object) -> None:
    """Invariant: whatever a server answers is read or is a NipError."""
    for parse in (parse_pay_params, parse_invoice_reply):
        with contextlib.suppress(NipError):
            parse(value)
