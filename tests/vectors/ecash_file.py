"""Payouts in ecash, files of mints' keys and URLs of mints, each with what a verifier makes of it (ecash.json)."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import coincurve

from nips.keys import ORDER, SecretKey
from nips.nip01 import UnsignedEvent, encode_event
from nips.nip61 import NUTZAP_INFO
from nips.nut00 import Proof, proof_y
from nips.nut02 import Keyset, keyset_id
from nips.nut03 import Signed, make_output, unblind
from nips.nut11 import Lock, build_secret
from nips.nut12 import hash_e
from tests.vectors.example_log import key
from tests.vectors.pool_events import TEST_KEYS, Json

URL = "https://mint.example/sats"
AT = 1_800_000_000
AMOUNTS = [2**n for n in range(12)]
PARTS = (1, 8, 512)
MINER, WALLET, REFUND = key(4), key(7), key(3)


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest(), "big") % ORDER


def _scalar(number: int) -> bytes:
    return number.to_bytes(32, "big")


class TestMint:
    """A mint whose keys and nonces follow from its name, so that it signs the same each time."""

    __test__ = False

    def __init__(self, name: str = "mint", version: str = "01", fee_ppk: int = 100) -> None:
        self.secrets = {amount: _number(f"{name} {amount}") for amount in AMOUNTS}
        self.public = {
            amount: coincurve.PublicKey.from_valid_secret(_scalar(number)).format().hex()
            for amount, number in self.secrets.items()
        }
        bare = Keyset(version, "sat", True, fee_ppk)
        self.keyset = Keyset(keyset_id(self.public, bare), "sat", True, fee_ppk)

    def proof(self, amount: int, secret: str) -> Proof:
        """Ecash of this mint, with its DLEQ."""
        output = make_output(self.keyset.id, amount, secret, _scalar(_number(f"r {secret}")))
        blinded, number = coincurve.PublicKey(bytes.fromhex(output.blinded())), self.secrets[amount]
        nonce = _number(f"nonce {secret}")
        point = blinded.multiply(_scalar(number))
        r1, r2 = coincurve.PublicKey.from_valid_secret(_scalar(nonce)), blinded.multiply(_scalar(nonce))
        e = hash_e(r1, r2, coincurve.PublicKey(bytes.fromhex(self.public[amount])), point)
        s = (nonce + int.from_bytes(e, "big") * number) % ORDER
        signed = Signed(output.id, amount, point.format().hex(), e.hex(), f"{s:064x}")
        return unblind(output, signed, self.public[amount])

    def file(self, url: str = URL) -> str:
        """The file of its keys."""
        row = {"id": self.keyset.id, "unit": "sat", "active": True, "input_fee_ppk": self.keyset.fee_ppk}
        keyset = {**row, "keys": {str(amount): point for amount, point in self.public.items()}}
        return json.dumps({"v": 1, "mints": [{"mint": url, "keysets": [keyset]}]})


def rows(mint: TestMint, secrets: list[str], parts: tuple[int, ...] = PARTS) -> list[Json]:
    """Proofs as a payout shows them."""
    found = []
    for amount, secret in zip(parts, secrets, strict=True):
        proof = mint.proof(amount, secret)
        assert proof.dleq is not None
        dleq = {name: getattr(proof.dleq, name) for name in "esr"}
        found.append({"id": proof.id, "amount": amount, "secret": secret, "C": proof.C, "dleq": dleq})
    return found


def locked(pubkey: str, salt: str = "", locktime: int | None = AT + 1000, parts: tuple[int, ...] = PARTS) -> list[str]:
    lock = Lock(pubkey) if locktime is None else Lock(pubkey, locktime, ("02" + REFUND.pubkey,))
    return [build_secret(lock, hashlib.sha256(f"{salt} {n}".encode()).hexdigest()) for n in range(len(parts))]


def info_of(miner: SecretKey, tags: tuple[tuple[str, ...], ...], kind: int = NUTZAP_INFO) -> Json:
    return json.loads(encode_event(miner.sign(UnsignedEvent(kind, AT, tags, ""))))


def token(mint: TestMint, miner: str, salt: str = "", parts: tuple[int, ...] = PARTS) -> Json:
    """A token locked to the miner's own key, as a payout shows it."""
    keys = {str(amount): mint.public[amount] for amount in parts}
    return {
        "mint": URL,
        "unit": "sat",
        "keys": keys,
        "proofs": rows(mint, locked("02" + miner, salt, parts=parts), parts),
    }


INFO = (("relay", "wss://relay.example"), ("mint", "HTTPS://Mint.Example:443/sats/", "sat"), ("pubkey", WALLET.pubkey))


def nutzap(mint: TestMint, miner: SecretKey, info: Json, salt: str = "", parts: tuple[int, ...] = PARTS) -> Json:
    proofs = rows(mint, locked("02" + WALLET.pubkey, salt, parts=parts), parts)
    name = hashlib.sha256(f"nutzap {salt}".encode()).hexdigest()
    return {**token(mint, miner.pubkey, parts=parts), "nutzap": name, "info": info, "proofs": proofs}


def _secret(change: Callable[[Any], None], amount: int = 8) -> str:
    value = json.loads(locked("02" + MINER.pubkey)[0])
    change(value)
    return json.dumps(value)


def ecash(_log: object = None) -> Json:
    """The vectors' file."""
    mint, old, other = TestMint(), TestMint(version="00"), TestMint("other")
    plain = token(mint, MINER.pubkey)
    good_info = info_of(MINER, INFO)
    zap = nutzap(mint, MINER, good_info)
    cases: list[Json] = []

    def case(reason: str, grade: str, proof: Json, method: str = "cashu", **fields: Any) -> None:
        payout = {"method": method, "miner": MINER.pubkey, "to": "00" * 32, "amount_msat": sum(PARTS) * 1000}
        told = {**payout, "created_at": AT, "proof": proof, **fields}
        cases.append({"reason": reason, "grade": grade, "files": [], **told})

    def row(**changes: Any) -> Json:
        return {**plain, "proofs": [{**plain["proofs"][0], **changes}, *plain["proofs"][1:]]}

    def dleq(**changes: Any) -> Json:
        return row(dleq={**plain["proofs"][0]["dleq"], **changes})

    def secret(text: str) -> Json:
        """The one proof of 8 sat with that secret, signed well."""
        return {**plain, "proofs": rows(mint, [text], (8,))}

    def zapped(reason: str, grade: str, info: Json, **fields: Any) -> None:
        proof = {**zap, "info": info, **fields.pop("proof", {})}
        case(
            reason,
            grade,
            proof,
            "nutzap",
            **{"to": info.get("id", "00" * 32) if isinstance(info, dict) else "", **fields},
        )

    case("a token locked to the miner", "attested", plain)
    case("with the mint's keys", "proven", plain, files=[mint.file()])
    case(
        "with the mint's keys, its URL written otherwise",
        "proven",
        plain,
        files=[mint.file("HTTPS://MINT.example:443/sats//")],
    )
    case("a keyset of version 00", "proven", token(old, MINER.pubkey), files=[mint.file(), old.file()])
    case("the mint lists other keysets", "claimed", plain, files=[other.file(), old.file()])
    case("keys of another mint", "attested", plain, files=[mint.file("https://other.example")])
    forged = {**token(other, MINER.pubkey)}
    forged["proofs"] = [{**each, "id": mint.keyset.id} for each in forged["proofs"]]
    case("signed by keys of somebody's own under the mint's keyset", "attested", forged)
    case("and the mint's keys are known", "refuted", forged, files=[mint.file()])
    case("locked to somebody else", "claimed", {**plain, "proofs": rows(mint, locked("02" + REFUND.pubkey))})
    case("locked to 03 and the miner's key", "claimed", {**plain, "proofs": rows(mint, locked("03" + MINER.pubkey))})
    case("without a locktime", "attested", {**plain, "proofs": rows(mint, locked("02" + MINER.pubkey, locktime=None))})
    for name, at, grade in (("at", AT, "refuted"), ("a second after", AT + 1, "attested")):
        case(
            f"the lock ends {name} the record",
            grade,
            {**plain, "proofs": rows(mint, locked("02" + MINER.pubkey, locktime=at))},
        )
    case("another amount than the payout's", "refuted", plain, amount_msat=522_000)
    case("a millisatoshi more", "refuted", plain, amount_msat=521_001)
    case("another unit", "refuted", {**plain, "unit": "usd"})
    for name in ("mint", "unit", "keys"):
        case(f"no {name}", "refuted", {each: value for each, value in plain.items() if each != name})
    case("a mint of 256 characters", "refuted", {**plain, "mint": "x" * 256})
    case("a mint whose URL is none", "attested", {**plain, "mint": "x"}, files=[mint.file()])
    case("no proofs in the array", "refuted", {**plain, "proofs": []})
    case(
        "one proof twice",
        "refuted",
        {**plain, "proofs": [*plain["proofs"][:2], plain["proofs"][1]]},
        amount_msat=17_000,
    )
    case("two keysets", "refuted", row(id=old.keyset.id))
    case("a keyset without a form", "refuted", row(id="0"))
    for name in "esr":
        text = plain["proofs"][0]["dleq"][name]
        case(f"a bit of {name}", "refuted", dleq(**{name: f"{int(text[0], 16) ^ 1:x}{text[1:]}"}))
        case(f"{name} is 0", "refuted", dleq(**{name: "0" * 64}))
        case(f"{name} is the group's order", "refuted", dleq(**{name: f"{ORDER:064x}"}))
    case("no DLEQ", "refuted", row(dleq=None))
    case("a DLEQ without r", "refuted", row(dleq={name: plain["proofs"][0]["dleq"][name] for name in "es"}))
    point = plain["proofs"][0]["C"]
    case("C of the other sign", "refuted", row(C=("03" if point[:2] == "02" else "02") + point[2:]))
    case("C that is no point", "refuted", row(C="02" + "f" * 64))
    case("C of another proof", "refuted", row(C=plain["proofs"][1]["C"]))
    case("an amount that is text", "refuted", row(amount="1"))
    case("an amount of 0", "refuted", row(amount=0))
    case("an amount without a key", "refuted", row(amount=2), amount_msat=522_000)
    case("a key too many", "attested", {**plain, "keys": {**plain["keys"], "7": mint.public[4]}}, files=[])
    case("a key of another amount", "refuted", {**plain, "keys": {**plain["keys"], "1": mint.public[8]}})
    case(
        "an amount of keys with a zero before it",
        "attested",
        {**plain, "keys": {**plain["keys"], "01": mint.public[8]}},
    )
    case("an amount of keys with 21 digits", "refuted", {**plain, "keys": {**plain["keys"], "1" * 21: mint.public[8]}})
    case(
        "an amount of keys with 5,000 digits",
        "refuted",
        {**plain, "keys": {**plain["keys"], "1" * 5000: mint.public[8]}},
    )
    case("keys without a number", "refuted", {**plain, "keys": {**plain["keys"], "x": mint.public[8]}})

    def tags(*added: Any) -> str:
        return _secret(lambda value: value[1].update(tags=list(added)))

    me = "02" + MINER.pubkey
    body = json.dumps({"nonce": "00", "data": me, "tags": []})
    for reason, grade, text in (
        ("no lock", "refuted", "ab" * 32),
        ("another kind of secret", "refuted", _secret(lambda value: value.__setitem__(0, "HTLC"))),
        ("three parts", "refuted", _secret(lambda value: value.append(1))),
        ("white space", "attested", f' [ "P2PK" , {body} ]\n'),
        ("a name that stands twice", "refuted", f'["P2PK",{{"data":"02{REFUND.pubkey}","data":"{me}"}}]'),
        ("a number with a fraction", "refuted", f'["P2PK",{{"data":"{me}","x":1.5}}]'),
        ("half of a surrogate pair", "refuted", f'["P2PK",{{"data":"{me}","x":"\\ud800"}}]'),
        ("letters beyond ASCII", "attested", f'["P2PK",{{"data":"{me}","x":"🚀é"}}]'),
        ("no tags", "attested", f'["P2PK",{{"data":"{me}"}}]'),
        ("1,024 characters", "attested", f'["P2PK",{{"data":"{me}"}}]'.ljust(1024)),
        ("1,024 characters, one of two code units", "attested", f'["P2PK",{{"data":"{me}","x":"🚀"}}]'.ljust(1024)),
        ("1,025 characters", "refuted", f'["P2PK",{{"data":"{me}"}}]'.ljust(1025)),
        ("a tag of numbers", "attested", tags(["locktime", AT + 5])),
        ("a tag of a truth", "refuted", tags(["locktime", True])),
        ("a tag without a value", "refuted", tags(["x"])),
        ("two tags of one name", "refuted", tags(["x", "1"], ["x", "1"])),
        ("one signature", "attested", tags(["n_sigs", "1"], ["n_sigs_refund", 1], ["sigflag", "SIG_INPUTS"])),
        ("two signatures", "refuted", tags(["n_sigs", "2"])),
        ("two signatures to refund", "refuted", tags(["n_sigs_refund", "2"])),
        ("all outputs signed", "refuted", tags(["sigflag", "SIG_ALL"])),
        ("other keys", "refuted", tags(["pubkeys", me])),
        ("a refund to no key", "refuted", tags(["refund", "x"])),
        ("two locktimes", "refuted", tags(["locktime", str(AT + 5), str(AT + 6)])),
        ("a locktime of 12 digits", "refuted", tags(["locktime", "1" * 12])),
        ("a locktime of 11 digits", "attested", tags(["locktime", "1" * 11])),
    ):
        case(f"a secret: {reason}", grade, secret(text), amount_msat=8000)
    mixed = [*locked(me)[:2], locked(me, locktime=AT + 1001)[2]]
    case("two locks", "refuted", {**plain, "proofs": rows(mint, mixed)})
    written = [*locked(me)[:2], json.dumps(json.loads(locked(me)[2]))]
    case("one lock, written in two ways", "attested", {**plain, "proofs": rows(mint, written)})

    ys = sorted(proof_y(mint.proof(amount, f"free {amount}")) for amount in PARTS)
    free = {"mint": URL, "unit": "sat", "amount": sum(PARTS), "ys": ys}
    case("a token without a lock", "claimed", free, files=[mint.file()])
    case("its Y values not sorted", "refuted", {**free, "ys": ys[::-1]})
    case("a Y twice", "refuted", {**free, "ys": [ys[0], *ys]})
    case("no Y", "refuted", {**free, "ys": []})
    case("another amount", "refuted", {**free, "amount": 1})
    case("no amount", "refuted", {name: value for name, value in free.items() if name != "amount"})
    case("a nutzap without proofs", "refuted", free, "nutzap")

    zapped("a nutzap", "attested", good_info)
    zapped("a nutzap, the mint's keys known", "proven", good_info, files=[mint.file()])
    zapped("a nutzap without a name", "refuted", good_info, proof={"nutzap": "x"})
    zapped("the payout names another info", "refuted", good_info, to="11" * 32)
    zapped("the info is not signed", "refuted", {**good_info, "sig": "0" * 128})
    zapped("the info is altered", "refuted", {**good_info, "content": "x"})
    zapped("the info is another's", "refuted", info_of(REFUND, INFO))
    zapped("the info is of another kind", "refuted", info_of(MINER, INFO, 10020))
    zapped("no info", "refuted", None)
    where, whom = INFO[1], INFO[2]
    for reason, grade, told in (
        ("its key with 02", "attested", (where, ("pubkey", "02" + WALLET.pubkey))),
        ("its key with 03", "refuted", (where, ("pubkey", "03" + WALLET.pubkey))),
        ("another key", "refuted", (where, ("pubkey", REFUND.pubkey))),
        ("its author's own key", "refuted", (where, ("pubkey", MINER.pubkey))),
        ("a key that is none", "refuted", (where, ("pubkey", "f" * 64))),
        ("two keys", "refuted", (where, whom, whom)),
        ("a key and an empty tag", "attested", (where, whom, ("pubkey",))),
        ("no key", "refuted", (where,)),
        ("no mint", "refuted", (whom,)),
        ("another mint", "refuted", (whom, ("mint", "https://other.example"))),
        ("a mint of other units", "refuted", (whom, ("mint", URL, "usd"))),
        ("a mint of units in capitals", "attested", (whom, ("mint", URL, "USD", "SAT"))),
        ("a mint of a unit that is none", "attested", (whom, ("mint", URL, "!"))),
        ("a mint twice, first in usd", "refuted", (whom, ("mint", URL, "usd"), ("mint", URL, "sat"))),
        (
            "a mint among others and no URLs",
            "attested",
            (whom, ("mint", "x"), ("mint", "https://o.example"), ("mint", URL)),
        ),
        ("the 21st mint", "refuted", (whom, *(("mint", f"https://{n}.example") for n in range(20)), ("mint", URL))),
        ("the 201st tag", "refuted", (whom, *(("t", "x") for _ in range(199)), ("mint", URL))),
        ("the 200th tag", "attested", (whom, *(("t", "x") for _ in range(198)), ("mint", URL))),
    ):
        zapped(f"the info has {reason}", grade, info_of(MINER, told))

    return {
        "description": f"Payouts in ecash and what they are worth to whoever knows the files; {TEST_KEYS}.",
        "payouts": cases,
        "key_files": [{"text": text} for text in (mint.file(), old.file(), '{"v":1,"mints":[]}', _foreign(mint))],
        "invalid_key_files": [{"reason": reason, "text": text} for reason, text in _bad_files(mint, old)],
        "urls": [{"text": text, "normal": normal} for text, normal in URLS],
        "invalid_urls": INVALID_URLS,
    }


def _foreign(mint: TestMint) -> str:
    """With keysets of forms that are not known: these are passed over."""
    value = json.loads(mint.file())
    value["mints"][0]["keysets"] += [{"id": "9mlfd5vCzgGl", "unit": "sat", "active": True}, {"id": "02" + "00" * 32}, 1]
    return json.dumps(value)


def _bad_files(mint: TestMint, old: TestMint) -> list[tuple[str, str]]:
    found = [("nothing", ""), ("an array", "[]"), ("no version", "{}"), ("version 2", '{"v":2,"mints":[]}')]
    found += [
        ("mints are no array", '{"v":1,"mints":{}}'),
        ("a mint without a URL", '{"v":1,"mints":[{"keysets":[]}]}'),
    ]
    found.append(("a URL that is none", '{"v":1,"mints":[{"mint":"ftp://x","keysets":[]}]}'))
    found.append(("no keysets", '{"v":1,"mints":[{"mint":"http://x"}]}'))

    def spoilt(reason: str, which: TestMint, change: Callable[[Any], object]) -> None:
        value = json.loads(which.file())
        change(value["mints"][0]["keysets"])
        found.append((reason, json.dumps(value)))

    for name, which in (("01", mint), ("00", old)):
        spoilt(f"a key swapped, id {name}", which, lambda sets: sets[0]["keys"].update({"1": sets[0]["keys"]["2"]}))
        spoilt(f"a key left out, id {name}", which, lambda sets: sets[0]["keys"].pop("1"))
        spoilt(f"a key that is no point in hex, id {name}", which, lambda sets: sets[0]["keys"].update({"1": "00"}))
        spoilt(
            f"an amount with a zero before it, id {name}",
            which,
            lambda sets: sets[0]["keys"].update({"01": sets[0]["keys"].pop("1")}),
        )
        spoilt(
            f"another id, id {name}",
            which,
            lambda sets: sets[0].update(id=sets[0]["id"][:-1] + ("0" if sets[0]["id"][-1] != "0" else "1")),
        )
        spoilt(f"no keys, id {name}", which, lambda sets: sets[0].pop("keys"))
        spoilt(f"a keyset twice, id {name}", which, lambda sets: sets.append(sets[0]))
    spoilt("another unit under an id of 01", mint, lambda sets: sets[0].update(unit="usd"))
    spoilt("another fee under an id of 01", mint, lambda sets: sets[0].update(input_fee_ppk=0))
    spoilt("another expiry under an id of 01", mint, lambda sets: sets[0].update(final_expiry=AT))
    spoilt("active is a number", mint, lambda sets: sets[0].update(active=1))
    spoilt("a fee below nothing", mint, lambda sets: sets[0].update(input_fee_ppk=-1))
    return found


URLS = (
    ("https://mint.example", "https://mint.example"),
    ("https://mint.example/", "https://mint.example"),
    ("HTTPS://Mint.Example:443/Bitcoin//", "https://mint.example/Bitcoin"),
    ("http://mint.example:80", "http://mint.example"),
    ("http://mint.example:443", "http://mint.example:443"),
    ("https://mint.example:080/a/b", "https://mint.example:80/a/b"),
    ("https://mint.example:", "https://mint.example"),
    (" https://mint.example\n", "https://mint.example"),
    ("http://[::1]:3338/", "http://[::1]:3338"),
    ("http://127.0.0.1:3338", "http://127.0.0.1:3338"),
    ("http://abcdef.onion/x", "http://abcdef.onion/x"),
    ("https://mint.example./", "https://mint.example."),
)
INVALID_URLS = [
    "", "mint.example", "ftp://mint.example", "https://", "https:///x", "https://mint.example:0",
    "https://mint.example:65536",
    "https://mint.example:x", "https://a:b@mint.example", "https://mint.example/?a", "https://mint.example/#a",
    "https://mint example",
    "https://mint.example\\x", "https://münt.example", "https://[::1", "https://[::g]", "https://x..y",
    "https://" + "x" * 250,
]  # fmt: skip
