"""SPEC.md and the vectors say what the code does."""

import hashlib
import json
import re

from nips.bolt11 import decode_invoice
from nips.nip01 import decode_event, encode_event, verify
from nips.pool import kinds
from tests.vectors.make import BLOCK, FILES, HERE, SPEC, examples, fill, render

SHOWN = {
    "keys", "terms_content", "terms", "empty_receipt", "job_content", "job", "share", "receipt", "records", "record",
    "block", "last_receipt", "split", "statement_content", "statement", "status", "payout", "announcement", "balance",
    "pool_statistics", "funds", "miner_statistics", "summary_content", "summary", "archive_content", "archive",
}  # fmt: skip


def test_the_vectors_are_what_the_code_makes(log):
    assert len(FILES) == 22
    for name, make in FILES.items():
        assert (HERE / f"{name}.json").read_text() == render(make(log)), f"{name}.json is stale: run tests.vectors.make"


def test_the_examples_are_what_the_code_makes(log):
    text, made = SPEC.read_text(), examples(log)
    found = {match[1]: match[3] for match in BLOCK.finditer(text)}
    assert set(found) == SHOWN
    assert text.count("<!-- example:") == len(SHOWN)
    for name, block in found.items():
        assert block == made[name], f"the example {name} is stale: run tests.vectors.make"
    assert fill(text, made) == text


def test_the_examples_verify():
    """Every event shown has its id and signature, and its content shown at length is its content."""
    found = {match[1]: (match[2], match[3]) for match in BLOCK.finditer(SPEC.read_text())}
    events = {name: text for name, (form, text) in found.items() if form == "json" and not name.endswith("_content")}
    assert len(events) == 16
    for name, text in events.items():
        event = verify(decode_event(text))
        assert encode_event(event).decode() == text
        if f"{name}_content" in found:
            assert json.loads(found[f"{name}_content"][1]) == json.loads(event.content)


def test_the_example_payment_is_one(log):
    proof = log.payout.proof
    invoice = decode_invoice(proof["bolt11"])
    assert hashlib.sha256(bytes.fromhex(proof["preimage"])).hexdigest() == invoice.payment_hash
    assert invoice.amount_msat == log.payout.amount_msat
    request = json.dumps(proof["zap_request"], separators=(",", ":"), ensure_ascii=False)
    assert verify(decode_event(request)).pubkey == log.events["payout"].pubkey
    assert invoice.description_hash == hashlib.sha256(request.encode()).hexdigest()


def test_the_kinds_are_the_specs():
    rows = re.findall(r"^\| (\d{4,5}) \| (.*?) \| (.*?) \|", SPEC.read_text(), re.MULTILINE)
    in_code = {value for name, value in vars(kinds).items() if name.isupper() and type(value) is int}
    assert {int(number) for number, _, _ in rows} == in_code
    assert len(rows) == 17
    signers = {int(number): signer for number, _, signer in rows}
    assert {number for number, signer in signers.items() if signer == "miner"} == kinds.MINER_KINDS
    assert {number for number, signer in signers.items() if number > 30000 and signer != "miner"} == kinds.VIEW_KINDS
