"""Errors of the accounting.

    AccountingError
     +-- UnsupportedOffer    the terms promise a scheme that this version does not compute

What is wrong with the log itself is no exception but a Finding (accounting.findings): an audit goes on after it.
"""


class AccountingError(Exception):
    """The accounting cannot do what it was asked."""


class UnsupportedOffer(AccountingError):
    """An offer names a scheme of the protocol that this version does not compute."""

    def __init__(self, offer: str, scheme: str) -> None:
        super().__init__(offer, scheme)
        self.offer = offer
        self.scheme = scheme

    def __str__(self) -> str:
        return f"offer {self.offer} asks for the scheme {self.scheme}, which is not computed here"
