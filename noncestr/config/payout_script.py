"""Where the coinbase pays: an address or an output descriptor (BIP 380 to 386), as the script it stands for."""

from typing import Final

from embit import base58, bech32  # type: ignore[import-untyped]  # embit ships no types
from embit.descriptor import Descriptor  # type: ignore[import-untyped]  # as above
from embit.descriptor.checksum import checksum  # type: ignore[import-untyped]  # as above
from embit.networks import NETWORKS as KEY_FORMS  # type: ignore[import-untyped]  # as above
from embit.script import Script  # type: ignore[import-untyped]  # as above

from noncestr.errors import NoncestrError

# BIP 173: the human-readable part of an address.
_BECH32: Final = {"main": "bc", "testnet4": "tb", "signet": "tb", "regtest": "bcrt"}
# Base58Check: the version bytes of pay-to-pubkey-hash and pay-to-script-hash; the test networks share theirs.
_TEST_VERSIONS: Final = (b"\x6f", b"\xc4")
_VERSIONS: Final = {
    "main": (b"\x00", b"\x05"),
    "testnet4": _TEST_VERSIONS,
    "signet": _TEST_VERSIONS,
    "regtest": _TEST_VERSIONS,
}
# The versions of extended public keys (BIP 32, SLIP 132), by network.
_KEY_KINDS: Final = ("xpub", "ypub", "zpub", "Ypub", "Zpub")
_MAIN_KEYS: Final = frozenset(KEY_FORMS["main"][kind] for kind in _KEY_KINDS)
# BIP 141: a witness program of version 0 has 20 or 32 bytes; BIP 341: of version 1, 32. Later versions pay anybody.
_PROGRAM_SIZES: Final = {0: (20, 32), 1: (32,)}
_OP_1: Final = 0x51
_KEY_HASH_SIZE: Final = 20


class PayoutRefused(NoncestrError):
    """The configured payout is no address or descriptor, or one of another network."""


def payout_script(payout: str, network: str) -> bytes:
    """The scriptPubKey of an address or descriptor on `network`. Raises PayoutRefused with a sentence."""
    text = payout.strip()
    if "(" in text:
        return _of_descriptor(text, network)
    return _of_address(text, network)


def _of_address(text: str, network: str) -> bytes:
    prefix = text.lower().rpartition("1")[0]
    if prefix in _BECH32.values():
        version, program = bech32.decode(prefix, text)
        if version is None or program is None:
            raise PayoutRefused(f"{text!r} is not an address: its checksum is wrong")
        if len(program) not in _PROGRAM_SIZES.get(version, ()):
            raise PayoutRefused(f"{text!r} is an address of a kind this version does not know")
        if prefix != _BECH32[network]:
            raise PayoutRefused(_elsewhere(text, prefix == _BECH32["main"], network))
        return bytes([version and _OP_1 - 1 + version, len(program), *program])
    try:
        data = bytes(base58.decode_check(text))
    except Exception:  # embit has no error of its own for junk
        raise PayoutRefused(f"{text!r} is neither an address nor an output descriptor") from None
    known = {version for versions in _VERSIONS.values() for version in versions}
    if data[:1] not in known or len(data) != 1 + _KEY_HASH_SIZE:
        # Not repeated: private keys are written the same way.
        raise PayoutRefused("the payout is written like a Bitcoin address, but is not one")
    if data[:1] not in _VERSIONS[network]:
        raise PayoutRefused(_elsewhere(text, data[:1] in _VERSIONS["main"], network))
    if data[:1] == _VERSIONS[network][0]:
        return b"\x76\xa9\x14" + data[1:] + b"\x88\xac"
    return b"\xa9\x14" + data[1:] + b"\x87"


def _elsewhere(what: str, is_main: bool, network: str) -> str:
    where = "the main network" if is_main else "a test network"
    return f"{what} is of {where}, the pool is on {network}: its coins could not be had there"


def _of_descriptor(text: str, network: str) -> bytes:
    body, mark, given = text.partition("#")
    # What is wrong may hold a private key: it is not repeated.
    named = text.partition("(")[0] + "(...)"
    try:
        expected = checksum(body)
    except Exception:  # as above
        raise PayoutRefused(f"{named} is not a descriptor: it has characters none has") from None
    if mark and given != expected:
        raise PayoutRefused(f"the checksum of descriptor {named} is wrong: {expected} would be right")
    if body.startswith("addr(") and body.endswith(")"):
        return _of_address(body[5:-1], network)
    try:
        descriptor = Descriptor.from_string(body)
        keys = descriptor.keys
        many = descriptor.is_wildcard or descriptor.num_branches > 1
        private = any(key.is_private for key in keys)
        of_main = {key.key.version in _MAIN_KEYS for key in keys if key.is_extended}
        # Without `derive` embit leaves out the steps after an extended key, and would pay the key itself.
        script = b"" if many or private else bytes(descriptor.derive(0).script_pubkey().data)
    except Exception as error:  # as above
        raise PayoutRefused(f"{named} is not a descriptor: {error}") from None
    if private:
        raise PayoutRefused("the payout descriptor holds a private key: give its public key")
    if many:
        raise PayoutRefused(f"{named} stands for many addresses: write one index in the place of * or <...>")
    if (network == "main") in {not main for main in of_main}:
        raise PayoutRefused(_elsewhere(named, True in of_main, network))
    return script


def address_of(script: bytes, network: str) -> str:
    """The address of a scriptPubKey that has one: what the terms tell people."""
    return str(Script(script).address(KEY_FORMS["test" if network == "testnet4" else network]))
