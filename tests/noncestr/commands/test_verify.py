"""`noncestr verify`: every option reaches the audit, and its verdict is the exit status."""

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from noncestr.commands.verify import MAX_JOBS, verify
from noncestr.verify import run as audit
from noncestr.verify.run import Asked


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """What was asked; the audit itself finds something contradicted."""
    found: list[Asked] = []

    async def run_verify(one: Asked) -> int:
        found.append(one)
        return 1

    monkeypatch.setattr(audit, "run_verify", run_verify)
    return found


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(verify)
    return CliRunner().invoke(app, list(arguments))


def test_the_verdict_is_the_exit_status_and_a_pool_is_all_it_needs(asked: list[Asked]) -> None:
    assert run("--pool", "npub1x").exit_code == 1
    (one,) = asked
    assert (one.pool, one.relays, one.network, one.jobs, one.timeout_s) == ("npub1x", "", "regtest", 1, 30)
    assert not any((one.json, one.watch, one.archives, one.mints, one.mint_keys, one.checkpoint, one.headers))
    assert run().exit_code == 2


def test_every_option_reaches_the_audit(asked: list[Asked]) -> None:
    options: dict[str, tuple[str, Any]] = {
        "relays": ("--relay", "ws://a,ws://b"), "pool": ("--pool", "p"), "network": ("--network", "signet"),
        "since": ("--since", "36h"), "timeout_s": ("--timeout", 5), "jobs": ("--jobs", 3),
        "checkpoint": ("--checkpoint", Path("c")), "npub": ("--npub", "n"), "record": ("--record", Path("r")),
        "headers": ("--headers", Path("h")), "headers_from": ("--headers-from", 9),
        "bitcoin_rpc": ("--bitcoin-rpc", "http://u:p@h:1"), "bitcoin_cookie": ("--bitcoin-cookie", Path("k")),
        "html": ("--html", Path("report.html")),
    }  # fmt: skip
    many = {"archives": ("--archive", Path), "mints": ("--mint", str), "mint_keys": ("--mint-keys", Path)}
    line = [str(part) for option in options.values() for part in option]
    for option, _ in many.values():
        line += [option, "one", option, "two"]
    run(*line, "--json", "--watch")
    (one,) = asked
    for name, (_, value) in options.items():
        assert getattr(one, name) == value, name
    for name, (_, kind) in many.items():
        assert getattr(one, name) == (kind("one"), kind("two")), name
    assert (one.json, one.watch) == (True, True)
    told = {*options, *many, "json", "watch"}
    # The clock is nobody's to give.
    assert {each.name for each in fields(Asked)} - told == {"now_ms"}


@pytest.mark.parametrize(("given", "wanted"), [("0", min(os.cpu_count() or 1, MAX_JOBS)), (str(MAX_JOBS), MAX_JOBS)])
def test_no_number_of_processes_is_one_for_each_core(asked: list[Asked], given: str, wanted: int) -> None:
    run("--pool", "p", "--jobs", given)
    assert asked[0].jobs == wanted


@pytest.mark.parametrize(
    "wrong", [("--jobs", "-1"), ("--jobs", str(MAX_JOBS + 1)), ("--timeout", "0"), ("--headers-from", "-1")]
)
def test_what_cannot_be_is_refused_before_anything_is_read(asked: list[Asked], wrong: tuple[str, str]) -> None:
    assert run("--pool", "p", *wrong).exit_code == 2
    assert asked == []
