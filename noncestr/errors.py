"""Errors the command line shows as one clear message.

NoncestrError
 +-- ConfigError     a value in the configuration or environment is wrong; names every one at once
 +-- KeyFileError    a key file is missing, unreadable or open to others
 +-- NoFreePort      no port could be bound near the one asked for
"""


class NoncestrError(Exception):
    """Something the operator can mend; its text says what and how."""


class ConfigError(NoncestrError):
    """Bad configuration: `problems` holds a sentence each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "the configuration is wrong:\n" + "\n".join(f"  - {problem}" for problem in self.problems)


class KeyFileError(NoncestrError):
    """A key file that cannot be used."""


class NoFreePort(NoncestrError):
    """No port near the one asked for is free."""
