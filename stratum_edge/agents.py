"""What firmwares can take, known by the user agent of `mining.subscribe`: a table, and a default for the unknown."""

from typing import Final, NamedTuple

# No miner known takes more merkle branches in a notify; 2^32 transactions are more than any block's.
MOST_BRANCHES: Final = 32
# Bytes of the whole coinbase without its witness, as the miner's firmware builds it. Stock Antminers hold about 750 and
# don't say so: the unknown are treated as one of them.
CAUTIOUS_COINBASE: Final = 750
ANTMINER_S21_COINBASE: Final = 2250
ROOMY_COINBASE: Final = 6500
LARGE_COINBASE: Final = 16_000


class Habits(NamedTuple):
    """`shows_messages`: `client.show_message` reaches its log or screen. Who does not know the method may drop the
    connection, so it is sent to none but these.
    """

    shows_messages: bool = False
    largest_coinbase: int = CAUTIOUS_COINBASE
    most_branches: int = MOST_BRANCHES


UNKNOWN: Final = Habits()
# The first that fits counts; the beginning of the agent in lower case, with "*" anywhere in it.
AGENTS: Final[tuple[tuple[str, Habits], ...]] = (
    ("antminer s21/", Habits(False, ANTMINER_S21_COINBASE)),
    ("*bosminer-plus-tuner", Habits(False, ANTMINER_S21_COINBASE)),
    ("whatsminer/", Habits(False, ROOMY_COINBASE)),
    # Its Stratum V2 takes no more than 20 branches; a block of a million transactions would need them.
    ("bitaxe", Habits(False, ROOMY_COINBASE, 20)),
    ("powerplay-bm", Habits(False, LARGE_COINBASE)),
    ("xminer-1.", Habits(False, LARGE_COINBASE)),
    ("cpuminer", Habits(True, ROOMY_COINBASE)),
    ("noncestr", Habits(True, ROOMY_COINBASE)),
    # Avalons call themselves cgminer, older stock Antminers bmminer or cgminer.
    ("cgminer/", Habits(True)),
    ("bmminer/", Habits(True)),
    ("bfgminer/", Habits(True, ROOMY_COINBASE)),
    ("sgminer", Habits(True)),
    ("ccminer", Habits(True)),
)


def habits_of(agent: str) -> Habits:
    """The habits of a user agent; UNKNOWN for one that is not in the table."""
    agent = agent.strip().lower()
    for pattern, habits in AGENTS:
        if pattern[1:] in agent if pattern.startswith("*") else agent.startswith(pattern):
            return habits
    return UNKNOWN
