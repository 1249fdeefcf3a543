"""The command line as a person meets it: help, errors in one line, exit statuses."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from noncestr import __version__
from noncestr.cli import COMMANDS, command_line
from noncestr.config.example import example_toml
from noncestr.errors import NoncestrError

ROOT = Path(__file__).parents[2]
PUBKEY = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"


def run(tmp_path: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NONCESTR_")}
    return subprocess.run(
        [sys.executable, "-m", "noncestr", *words],
        cwd=tmp_path, env={**kept, "PYTHONPATH": str(ROOT), **env}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_version_and_help(tmp_path: Path) -> None:
    assert run(tmp_path, "--version").stdout == f"noncestr {__version__}\n"
    listed = run(tmp_path, "--help").stdout
    assert all(command in listed for command in ("up", "edge", "journal", "verify", "miner", "config"))


def test_config_example_and_check(tmp_path: Path) -> None:
    assert run(tmp_path, "config", "example").stdout == example_toml()
    (tmp_path / "noncestr.toml").write_text("[stratum]\nport = 0\n")
    assert run(tmp_path, "config", "check").stdout == "the configuration is fine\n"


@pytest.mark.parametrize(
    ("words", "env", "says"),
    [
        (("config", "check"), {"NONCESTR_WEB_PORT": "x"}, "NONCESTR_WEB_PORT = 'x': must be a whole number"),
        (("up", "--config", "none.toml"), {}, "cannot read none.toml"),
        (("verify", "--relay", "http://x", "--pool", "npub1"), {}, "--pool" ),
        (("verify", "--relay", "ws://127.0.0.1:1", "--pool", "nsec1qqqq"), {}, "secret key: keep it to yourself"),
        (("edge", "status"), {}, "no pool and no edge runs on data"),
        (("edge", "drain", "--data", "elsewhere"), {}, "no pool and no edge runs on elsewhere"),
        (("edge", "run", "--pool", "npub1nobody", "--relay", "ws://127.0.0.1:1"), {}, "--pool: "),
        (("edge", "run", "--pool", PUBKEY), {}, "--relay is missing"),
        (("edge", "run", "--pool", PUBKEY, "--relay", "http://x"), {}, "addresses that begin with ws://"),
        (("verify", "--pool", PUBKEY, "--relay", "ws://127.0.0.1:99999"), {}, "addresses that begin with ws://"),
        (("signer", "run", "--key", "pool.nsec", "--relay", "ws://"), {}, "addresses that begin with ws://"),
        (("up",), {"NONCESTR_RELAY_RELAYS": "wss://a:99999"}, "must hold ws:// or wss:// addresses"),
        (("edge", "bans", "list"), {}, "data is no folder of a pool"),
        (("terms", "risk", "--scheme", "pplsn"), {}, "there is no such scheme"),
        (("miner", "--url", "ftp://127.0.0.1:1", "--user", "x"), {}, "ftp"),
    ],
)  # fmt: skip
def test_an_error_is_one_message_and_no_traceback(
    tmp_path: Path, words: tuple[str, ...], env: dict[str, str], says: str
) -> None:
    done = run(tmp_path, *words, **env)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    if says != "--pool":
        assert says in done.stderr


def test_a_pool_that_cannot_start_says_why(tmp_path: Path) -> None:
    """A data folder whose journal belongs to another key: one line, status 2."""
    (tmp_path / "data" / "keys").mkdir(parents=True)
    (tmp_path / "data" / "keys" / "pool.nsec").write_text("nsec1broken")
    (tmp_path / "data" / "keys" / "pool.nsec").chmod(0o600)
    done = run(tmp_path, "up", "--no-demo")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "holds no nsec" in done.stderr
    assert "nsec1broken" not in done.stderr


# What some commands must be given; none of it exists.
GIVEN: dict[str, str] = {
    "lane": f"{PUBKEY}/0", "address": "a@example.com", "payout": "x", "amount": "5", "mint": "http://127.0.0.1:1",
    "npub": PUBKEY, "year": "2026", "out": "out", "name": "pool", "token": "bunker://x",
}  # fmt: skip
# These serve until they are stopped.
SERVING = {"up", "miner", "edge run", "edge lane", "accounting run", "pool run", "zapper run", "web run", "signer run"}


def leaves(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, inner in getattr(command, "commands", {}).items():
        yield from leaves(inner, (*words, name))
    if not hasattr(command, "commands"):
        yield words, command


def test_on_a_folder_of_nobody_every_command_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever --data leads: one message, status 2, and nothing is made there."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("NONCESTR_")]:
        monkeypatch.delenv(name)
    (tmp_path / "file").write_text("no folder")
    runner, tried = CliRunner(), 0
    for words, command in leaves(typer.main.get_command(command_line())):
        keys = {key.name: key for key in command.params}
        if "data" not in keys or " ".join(words) in SERVING:
            continue
        given = [(key.opts[0], GIVEN.get(key.name, "x")) for key in keys.values() if key.required]
        options = [word for option, value in given if option.startswith("-") for word in (option, value)]
        arguments = [value for option, value in given if not option.startswith("-")]
        for folder in ("nowhere", "file"):
            done = runner.invoke(command_line(), [*words, *options, "--data", folder, *arguments])
            assert isinstance(done.exception, NoncestrError), (words, folder, done.output)
            tried += 1
    assert tried > 50
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_every_command_is_listed_in_its_order_and_loads_alone() -> None:
    runner = CliRunner()
    listed = runner.invoke(command_line(), ["--help"]).stdout.partition("Commands:")[2]
    assert [line.split()[0] for line in listed.strip().splitlines()] == list(COMMANDS)
    for name in COMMANDS:
        alone = runner.invoke(command_line(name), [name, "--help"])
        assert (alone.exit_code, f"noncestr {name}" in alone.stdout) == (0, True), name


def test_a_miner_loads_nothing_of_the_pool(tmp_path: Path) -> None:
    """Many of them run on small machines; the pool's parts are some 60 MB."""
    probe = "import sys, noncestr.cli; noncestr.cli.command_line('miner'); "
    probe += "import noncestr.commands.mine; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert not {"accounting", "zapper", "relay_bridge", "client_web", "httpx"} & set(done.stdout.split())
