"""Both verifiers on one log with payouts in ecash: locked to miners, nutzapped, and altered at random."""

import importlib.util
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nips.pool.payout import PayoutBody
from tests.client_web.told_logs import AFTER_MS, ROOT, Told, codes, judge_logs
from tests.vectors.ecash_file import INFO, TestMint, info_of, nutzap, token

ALTERED = 120
PAID_MSAT = 9000
PARTS = (1, 8)


@pytest.fixture(scope="session")
def stories() -> Any:
    """The builder of tests/accounting, whose conftest.py is not seen from here."""
    path = ROOT / "tests" / "accounting" / "conftest.py"
    spec = importlib.util.spec_from_file_location("accounting_story", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def flipped(value: Any, path: list[Any], chance: random.Random) -> Any:
    """The value with one bit of one leaf another, at random; `path` is told which."""
    if isinstance(value, dict):
        name = chance.choice(sorted(value))
        path.append(name)
        return {**value, name: flipped(value[name], path, chance)}
    if isinstance(value, list):
        at = chance.randrange(len(value))
        path.append(at)
        return [*value[:at], flipped(value[at], path, chance), *value[at + 1 :]]
    if isinstance(value, int):
        return value ^ (1 << chance.randrange(10))
    if not value:
        return "0"
    at = chance.randrange(len(value))
    if all(char in "0123456789abcdef" for char in value):
        return value[:at] + f"{int(value[at], 16) ^ (1 << chance.randrange(4)):x}" + value[at + 1 :]
    return value[:at] + chr(ord(value[at]) ^ (1 << chance.randrange(5))) + value[at + 1 :]


def tell(stories: Any, mint: TestMint) -> tuple[Told, dict[str, str]]:
    """A log of good payouts by each form, some paid twice, and altered ones; by payout what was altered."""
    chance = random.Random(61)
    alice = stories.tell_story().keys.alice
    info = info_of(alice, INFO)
    forms: list[tuple[str, str, str, Any]] = []
    for number in range(4):
        forms.append(("good token", "cashu", "00" * 32, token(mint, alice.pubkey, f"t{number}", PARTS)))
        forms.append(("good nutzap", "nutzap", info["id"], nutzap(mint, alice, info, f"n{number}", PARTS)))
    stranger = TestMint("stranger")
    forms.append(("another mint's token", "cashu", "00" * 32, token(stranger, alice.pubkey, "s", PARTS)))
    forged = token(stranger, alice.pubkey, "f", PARTS)
    forged["proofs"] = [{**row, "id": mint.keyset.id} for row in forged["proofs"]]
    forms.append(("forged keys", "cashu", "00" * 32, forged))
    forms.append(("the wallet's token", "cashu", "00" * 32, token(mint, "ab" * 32, "w", PARTS)))
    forms.append(("a token twice", "cashu", "00" * 32, forms[0][3]))
    forms.append(("a nutzap's name twice", "nutzap", info["id"], {**forms[1][3], "proofs": forms[3][3]["proofs"]}))
    for number in range(ALTERED):
        path: list[Any] = []
        if number % 2:
            proof = flipped(token(mint, alice.pubkey, f"at{number}", PARTS), path, chance)
            forms.append((f"token {path}", "cashu", "00" * 32, proof))
        else:
            proof = flipped(nutzap(mint, alice, info, f"an{number}", PARTS), path, chance)
            forms.append((f"nutzap {path}", "nutzap", info["id"], proof))

    def body(form: tuple[str, str, str, Any], number: int) -> Any:
        _, method, to, proof = form
        return lambda _: PayoutBody(f"ecash-{number}", alice.pubkey, PAID_MSAT, 0, to, method, proof)

    first = sum(label.startswith("payout ") for label in stories.tell_story().events)
    story = stories.tell_story({f"payout {first + n}": body(form, n) for n, form in enumerate(forms)})
    for number in range(len(forms)):
        story.zap(alice, PAID_MSAT, 70_000 + 1000 * number, receipt=False)
    told = {story.events[f"payout {first + n}"].id: form[0] for n, form in enumerate(forms)}
    return Told("ecash", story.pool, story.t0 + AFTER_MS, story.all()), told


def test_both_say_the_same_of_every_payout(stories: Any, node: str) -> None:
    mint = TestMint()
    log, told = tell(stories, mint)
    for files in ((), (mint.file(),)):
        log.mint_keys = files
        (ours,), theirs = judge_logs(node, [log]), log.audit()
        assert ours["payout_methods"] == theirs["payout_methods"]
        assert ours["payouts"] == theirs["payouts"]
        assert ours["miners"] == theirs["miners"]
        assert codes(ours["findings"], notes=True) == codes(theirs["findings"], notes=True)
        refuted = [
            {found["events"][0] for found in report["findings"] if found["code"] == "payout-proof"}
            for report in (ours, theirs)
        ]
        assert {told[each] for each in refuted[0] ^ refuted[1]} == set()
        assert ("forged keys" in {told[each] for each in refuted[0]}) is bool(files)
        good = {each for each, label in told.items() if label.startswith("good")}
        assert not good & refuted[0]
        assert len(refuted[0]) > ALTERED / 2
        twice = [
            {frozenset(found["events"]) for found in report["findings"] if found["code"] == "payout-twice"}
            for report in (ours, theirs)
        ]
        assert twice[0] == twice[1]
        assert len(twice[0]) >= 2
        assert ours["payouts"].get("proven", 0) >= (8 if files else 0)


def test_the_command_line_reads_the_file(stories: Any, node: str, tmp_path: Path) -> None:
    """Proven with the mint's keys, attested without; a file with another key is refused."""
    mint = TestMint()
    alice = stories.tell_story().keys.alice
    body = PayoutBody("ecash", alice.pubkey, PAID_MSAT, 0, "00" * 32, "cashu", token(mint, alice.pubkey, "t", PARTS))
    story = stories.tell_story({"payout 0": lambda _: body})
    log = json.loads(Told("", story.pool, 0, story.all()).line())
    path, keys, bad = tmp_path / "log.jsonl", tmp_path / "keys.json", tmp_path / "bad.json"
    path.write_text("".join(json.dumps(event) + "\n" for event in log["events"]))
    keys.write_text(mint.file())
    bad.write_text(mint.file().replace(mint.public[8], mint.public[1]))

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        line = [node, str(ROOT / "client_web" / "verify" / "cli.ts"), "--file", str(path), "--pool", log["pool"], *more]
        line += ["--network", log["network"], "--now", str(story.t0 + AFTER_MS)]
        return subprocess.run(line, capture_output=True, text=True, timeout=100, check=False)

    assert "payouts by cashu: 1 attested\n" in run().stdout
    assert "payouts by cashu: 1 proven\n" in run("--mint-keys", str(keys)).stdout
    for file in (bad, tmp_path / "none.json"):
        done = run("--mint-keys", str(file))
        assert (done.returncode, done.stdout) == (2, "")
        assert "keys" in done.stderr or "none.json" in done.stderr
