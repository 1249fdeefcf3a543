"""User agents as firmwares really send them, and what each can take."""

import pytest

from stratum_edge.agents import AGENTS, UNKNOWN, habits_of


@pytest.mark.parametrize(
    ("agent", "shows", "coinbase", "branches"),
    [
        ("cpuminer/2.5.1", True, 6500, 32),
        ("cgminer/4.11.1", True, 750, 32),
        ("bmminer/2.0.0", True, 750, 32),
        ("bfgminer/5.5.0", True, 6500, 32),
        ("Antminer S21/Thu Oct  9 17:56:18 CST 2025", False, 2250, 32),
        ("Antminer S19/1.0", False, 750, 32),
        ("2026-05-27-0-db3ed535-26.06-plus;bosminer-plus-tuner 0.9.0-db3ed535", False, 2250, 32),
        ("whatsminer/v1.0", False, 6500, 32),
        ("bitaxe/BM1370/v2.12.2", False, 6500, 20),
        ("PowerPlay-BMS/1.24.0", False, 16_000, 32),
        ("xminer-1.2.7", False, 16_000, 32),
        ("NerdMinerV2/1.8", False, 750, 32),
        ("", False, 750, 32),
        (" BITAXE", False, 6500, 20),
        ("not-cgminer/4", False, 750, 32),
    ],
)
def test_known_and_unknown_agents(agent, shows, coinbase, branches):
    assert habits_of(agent) == (shows, coinbase, branches)


def test_the_unknown_are_treated_with_the_most_caution():
    assert UNKNOWN.largest_coinbase == min(habits.largest_coinbase for _, habits in AGENTS)
    assert not UNKNOWN.shows_messages
    assert all(pattern == pattern.lower() for pattern, _ in AGENTS)
