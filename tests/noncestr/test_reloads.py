"""What SIGHUP changes, and what it only warns of."""

from dataclasses import replace

import pytest

from noncestr.config.sections import Config, EdgeSection, LogConfig, StratumConfig, TermsConfig
from noncestr.reloads import reloaded, warn_of_restart

BEFORE = replace(Config(), edge=EdgeSection(workers=2))


def test_ports_limits_log_and_further_edges_are_gone_by(caplog: pytest.LogCaptureFixture) -> None:
    after = replace(
        BEFORE, stratum=StratumConfig(port=3400, strikes=9), log=LogConfig(level="debug"),
        edge=EdgeSection(workers=2, keys=("npub",), closed=("npub/1",), close_silent=True),
    )  # fmt: skip
    assert reloaded(BEFORE, after) == after
    warn_of_restart(BEFORE, after)
    assert caplog.text == ""


def test_the_rest_waits_for_a_restart_and_is_said(caplog: pytest.LogCaptureFixture) -> None:
    after = replace(
        BEFORE, stratum=StratumConfig(pool_tag="/other/"), edge=EdgeSection(workers=4), terms=TermsConfig(fee_ppm=1)
    )
    assert reloaded(BEFORE, after) == BEFORE
    warn_of_restart(BEFORE, after)
    assert "[stratum], [edge], [terms]" in caplog.text
