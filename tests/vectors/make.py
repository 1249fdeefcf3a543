"""Writes the vectors (*.json here) and the examples in SPEC.md out of the code: `python -m tests.vectors.make`.

The tests compare what lies in the tree with what this would write, so neither can go stale.
"""

import base64
import json
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from nips.nip01 import UnsignedEvent, encode_event, serialize
from nips.nip19 import encode_note, encode_npub, encode_nsec
from nips.pool.binding import binding
from nips.pool.coinbase import build_coinb1, build_coinb2, parse_outputs, push_height
from nips.pool.hashing import display, merkle_fold, parse_header, sha256d
from nips.pool.receipt import parse_receipt
from nips.pool.targets import share_bits_from_difficulty, target_from_bits, work_from_bits
from tests.vectors import ecash_file, lasting_events, loyalty_file, pool_events, published
from tests.vectors.example_log import ExampleLog, key
from tests.vectors.pool_events import TEST_KEYS, Json, wire

HERE = Path(__file__).parent
SPEC = HERE.parents[1] / "nips" / "pool" / "SPEC.md"


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
    "job": pool_events.job,
    "receipt": pool_events.receipt,
    "block": pool_events.block,
    "terms": pool_events.terms,
    "statement": pool_events.statement,
    "statement_forms": pool_events.statement_forms,
    "statement_part": pool_events.statement_part,
    "settings_part": pool_events.settings_part,
    "attestation_part": pool_events.attestation_part,
    "payout": pool_events.payout,
    "summary": lasting_events.summary,
    "summary_part": lasting_events.summary_part,
    "archive": lasting_events.archive,
    "merkle": merkle,
    "ecash": ecash_file.ecash,
    "loyalty": loyalty_file.loyalty,
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
    for name in ("terms", "job", "statement", "summary", "archive"):
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
    out["split"] = "\n".join(log.split)
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
