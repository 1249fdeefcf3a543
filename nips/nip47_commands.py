"""NIP-47's commands: what a wallet is asked to do, and what its results mean. Amounts are msat, times Unix seconds.

A result that can not be understood raises InvalidNwc; after pay_invoice that says nothing about the money: look it up.
"""

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass

from nips.nip47 import InvalidNwc, Notification, Request

PAY_INVOICE = "pay_invoice"
LOOKUP_INVOICE = "lookup_invoice"
MAKE_INVOICE = "make_invoice"
GET_BALANCE = "get_balance"
GET_INFO = "get_info"
LIST_TRANSACTIONS = "list_transactions"
PAYMENT_RECEIVED = "payment_received"
PAYMENT_SENT = "payment_sent"
# "clients SHOULD fetch small page sizes (maximum of 20 transactions per page)"
MAX_PAGE = 20
# All bitcoin there will be, in msat.
MAX_MSAT = 21_000_000 * 100_000_000_000
# Unix seconds up to the year 5138, as milliseconds would not be.
MAX_SECONDS = 10**11
# Invoices with long hints have some 2,000 characters, descriptions at most 639 bytes (BOLT 11).
MAX_TEXT = 8192

_HEX64 = re.compile(r"[0-9a-f]{64}")


class Direction(enum.Enum):
    """Whose invoice it is: ours (INCOMING) or one that we pay."""

    INCOMING = "incoming"
    OUTGOING = "outgoing"


class State(enum.Enum):
    """Where an invoice or a payment stands. ACCEPTED is a hold invoice's."""

    PENDING = "pending"
    SETTLED = "settled"
    ACCEPTED = "accepted"
    EXPIRED = "expired"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class PaidInvoice:
    """pay_invoice's result. Check the preimage (hex) against the payment hash."""

    preimage: str
    fee_msat: int | None


@dataclass(frozen=True, slots=True)
class Transaction:
    """An invoice or a payment in the wallet. What is None was not said."""

    payment_hash: str
    direction: Direction | None
    state: State | None
    amount_msat: int
    fee_msat: int | None
    invoice: str | None
    description: str | None
    description_hash: str | None
    preimage: str | None
    created_at: int | None
    expires_at: int | None
    settled_at: int | None

    @property
    def is_settled(self) -> bool:
        """Whether the money moved. `state` is optional; wallets without it give a time of settlement."""
        return self.state is State.SETTLED or (self.state is None and self.settled_at is not None)


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """get_info's result."""

    alias: str | None
    pubkey: str | None
    network: str | None
    block_height: int | None
    methods: frozenset[str]
    notifications: frozenset[str]


def _request(method: str, **params: object) -> Request:
    return Request(method, {name: value for name, value in params.items() if value is not None})


def pay_invoice(invoice: str, *, amount_msat: int | None = None) -> Request:
    """Pay a BOLT 11 invoice; `amount_msat` for one that names none."""
    return _request(PAY_INVOICE, invoice=invoice, amount=amount_msat)


def lookup_invoice(*, payment_hash: str) -> Request:
    """What became of an invoice or a payment (`payment_hash` in hex)."""
    return _request(LOOKUP_INVOICE, payment_hash=payment_hash)


def make_invoice(
    amount_msat: int,
    *,
    description: str | None = None,
    description_hash: str | None = None,
    expiry_s: int | None = None,
) -> Request:
    """An invoice to be paid by others."""
    return _request(
        MAKE_INVOICE,
        amount=amount_msat,
        description=description,
        description_hash=description_hash,
        expiry=expiry_s,
    )


def get_balance() -> Request:
    """What is in the wallet."""
    return _request(GET_BALANCE)


def get_info() -> Request:
    """Which node and network this is."""
    return _request(GET_INFO)


def list_transactions(
    *,
    since_s: int | None = None,
    until_s: int | None = None,
    limit: int = MAX_PAGE,
    offset: int | None = None,
    unpaid: bool | None = None,
    direction: Direction | None = None,
) -> Request:
    """A page of invoices and payments, newest first; both ends of the time are meant inclusively."""
    if not 0 < limit <= MAX_PAGE:
        raise ValueError(f"a page has 1 to {MAX_PAGE} transactions")
    params = {"from": since_s, "until": until_s, "limit": limit, "offset": offset, "unpaid": unpaid}
    return _request(LIST_TRANSACTIONS, **params, type=None if direction is None else direction.value)


def _number(result: Mapping[str, object], name: str, highest: int) -> int | None:
    value = result.get(name)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= highest:
        raise InvalidNwc(f"the {name} of a wallet's answer is a whole number from 0 to {highest}")
    return value


def _amount(result: Mapping[str, object], name: str) -> int:
    value = _number(result, name, MAX_MSAT)
    if value is None:
        raise InvalidNwc(f"the wallet's answer has no {name}")
    return value


def _text(result: Mapping[str, object], name: str) -> str | None:
    value = result.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise InvalidNwc(f"the {name} of a wallet's answer is a text of at most {MAX_TEXT} characters")
    return value


def _hash(result: Mapping[str, object], name: str) -> str | None:
    value = _text(result, name)
    if value is not None and not _HEX64.fullmatch(value.lower()):
        raise InvalidNwc(f"the {name} of a wallet's answer is 64 hex digits")
    return None if value is None else value.lower()


def parse_paid(result: Mapping[str, object]) -> PaidInvoice:
    """pay_invoice's result. Raises InvalidNwc."""
    preimage = _hash(result, "preimage")
    if preimage is None:
        raise InvalidNwc("the wallet says it has paid and gives no preimage")
    return PaidInvoice(preimage, _number(result, "fees_paid", MAX_MSAT))


def parse_balance(result: Mapping[str, object]) -> int:
    """get_balance's result in msat. Raises InvalidNwc."""
    return _amount(result, "balance")


def parse_transaction(result: Mapping[str, object]) -> Transaction:
    """The result of lookup_invoice or make_invoice, or what a notification tells. Raises InvalidNwc."""
    payment_hash = _hash(result, "payment_hash")
    if payment_hash is None:
        raise InvalidNwc("the wallet's answer has no payment_hash")
    try:
        direction, state = _text(result, "type"), _text(result, "state")
        return Transaction(
            payment_hash=payment_hash,
            direction=None if direction is None else Direction(direction),
            state=None if state is None else State(state),
            amount_msat=_amount(result, "amount"),
            fee_msat=_number(result, "fees_paid", MAX_MSAT),
            invoice=_text(result, "invoice"),
            description=_text(result, "description"),
            description_hash=_hash(result, "description_hash"),
            preimage=_hash(result, "preimage"),
            created_at=_number(result, "created_at", MAX_SECONDS),
            expires_at=_number(result, "expires_at", MAX_SECONDS),
            settled_at=_number(result, "settled_at", MAX_SECONDS),
        )
    except ValueError:
        raise InvalidNwc("the wallet's answer has a type or a state that NIP-47 does not know") from None


def parse_transactions(result: Mapping[str, object]) -> tuple[Transaction, ...]:
    """list_transactions' result. Raises InvalidNwc."""
    listed = result.get("transactions")
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise InvalidNwc("a list of transactions is an array of objects")
    if len(listed) > MAX_PAGE:
        raise InvalidNwc(f"a page has at most {MAX_PAGE} transactions, not {len(listed)}")
    return tuple(parse_transaction(each) for each in listed)


def parse_node_info(result: Mapping[str, object]) -> NodeInfo:
    """get_info's result. Raises InvalidNwc."""
    return NodeInfo(
        alias=_text(result, "alias"),
        pubkey=_text(result, "pubkey"),
        network=_text(result, "network"),
        block_height=_number(result, "block_height", MAX_SECONDS),
        methods=_names(result, "methods"),
        notifications=_names(result, "notifications"),
    )


def _names(result: Mapping[str, object], name: str) -> frozenset[str]:
    value = result.get(name)
    if value is None:
        return frozenset()
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise InvalidNwc(f"the {name} of a wallet's answer are an array of names")
    return frozenset(value)


def parse_payment_notification(notification: Notification) -> Transaction | None:
    """The payment that a notification tells of, None for other news. Raises InvalidNwc."""
    if notification.type not in (PAYMENT_RECEIVED, PAYMENT_SENT):
        return None
    return parse_transaction(notification.content)
