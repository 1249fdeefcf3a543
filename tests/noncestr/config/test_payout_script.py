"""Addresses and descriptors as scripts. The expected scripts are those of a Bitcoin Core node (deriveaddresses)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noncestr.config.payout_script import PayoutRefused, address_of, payout_script

KEY = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5"
TPUB = "tpubD6NzVbkrYhZ4XXAd6LwWmZTSQQcKYMRXABPpB54NUUG1xZZk9SSyr58oE46p3vfw3nVmEra3jLU5iPg3NB5tjwaVXwuUomtEJfyNyFDEx27"
XPUB = "xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjqJoCu1Rupje8YtGqsefD265TMg7usUDFdp6W1EGMcet8"
WIF = "L4rK1yDtCWekvXuE6oXD9jCYfFNV2cWRpVuPLBcCU2z8TrisoyY1"
TESTS = ("testnet4", "signet", "regtest")


@pytest.mark.parametrize(
    ("address", "networks", "script"),
    [
        # BIP 173 and BIP 350.
        (
            "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
            ("main",),
            "0014751e76e8199196d454941c45d1b3a323f1433bd6",
        ),
        (
            "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx",
            ("testnet4", "signet"),
            "0014751e76e8199196d454941c45d1b3a323f1433bd6",
        ),
        (
            "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
            ("regtest",),
            "0014751e76e8199196d454941c45d1b3a323f1433bd6",
        ),
        (
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
            ("main",),
            "512079be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
        ),
        (
            "bcrt1qakm3p0rw9fc3zr3txsay8uwa3xtdrfpw9kzc0ks2l689g86xrj4s2py8vf",
            ("regtest",),
            "0020edb710bc6e2a71110e2b343a43f1dd8996d1a42e2d8587da0afe8e541f461cab",
        ),
        ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", ("main",), "76a91462e907b15cbf27d5425399ebf6f0fb50ebb88f1888ac"),
        ("mg8Jz5776UdyiYcBb9Z873NTozEiADRW5H", TESTS, "76a91406afd46bcdfd22ef94ac122aa11f241244a37ecc88ac"),
        ("2N74VLxyT79VGHiBK2zEg3a9HJG7rEc5F3o", TESTS, "a914978a0121f9a24de65a13bab0c43c3a48be074eae87"),
    ],
)
def test_an_address_is_taken_on_its_networks_alone(address: str, networks: tuple[str, ...], script: str) -> None:
    for network in ("main", *TESTS):
        for text in (address, f" {address}\n", f"addr({address})"):
            if network in networks:
                assert payout_script(text, network).hex() == script
            else:
                where = "the main network" if "main" in networks else "a test network"
                with pytest.raises(PayoutRefused, match=f"is of {where}, the pool is on {network}"):
                    payout_script(text, network)


@pytest.mark.parametrize(
    ("descriptor", "script"),
    [
        (f"wpkh({KEY})", "001406afd46bcdfd22ef94ac122aa11f241244a37ecc"),
        (f"sh(wpkh({KEY}))", "a914978a0121f9a24de65a13bab0c43c3a48be074eae87"),
        (f"tr({KEY[2:]})", "5120cafd90c7026f0b6ab98df89490d02732881f2f4b5900856358dddff4679c2ffb"),
        (f"wpkh({TPUB}/0/7)", "00140cb50a94c0fc76473182ea12e1f2a58394447e64"),
        (f"wpkh({TPUB}/0/7)#n0fa5lfd", "00140cb50a94c0fc76473182ea12e1f2a58394447e64"),
        (f"tr({TPUB}/3)", "5120aec60cf32acd6791f7ca00f8aae327ed0169d7e41581b02a4f2f93f76dfc28d2"),
        (
            f"tr({KEY[2:]},{{pk(fff97bd5755eeea420453a14355235d382f6472f8568a18b2f057a1460297556),pk({TPUB}/5)}})",
            "5120e04fd6d95b6ad2266ab1ce21eef8873d5f4f2174b71748a505186af34ee2ae03",
        ),
        (
            f"wsh(sortedmulti(2,{TPUB}/0,03fff97bd5755eeea420453a14355235d382f6472f8568a18b2f057a1460297556))",
            "00202804a00cec84dc72678cad578c61a044c25088207cf2dd5a1e31295afa0bec0b",
        ),
    ],
)
def test_a_descriptor(descriptor: str, script: str) -> None:
    for network in TESTS:
        assert payout_script(descriptor, network).hex() == script


def test_a_descriptors_extended_keys_have_a_network() -> None:
    assert payout_script(f"wpkh({KEY})", "main") == payout_script(f"wpkh({KEY})", "regtest")
    assert payout_script(f"wpkh({XPUB}/1)", "main")[:2] == b"\x00\x14"
    with pytest.raises(PayoutRefused, match="is of the main network, the pool is on testnet4"):
        payout_script(f"wpkh({XPUB}/1)", "testnet4")
    with pytest.raises(PayoutRefused, match="is of a test network, the pool is on main"):
        payout_script(f"wpkh({TPUB}/1)", "main")
    with pytest.raises(PayoutRefused, match="the pool is on main"):
        payout_script(f"wsh(multi(1,{TPUB}/1,{XPUB}/1))", "main")


@pytest.mark.parametrize(
    ("payout", "says"),
    [
        ("", "neither an address nor"),
        ("satoshi", "neither an address nor"),
        ("user@example.com", "neither an address nor"),
        ("npub1" + "q" * 58, "neither an address nor"),
        ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb", "neither an address nor"),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5", "its checksum is wrong"),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kV8F3T4", "its checksum is wrong"),
        # BIP 350's later versions, and a taproot program of another size: anybody could spend those.
        ("bc1sw50qgdz25j", "kind this version does not know"),
        ("bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y", "kind this version does not"),
        # Base58Check that is something else: a private key.
        (WIF, "like a Bitcoin address, but is not one"),
        (f"wpkh({XPUB}/*)", "stands for many addresses"),
        (f"wpkh({XPUB}/<0;1>/5)", "stands for many addresses"),
        (f"wpkh({XPUB}/0h)", "not a descriptor"),
        (f"wpkh({WIF})", "holds a private key"),
        (f"wpkh({XPUB})#aaaaaaaa", "would be right"),
        ("wpkh()", "not a descriptor"),
        ("é(", "has characters none has"),
        ("raw(51)", "not a descriptor"),
    ],
)
def test_what_can_not_be_paid_is_refused_with_a_sentence(payout: str, says: str) -> None:
    with pytest.raises(PayoutRefused, match=says) as refused:
        payout_script(payout, "main")
    assert WIF not in str(refused.value)


@given(st.text(max_size=80) | st.builds("{}({})".format, st.sampled_from(["wpkh", "tr", "wsh", "addr"]), st.text()))
def test_junk_is_refused_in_words(junk: str) -> None:
    with pytest.raises(PayoutRefused):
        payout_script(junk, "main")


@pytest.mark.parametrize("network", ["main", *TESTS])
@pytest.mark.parametrize(
    "script",
    [
        "0014751e76e8199196d454941c45d1b3a323f1433bd6",
        "5120" + KEY[2:],
        "76a914" + "11" * 20 + "88ac",
        "a914" + "22" * 20 + "87",
    ],
)
def test_a_script_is_named_by_the_address_that_means_it(script: str, network: str) -> None:
    assert payout_script(address_of(bytes.fromhex(script), network), network).hex() == script
