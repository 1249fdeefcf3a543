"""Writes the vectors (*.json here) and the examples in SPEC.md out of the code: `python -m tests.vectors.make`.

The tests compare what lies in the tree with what this would write, so neither can go stale.
"""

import base64
import json
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from nips.keys import SecretKey
from nips.nip01 import UnsignedEvent, VerifiedEvent, encode_event, event_id, serialize
from nips.nip19 import encode_note, encode_npub, encode_nsec
from nips.pool.binding import binding
from nips.pool.coinbase import build_coinb1, build_coinb2, parse_outputs, push_height
from nips.pool.hashing import display, merkle_fold, parse_header, sha256d
from nips.pool.receipt import parse_receipt
from nips.pool.targets import share_bits_from_difficulty, target_from_bits, work_from_bits
from tests.vectors import published
from tests.vectors.example_log import ACCOUNTING, EDGE, POOL_KEY, ZAPPER, ExampleLog, key

HERE = Path(__file__).parent
SPEC = HERE.parents[1] / "nips" / "pool" / "SPEC.md"
Json = dict[str, Any]
TEST_KEYS = 'secret keys are sha256("noncestr test key N"), for tests only'


def wire(event: VerifiedEvent) -> Json:
    """The event as decoded JSON."""
    value: Json = json.loads(encode_event(event))
    return value


class Breaker:
    """Signs variations of one event that a parser must refuse."""

    def __init__(self, event: VerifiedEvent, signer: SecretKey) -> None:
        self.event, self.signer = event, signer
        self.made: list[Json] = []

    def sign(self, reason: str, tags: tuple[tuple[str, ...], ...], content: str, **changes: int) -> None:
        """One more case, whatever its tags and content."""
        kind = changes.get("kind", self.event.kind)
        created_at = changes.get("created_at", self.event.created_at)
        self.made.append(
            {"reason": reason, "event": wire(self.signer.sign(UnsignedEvent(kind, created_at, tags, content)))}
        )

    def content(self, reason: str, change: Callable[[Json], Any]) -> None:
        """The content with something changed."""
        fields = json.loads(self.event.content)
        change(fields)
        self.sign(reason, self.event.tags, json.dumps(fields, separators=(",", ":")))

    def set(self, name: str, value: object, reason: str) -> None:
        """The content with one field set."""
        self.content(reason, lambda fields: fields.update({name: value}))

    def text(self, reason: str, old: str, new: str) -> None:
        """The content's text with one thing replaced."""
        assert old in self.event.content
        self.sign(reason, self.event.tags, self.event.content.replace(old, new, 1))

    def tag(self, reason: str, name: str, *replacement: tuple[str, ...]) -> None:
        """Every tag of that name replaced."""
        kept = tuple(tag for tag in self.event.tags if tag[0] != name)
        self.sign(reason, (*kept, *replacement), self.event.content)

    def common(self) -> None:
        """What every pool event refuses."""
        self.sign("another kind", self.event.tags, self.event.content, kind=1)
        self.tag("no a tag", "a")
        self.tag("two a tags", "a", self.event.tags[0], self.event.tags[0])
        self.tag("an unknown network in the a tag", "a", ("a", self.event.tags[0][1].replace("regtest", "testnet3")))
        self.set("v", 2, "an unknown version")
        self.set("v", True, "the version is not an integer")
        self.sign("the content is not an object", self.event.tags, "[]")
        self.text("a name twice", '{"v":1', '{"v":1,"v":1')
        self.text("a float", '{"v":1', '{"v":1,"x":1.0')
        self.text("an integer beyond 2^53 - 1", '{"v":1', '{"v":1,"x":9007199254740992')
        self.text("a control character in a string", '{"v":1', '{"v":1,"x":"\x01"')
        self.text("a lone surrogate", '{"v":1', '{"v":1,"x":"\\ud800"')

    def link(self) -> None:
        """What every event of a chain refuses."""
        other = "00" * 32
        self.tag("no seq", "seq")
        self.tag("seq with a leading zero", "seq", ("seq", "01"))
        if any(tag[0] == "prev" for tag in self.event.tags):
            self.tag("no prev at seq 1", "prev")
            self.tag("two prevs", "prev", ("prev", other), ("prev", other))
        else:
            self.tag("a prev at seq 0", "prev", ("prev", other))


def _event_file(description: str, cases: list[VerifiedEvent], breaker: Breaker) -> Json:
    return {
        "description": f"{description}; {TEST_KEYS}. Every invalid event has a good id and signature.",
        "cases": [{"event": wire(event)} for event in cases],
        "invalid": breaker.made,
    }


def nip01(log: ExampleLog) -> Json:
    signer = key(0)
    texts = ["", "plain", 'quote " backslash \\ slash /', "\n\r\t\b\f", "é 火 🚀", "\u2028", "\x7f"]
    events = [signer.sign(UnsignedEvent(1, 1_767_225_600 + n, (("t", text),), text)) for n, text in enumerate(texts)]
    good = wire(events[1])

    def but(**changes: object) -> Json:
        return {**good, **changes}

    flipped = f"{int(good['sig'][:2], 16) ^ 1:02x}" + good["sig"][2:]
    return {
        "description": f"NIP-01 events with the bytes that are hashed, and BIP-340's own vectors; {TEST_KEYS}.",
        "cases": [
            {
                "secret": signer.secret_bytes().hex(),
                "serialized": serialize(e.pubkey, e.created_at, e.kind, e.tags, e.content).hex(),
                "event": wire(e),
            }
            for e in events
        ],
        "bip340": published.BIP340,
        "invalid": [
            {"reason": "the id is not the hash", "event": but(content="other")},
            {"reason": "a bit of the signature is flipped", "event": but(sig=flipped)},
            {"reason": "the signature is another event's", "event": but(sig=wire(events[0])["sig"])},
            {"reason": "upper case hex", "event": but(id=good["id"].upper())},
            {"reason": "a short pubkey", "event": but(pubkey=good["pubkey"][:-2])},
            {"reason": "created_at is a float", "event": but(created_at=1767225600.5)},
            {"reason": "created_at is negative", "event": but(created_at=-1)},
            {"reason": "kind is a boolean", "event": but(kind=True)},
            {"reason": "kind beyond 65535", "event": but(kind=65536)},
            {"reason": "an empty tag", "event": but(tags=[[]])},
            {"reason": "a tag with a number", "event": but(tags=[["a", 1]])},
            {"reason": "content is null", "event": but(content=None)},
            {"reason": "no sig", "event": {k: v for k, v in good.items() if k != "sig"}},
            {"reason": "not an object", "event": [good]},
        ],
    }


def nip19(log: ExampleLog) -> Json:
    cases = [dict(case) for case in published.NIP19]
    for number in range(3):
        signer = key(number)
        cases.append({"prefix": "npub", "text": encode_npub(signer.pubkey), "hex": signer.pubkey})
        cases.append({"prefix": "nsec", "text": encode_nsec(signer.secret_bytes()), "hex": signer.secret_bytes().hex()})
    job = log.job.id
    cases.append({"prefix": "note", "text": encode_note(job), "hex": job})
    npub, nsec = cases[0]["text"], cases[1]["text"]
    return {
        "description": f"NIP-19 names; the first three are the NIP's own, {TEST_KEYS}.",
        "cases": cases,
        "invalid": [
            {"prefix": "npub", "text": nsec, "reason": "an nsec where an npub belongs"},
            {"prefix": "nsec", "text": npub, "reason": "an npub where an nsec belongs"},
            {"prefix": "npub", "text": npub[:-1], "reason": "cut short"},
            {"prefix": "npub", "text": npub[:-1] + ("q" if npub[-1] != "q" else "p"), "reason": "a wrong checksum"},
            {"prefix": "npub", "text": npub[:6].upper() + npub[6:], "reason": "mixed case"},
            {"prefix": "npub", "text": npub[:10] + "b" + npub[11:], "reason": "b is not in bech32's alphabet"},
            {"prefix": "npub", "text": encode_npub("00" * 31), "reason": "31 bytes"},
            {"prefix": "npub", "text": encode_npub("00" * 33), "reason": "33 bytes"},
            {"prefix": "npub", "text": encode_npub(published.OFF_CURVE), "reason": "not on the curve"},
            {"prefix": "nprofile", "text": npub, "reason": "an npub where an nprofile belongs"},
        ],
    }


def targets(log: ExampleLog) -> Json:
    difficulties = [Fraction(n) for n in (1, 2, 3, 7, 512, 1000, 65535, 65536, 10**6, 10**9, 10**15, 2**53 - 1, 2**208)]
    difficulties += [Fraction(1, 2**k) for k in (1, 7, 8, 13, 16, 20, 31, 32)]
    canonical = [0x01010000, 0x017F0000, 0x02008000, 0x03008000, 0x1D00FFFF, 0x207FFFFF, 0x2100FFFF, 0x1705AE3A]
    return {
        "description": "Stratum difficulties as share_bits; compact bits as target and work. target is hex, a number.",
        "cases": [
            {
                "difficulty": str(d),
                "share_bits": f"{share_bits_from_difficulty(d):08x}",
                "work": str(work_from_bits(share_bits_from_difficulty(d))),
            }
            for d in difficulties
        ],
        "bits": [
            {"bits": f"{b:08x}", "target": f"{target_from_bits(b):064x}", "work": str(work_from_bits(b))}
            for b in canonical
        ],
        "invalid": [
            {"bits": "00000000", "reason": "the target is 0"},
            {"bits": "1d000000", "reason": "the mantissa is 0"},
            {"bits": "1d007fff", "reason": "the mantissa is below 008000"},
            {"bits": "1d800000", "reason": "the sign bit is set"},
            {"bits": "1dffffff", "reason": "the sign bit is set"},
            {"bits": "01010001", "reason": "bits of the mantissa fall off below"},
            {"bits": "00010000", "reason": "bits of the mantissa fall off below"},
            {"bits": "02008001", "reason": "bits of the mantissa fall off below"},
            {"bits": "21010000", "reason": "the target is 2^256"},
            {"bits": "22008000", "reason": "the target is beyond 2^256"},
            {"bits": "ff7fffff", "reason": "the target is beyond 2^256"},
        ],
        "invalid_difficulties": ["0", "-1", "3/2", "1/3", str(Fraction(1, 2**33)), "3/4", str(2**208 + 1)],
    }


def binding_file(log: ExampleLog) -> Json:
    job = log.job
    plain = [("11" * 32, "22" * 32, 0x1D00FFFF), ("00" * 32, "22" * 32, 0x2100FFFF)]
    plain += [(job.id, miner, bits) for miner in (key(4).pubkey, key(5).pubkey) for bits in (0x1D00FFFF, 0x1B7FFF80)]
    shares = []
    for record in log.records:
        bound = log.bound[record.session]
        header = bound.header(record.extranonce2, record.ntime, record.nonce, record.version)
        shares.append(
            {
                "job": job.id,
                "miner": bound.miner,
                "share_bits": f"{bound.share_bits:08x}",
                "coinb1": job.coinb1.hex(),
                "extranonce1": bound.extranonce1.hex(),
                "extranonce2": record.extranonce2.hex(),
                "coinb2": job.coinb2.hex(),
                "merkle": [branch.hex() for branch in job.merkle],
                "prevhash": job.prevhash.hex(),
                "nbits": f"{job.nbits:08x}",
                "ntime": record.ntime,
                "nonce": record.nonce,
                "version": record.version,
                "binding": bound.binding.hex(),
                "coinbase": bound.coinbase(record.extranonce2).hex(),
                "header": header.hex(),
                "hash": sha256d(header).hex(),
            }
        )
    return {
        "description": "The binding, and shares from the job to the hash (hash in serialisation order).",
        "cases": [
            {
                "job": j,
                "miner": m,
                "share_bits": f"{b:08x}",
                "binding": binding(bytes.fromhex(j), bytes.fromhex(m), b).hex(),
            }
            for j, m, b in plain
        ],
        "shares": shares,
        "invalid": [
            {"job": "11" * 31, "miner": "22" * 32, "share_bits": "1d00ffff", "reason": "a job id of 31 bytes"},
            {"job": "11" * 32, "miner": "02" + "22" * 32, "share_bits": "1d00ffff", "reason": "a key of 33 bytes"},
        ],
    }


def coinbase(log: ExampleLog) -> Json:
    job = log.job
    good1, good2 = job.coinb1.hex(), job.coinb2.hex()
    heights = (1, 16, 17, 127, 128, 255, 256, 32767, 32768, 840_000, 8_388_607, 8_388_608, 2**31 - 1)

    def case(coinb1: str, coinb2: str, height: int, reason: str) -> Json:
        return {"coinb1": coinb1, "coinb2": coinb2, "height": height, "reason": reason}

    hidden = bytes(job.coinb1[:41]) + bytes([len(log.prefix) + 46]) + log.prefix + b"\x00\x2b"
    bare = bytes(job.coinb1[:41]) + bytes([len(log.prefix) + 46]) + log.prefix + b"\xac\x2c"
    lone = bytes(job.coinb1[:41]) + bytes([len(log.prefix) + 47]) + log.prefix + b"\x4d\x00\x2c"
    return {
        "description": "BIP 34 heights, and the coinbase's one shape.",
        "heights": [{"height": h, "push": push_height(h).hex()} for h in heights],
        "cases": [
            {
                "version": version,
                "height": height,
                "prefix": prefix.hex(),
                "outputs": [[o.value, o.script.hex()] for o in log.outputs],
                "coinb1": build_coinb1(version, prefix).hex(),
                "coinb2": build_coinb2(log.outputs).hex(),
                "value_sat": sum(o.value for o in parse_outputs(build_coinb2(log.outputs))),
            }
            for version, height, prefix in (
                (2, job.height, log.prefix),
                (1, 1, push_height(1) + b"\x00"),
                (2, 840_000, push_height(840_000)),
                (2, 840_000, push_height(840_000) + b"\x32" + b"n" * 50),
            )
        ],
        "invalid": [
            case(good1, good2, job.height + 1, "another height"),
            case(good1[:-2] + "2b", good2, job.height, "the closing push is not of 44 bytes"),
            case(good1[:82] + f"{int(good1[82:84], 16) + 1:02x}" + good1[84:], good2, job.height, "scriptSig too long"),
            case(good1[:8] + "02" + good1[10:], good2, job.height, "two inputs"),
            case(good1[:10] + "01" + good1[12:], good2, job.height, "the input is not null"),
            case(good1[:74] + "fe" + good1[76:], good2, job.height, "the input's index is not ffffffff"),
            case(good1[:60], good2, job.height, "coinb1 is cut short"),
            case(hidden.hex(), good2, job.height, "the closing push does not hold all 44 bytes"),
            case(bare.hex(), good2, job.height, "an opcode that is no push stands before the binding"),
            case(lone.hex(), good2, job.height, "OP_PUSHDATA2 stands before the binding"),
            case(good1, good2 + "00", job.height, "a byte after the locktime"),
            case(good1, good2[:-2], job.height, "the locktime is cut short"),
            case(good1, "ffffffff" + "00" + "00000000", job.height, "no outputs"),
            case(good1, "ffffffff" + "fd0100" + good2[10:], job.height, "a length not in its shortest form"),
            case(good1, "ffffffff" + "01" + "ff" * 8 + "0151" + "00000000", job.height, "more than all bitcoin"),
        ],
    }


def share_record(log: ExampleLog) -> Json:
    raw = parse_receipt(log.events["receipt"]).shares
    return {
        "description": "The 28-byte records of a receipt's column, one share each.",
        "cases": [
            {**record._asdict(), "extranonce2": record.extranonce2.hex(), "record": record.pack().hex()}
            for record in log.records
        ],
        "column": base64.b64encode(raw).decode(),
        "invalid": [
            {"base64": base64.b64encode(raw).decode().rstrip("=") + "=" * 3, "reason": "wrong padding"},
            {"base64": base64.b64encode(raw[:-1]).decode(), "reason": "the last record is cut short"},
            {"base64": base64.b64encode(raw).decode().replace("A", "-", 1), "reason": "the URL alphabet"},
        ],
    }


def job(log: ExampleLog) -> Json:
    made = Breaker(log.events["job"], EDGE)
    made.common()
    made.set("ms", log.job.ms + 1000, "created_at is not the ms in seconds")
    made.set("ms", "1767225630500", "ms is a string")
    made.set("terms", "00" * 31, "a short terms id")
    made.set("heads", {"65536": ""}, "a lane beyond u16")
    made.set("heads", {"00": ""}, "a lane with a leading zero")
    made.set("heads", {"0": None}, "a head that is null")
    made.set("height", 0, "height 0")
    made.set("prevhash", log.job.prevhash.hex().upper(), "upper case hex")
    made.set("nbits", 0x207FFFFF, "nbits as a number")
    made.set("nbits", "0x207fff", "nbits with 0x")
    made.set("version", 1 << 32, "version beyond u32")
    made.set("ntime", -1, "a negative ntime")
    made.set("coinb1", "0", "half a byte")
    made.set("merkle", ["00" * 32] * 33, "33 branches")
    made.set("merkle", ["00" * 31], "a short branch")
    made.set("bind_size", 16, "another bind_size without an upstream")
    made.set("en1_size", 8, "another en1_size without an upstream")
    made.set("en2_size", 4, "another en2_size without an upstream")
    made.set("upstream", None, "upstream is null")
    made.content("no offer", lambda fields: fields.pop("offer"))
    return _event_file("4211, job", [log.events["job"]], made)


def receipt(log: ExampleLog) -> Json:
    made = Breaker(log.events["receipt"], EDGE)
    made.common()
    made.link()
    session = [0, "rig-1", "00000001", "1f3fffc0"]
    sessions = json.loads(made.event.content)["sessions"]
    for index, value, reason in (
        (0, 2, "a miner without a p tag"),
        (1, "a b", "a worker's name with a space"),
        (1, "x" * 33, "a worker's name too long"),
        (2, "0001", "a short extranonce1"),
        (3, "1f7fff", "share_bits of 3 bytes"),
        (3, "1f007fff", "share_bits not in canonical form"),
    ):
        broken = [*session[:index], value, *session[index + 1 :]]
        made.set("sessions", [broken, *sessions[1:]], reason)
    made.set("sessions", sessions[:2], "a share of a session that is not there")
    for reason, change in (
        ("a share of a job that is not there", {"job": 1}),
        ("an unknown status", {"status": 6}),
        ("a share after the window's end", {"ms": 8217}),
    ):
        records = [*log.records[:-1], log.records[-1]._replace(**change)]
        made.set("shares", base64.b64encode(b"".join(r.pack() for r in records)).decode(), reason)
    backwards = base64.b64encode(b"".join(r.pack() for r in reversed(log.records))).decode()
    made.set("shares", backwards, "shares not in time order")
    made.set("shares", "AAA", "base64 without padding")
    made.set("rejects", [[3, 23, 1]], "a reject of a session that is not there")
    made.set("rejects", [[0, 23]], "a reject without a count")
    made.tag("no lane", "lane")
    made.tag("a lane beyond u16", "lane", ("lane", "65536"))
    made.tag("a window without an end", "window", ("window", "1767225630000"))
    made.tag("an empty window", "window", ("window", "1767225638217", "1767225638217"))
    made.tag("a window of 2^32 ms", "window", ("window", "1762930671000", "1767225638296"))
    made.tag("the shares tag does not count the records", "shares", ("shares", "5"))
    made.tag("work with a sign", "work", ("work", "+18432"))
    made.tag("a miner twice", "p", *[tag for tag in made.event.tags if tag[0] == "p"][:1] * 2)
    made.tag("a job twice", "e", *[tag for tag in made.event.tags if tag[0] == "e"] * 2)
    made.tag("another fin", "fin", ("fin", "0"))
    made.sign("dated before its window's end", made.event.tags, made.event.content, created_at=1767225638)
    return _event_file("4212, share receipt", [log.events["empty_receipt"], log.events["receipt"]], made)


def block(log: ExampleLog) -> Json:
    made = Breaker(log.events["block"], EDGE)
    made.common()
    made.set("header", log.block.header[:-1].hex() + "00", "the header does not hash to the block")
    made.set("header", log.block.header[:-1].hex(), "a short header")
    made.set("block", log.block.block.upper(), "upper case hex")
    made.set("height", 2**31, "height beyond 2^31 - 1")
    made.set("merkle", "", "merkle is not an array")
    made.set("coinbase", None, "no coinbase")
    made.tag("no finder", "p")
    made.tag("no receipt", "e")
    made.tag("a receipt without its mark", "e", ("e", log.block.receipt))
    made.tag("no index", "share")
    made.tag("a negative index", "share", ("share", "-1"))
    return _event_file("4213, block found", [log.events["block"]], made)


def terms(log: ExampleLog) -> Json:
    made = Breaker(log.events["terms"], POOL_KEY)
    made.common()
    made.link()
    made.set("offers", {}, "no offers")
    for name, value, reason in (
        ("scheme", "ppps", "an unknown scheme"),
        ("fee_ppm", 1_000_001, "a fee above the reward"),
        ("window_milli", -1, "a negative window"),
        ("window_min_work", 9000, "work as a number"),
        ("window_max_ms", "0", "ms as a string"),
    ):
        made.content(reason, lambda fields, n=name, v=value: fields["offers"]["main"].update({n: v}))
    made.set("keys", [[EDGE.pubkey, "miner"]], "an unknown role")
    made.set("keys", [[published.OFF_CURVE, "edge"]], "a key that is not on the curve")
    made.set("closed", {f"{EDGE.pubkey}/0": [0]}, "a closed chain without its last id")
    made.content("a limit is missing", lambda fields: fields["limits"].pop("anchor_ms"))
    made.content("block_bits not canonical", lambda fields: fields["limits"].update(block_bits="1d007fff"))
    made.content("easiest_bits as a number", lambda fields: fields["limits"].update(easiest_bits=1))
    made.content("someone else bears the fee", lambda fields: fields["payouts"].update(network_fee="nobody"))
    made.content("relays are not strings", lambda fields: fields["log"].update(relays=[1]))
    made.tag("block_bits on main", "a", ("a", made.event.tags[0][1].replace("regtest", "main")))
    return _event_file("4210, terms", [log.events["terms"]], made)


def statement(log: ExampleLog) -> Json:
    made = Breaker(log.events["statement"], ACCOUNTING)
    made.common()
    made.link()
    miners = [tag for tag in made.event.tags if tag[0] == "p"]
    made.tag("miners not sorted", "p", *reversed(miners))
    made.tag("a miner twice", "p", miners[0], miners[0])
    made.tag("a miner without a row", "p", *miners, ("p", "ff" * 32))
    made.set("rows", [], "no row for a miner")
    made.set("rows", [["1", 1, 1], ["1", 1]], "a row of three")
    made.set("rows", [[1, 1], ["1", 1]], "work as a number")
    made.set("rows", [["1", -1], ["1", 1]], "a negative amount")
    made.set("parts", 1, "a statement in parts")
    made.content("an unknown type of reward", lambda fields: fields["reward"].update(type="gift"))
    made.content("a float amount", lambda fields: fields["reward"].update(gross_msat=1.5))
    made.content("a head without an id", lambda fields: fields["window"].update(heads={f"{EDGE.pubkey}/0": [1]}))
    made.content("no window", lambda fields: fields.pop("window"))
    return _event_file("4214, reward statement", [log.events["statement"]], made)


def payout(log: ExampleLog) -> Json:
    made = Breaker(log.events["payout"], ZAPPER)
    made.common()
    made.link()
    made.set("method", "cash", "an unknown method")
    made.set("amount_msat", 0, "nothing is paid")
    made.set("amount_msat", -1, "a negative amount that reverses nothing")
    made.set("reverses", "00000000", "a positive amount that reverses a payout")
    made.set("network_fee_msat", -1, "a negative fee")
    made.set("miner", key(9).pubkey, "the p tag names another miner")
    made.set("proof", [], "a proof that is not an object")
    made.set("to", "", "no destination")
    made.set("payout_id", 1, "the payout's name is a number")
    made.tag("no p tag", "p")
    return _event_file("4215, payout record", [log.events["payout"]], made)


def merkle(log: ExampleLog) -> Json:
    leaves = [sha256d(f"noncestr test leaf {n}".encode()) for n in range(4)]
    cases = [
        {
            "leaf": leaves[0].hex(),
            "branches": [leaf.hex() for leaf in leaves[1 : 1 + n]],
            "root": merkle_fold(leaves[0], leaves[1 : 1 + n]).hex(),
        }
        for n in range(4)
    ]
    header = bytes.fromhex(published.GENESIS_HEADER)
    return {
        "description": "merkle_fold over branches; headers taken apart. Hashes in serialisation order, block as RPC.",
        "cases": [*cases, published.PUBLIC_POOL_MERKLE],
        "headers": [
            {
                "header": data.hex(),
                "version": f"{version:08x}",
                "prevhash": prevhash.hex(),
                "merkle_root": root.hex(),
                "ntime": ntime,
                "nbits": f"{nbits:08x}",
                "nonce": nonce,
                "block": display(sha256d(data)),
            }
            for data in (header, bytes.fromhex(published.PUBLIC_POOL_HEADER), log.block.header)
            for version, prevhash, root, ntime, nbits, nonce in [parse_header(data)]
        ],
        "invalid": [
            {
                "leaf": leaves[0].hex(),
                "branches": [leaves[2].hex(), leaves[1].hex()],
                "root": merkle_fold(leaves[0], leaves[1:3]).hex(),
                "reason": "the branches in another order",
            }
        ],
    }


FILES: dict[str, Callable[[ExampleLog], Json]] = {
    "nip01": nip01,
    "nip19": nip19,
    "targets": targets,
    "binding": binding_file,
    "coinbase": coinbase,
    "share_record": share_record,
    "job": job,
    "receipt": receipt,
    "block": block,
    "terms": terms,
    "statement": statement,
    "payout": payout,
    "merkle": merkle,
}


def render(value: Json) -> str:
    """A vector file's text."""
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _pretty(text: str) -> str:
    """A content, spread over lines for readers: the same JSON."""
    return json.dumps(json.loads(text), indent=1, ensure_ascii=False)


def examples(log: ExampleLog) -> dict[str, str]:
    """The fenced blocks of SPEC.md by their names."""
    out = {name: encode_event(event).decode() for name, event in log.events.items()}
    for name in ("terms", "job", "statement"):
        out[f"{name}_content"] = _pretty(log.events[name].content)
    share = binding_file(log)["shares"][-1]
    record = log.records[-1]
    raw = record.pack().hex()
    cuts = (("session", 0, 4), ("job", 4, 6), ("status", 6, 8), ("ms", 8, 16), ("ntime", 16, 24))
    cuts += (("nonce", 24, 32), ("version", 32, 40), ("extranonce2", 40, 56))
    decoded = [f"{r.pack().hex()}  " + _fields(r._asdict()) for r in log.records]
    out["records"] = "\n".join(decoded)
    out["record"] = "\n".join(f"{name:12} {raw[a:b]:16} {_field(getattr(record, name))}" for name, a, b in cuts)
    names = ("job", "miner", "share_bits", "binding", "coinb1", "extranonce1", "extranonce2", "coinb2", "coinbase")
    out["share"] = "\n".join(f"{name:12} {share[name]}" for name in (*names, "header", "hash"))
    e = log.events["terms"]
    out["serialized"] = serialize(e.pubkey, e.created_at, e.kind, e.tags, e.content).decode()
    assert event_id(e.pubkey, e.created_at, e.kind, e.tags, e.content).hex() == e.id
    roles = ("pool", "edge", "accounting", "zapper", "miner", "miner", "miner", "the miner's wallet")
    out["keys"] = "\n".join(f"{n}  {role:18}  {key(n).pubkey}" for n, role in enumerate(roles))
    return out


def _field(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _fields(values: Json) -> str:
    return " ".join(f"{name}={_field(value)}" for name, value in values.items())


BLOCK = re.compile(r"<!-- example: (\w+) -->\n```(\w*)\n(.*?)\n```", re.DOTALL)


def fill(spec: str, blocks: dict[str, str]) -> str:
    """SPEC.md with its examples put in."""
    return BLOCK.sub(lambda m: f"<!-- example: {m[1]} -->\n```{m[2]}\n{blocks[m[1]]}\n```", spec)


def main() -> None:
    """Write the vectors and SPEC.md's examples."""
    log = ExampleLog()
    for name, make in FILES.items():
        (HERE / f"{name}.json").write_text(render(make(log)))
    SPEC.write_text(fill(SPEC.read_text(), examples(log)))


if __name__ == "__main__":
    main()
