"""The books as text for beancount (https://beancount.github.io): transactions, accounts opened when first used, and at
the end what each account must hold, so that `bean-check` compares.

Amounts are satoshi with three digits, so that no msat is lost. Debits are positive there as here. What the pool paid
stands as negative assets: `Assets` together are what should be left of the rewards that arrived.
"""

import re
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta

from accounting.entries import Entry, Reference
from nips.nip19 import encode_npub

CURRENCY = "SAT"
# The ledger's own accounts; a miner's are below. None stands under another: a balance of that would count it in.
ACCOUNTS: Mapping[str, str] = {
    "reward:pending": "Assets:Reward:Pending",
    "reward:matured": "Assets:Reward:Matured",
    "fee:pending": "Income:FeePending",
    "fee": "Income:Fee",
    "luck:pending": "Income:LuckPending",
    "luck": "Income:Luck",
    "treasury": "Expenses:NetworkFees",
    "network fees": "Assets:Paid:NetworkFees",
}
_PARTS: Mapping[str, str] = {
    "pending": "Liabilities:Pending",
    "owed": "Liabilities:Owed",
    "paid": "Assets:Paid:Miners",
    "fees": "Assets:Paid:FeesOfMiners",
}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def account_name(account: str) -> str:
    """The beancount name of an account of the ledger. Raises KeyError for one that is none."""
    if not account.startswith("miner:"):
        return ACCOUNTS[account]
    _, miner, part = account.split(":")
    return f"{_PARTS[part]}:{encode_npub(miner).capitalize()}"


def sat_text(msat: int) -> str:
    """Millisatoshi as satoshi: 1234 is "1.234"."""
    whole, rest = divmod(abs(msat), 1000)
    return f"{'-' if msat < 0 else ''}{whole}.{rest:03d}"


def _quoted(text: str) -> str:
    escaped = _CONTROL.sub(" ", text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _day(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d")


def _about(entry: Entry, reference: Reference) -> list[tuple[str, str]]:
    moment = datetime.fromtimestamp(entry.transaction.created_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    about = [("event", entry.transaction.id), ("time", moment)]
    if reference.statement:
        about.append(("statement", reference.statement))
    if reference.reward is not None and reference.reward.block:
        about += [("block", reference.reward.block), ("height", str(reference.reward.height))]
    if reference.payout is not None:
        about += [("payout", reference.payout.payout_id), ("method", reference.payout.method)]
    return about


def _header(title: str, day: str) -> str:
    return (
        f"; {title}\n; Amounts in satoshi; npubs begin with a capital N, as beancount's accounts have to.\n"
        f'option "title" {_quoted(title)}\noption "operating_currency" "{CURRENCY}"\n\n{day} commodity {CURRENCY}\n'
    )


async def beancount_text(entries: AsyncIterable[tuple[Entry, Reference]], title: str) -> AsyncIterator[str]:
    """The text, a piece an entry. Memory is a number an account, however long the books are."""
    sums: dict[str, int] = {}
    names: dict[str, str] = {}
    last = ""
    async for entry, reference in entries:
        transaction = entry.transaction
        day = _day(transaction.created_at)
        lines = [] if last else [_header(title, day)]
        for account, msat in transaction.postings:
            if account not in names:
                names[account] = account_name(account)
                lines.append(f"{day} open {names[account]} {CURRENCY}\n")
            sums[account] = sums.get(account, 0) + msat
        lines.append(f'\n{day} * "noncestr" {_quoted(transaction.text)}\n')
        lines += [f"  {name}: {_quoted(value)}\n" for name, value in _about(entry, reference)]
        lines += [f"  {names[account]}  {sat_text(msat)} {CURRENCY}\n" for account, msat in transaction.postings]
        last = day
        yield "".join(lines)
    if not last:
        yield _header(title, "1970-01-01")
        return
    # What a balance says holds at the beginning of its day.
    after = (datetime.strptime(last, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=1)).strftime("%Y-%m-%d")
    yield "\n"
    for account in sorted(sums):
        yield f"{after} balance {names[account]}  {sat_text(sums[account])} {CURRENCY}\n"
