"""The command line as a person meets it: help, errors in one line, exit statuses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from noncestr import __version__
from noncestr.cli import COMMANDS, command_line
from noncestr.config_example import example_toml

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


def test_every_command_is_listed_in_its_order_and_loads_alone() -> None:
    runner = CliRunner()
    listed = runner.invoke(command_line(), ["--help"]).stdout.partition("Commands:")[2]
    assert [line.split()[0] for line in listed.strip().splitlines()] == list(COMMANDS)
    for name in COMMANDS:
        alone = runner.invoke(command_line(name), [name, "--help"])
        assert (alone.exit_code, f"noncestr {name}" in alone.stdout) == (0, True), name


def test_a_miner_loads_nothing_of_the_pool(tmp_path: Path) -> None:
    """Many of them run on small machines; the pool's parts are some 60 MB."""
    probe = "import sys, noncestr.cli; noncestr.cli.command_line('miner'); import noncestr.mine; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert not {"accounting", "zapper", "relay_bridge", "client_web", "httpx"} & set(done.stdout.split())
