"""Signals: stop, read again; errors an operator can mend become one sentence."""

import os
import signal

import anyio
import pytest

from noncestr.config.sections import Config
from noncestr.errors import ConfigError, NoncestrError
from noncestr.lifetime import run_until_signal
from stratum_edge.errors import PortUnavailable

pytestmark = pytest.mark.anyio


async def until(ready) -> None:
    with anyio.fail_after(5):
        while not ready():  # noqa: ASYNC110 - a signal comes when the system gives it
            await anyio.sleep(0.01)


async def test_sighup_reads_again_and_a_mistake_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    taken: list[Config] = []
    bad: list[Exception] = [
        ConfigError(("[web] port = 99999: must lie between 0 and 65535",)), PortUnavailable("port tls is busy"),
    ]  # fmt: skip

    def reread() -> Config:
        if len(bad) == 2:
            raise bad.pop(0)
        return Config()

    async def reload(config: Config) -> None:
        if bad:
            raise ExceptionGroup("", [bad.pop()])
        taken.append(config)

    async def run(stopped) -> None:
        for says in ("must lie between", "port tls is busy", "was read again"):
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda says=says: says in caplog.text)
        os.kill(os.getpid(), signal.SIGTERM)
        await stopped()

    with anyio.fail_after(10):
        await run_until_signal(run, reload, reread)
    assert taken == [Config()]
    assert caplog.text.count("nothing was changed") == 2


async def test_what_an_operator_can_mend_is_one_sentence_and_the_rest_a_fault() -> None:
    async def never(config: Config) -> None:
        raise AssertionError

    async def busy(stopped) -> None:
        raise ExceptionGroup("", [PortUnavailable("port main is busy"), OSError("the disk is full")])

    async def broken(stopped) -> None:
        raise ExceptionGroup("", [PortUnavailable("port main is busy"), KeyError("ours")])

    with pytest.raises(NoncestrError, match="port main is busy; the disk is full"):
        await run_until_signal(busy, never, Config)
    with pytest.raises(ExceptionGroup) as raised:
        await run_until_signal(broken, never, Config)
    assert raised.group_contains(KeyError)


async def test_two_sighups_are_taken_one_after_the_other(caplog: pytest.LogCaptureFixture) -> None:
    """The second begins when the first is through, though it came meanwhile."""
    steps: list[str] = []
    go_on = anyio.Event()

    async def reload(config: Config) -> None:
        steps.append("begun")
        await go_on.wait()
        steps.append("done")

    async def run(stopped) -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: steps == ["begun"])
        os.kill(os.getpid(), signal.SIGHUP)
        for _ in range(20):
            await anyio.sleep(0.01)
            assert steps == ["begun"]
        go_on.set()
        await until(lambda: caplog.text.count("was read again") == 2)
        os.kill(os.getpid(), signal.SIGTERM)
        await stopped()

    with anyio.fail_after(30):
        await run_until_signal(run, reload, Config)
    assert steps == ["begun", "done"] * 2
