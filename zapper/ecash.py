"""Ecash in the treasury: what an operation at a mint is, which proofs pay for it, and the names they are known by."""

import enum
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from nips.nut00 import Proof, total
from nips.nut02 import Keyset, input_fee, split
from nips.nut03 import Output, Signed, make_output
from nips.nut11 import InvalidLock, parse_secret
from zapper.errors import PaymentBlocked

UNIT = "sat"
# 32 random bytes, in hex, make a secret nobody guesses (NUT-00).
SECRET_BYTES = 32
# Mints take some thousand inputs; a request of 500 stays under 300 KB.
MAX_INPUTS = 500
# Small change adds up: past so many proofs each operation takes some of the smallest along.
MANY_PROOFS = 100
SWEPT = 16
# The payee's clock and the mint's may be off from ours.
RETURN_MARGIN_S = 3600


class Kind(enum.Enum):
    """What an operation does at the mint."""

    # Our proofs become others' (locked) and change.
    SEND = "send"
    # Our proofs become our proofs of other amounts.
    SPLIT = "split"
    # Our proofs pay a Lightning invoice.
    MELT = "melt"
    # Lightning was paid to the mint: new proofs.
    MINT = "mint"
    # Locked proofs nobody claimed become ours again.
    RECLAIM = "reclaim"


class OpState(enum.Enum):
    """How an operation stands: begun is written before the mint is asked; done and void are final."""

    BEGUN = "begun"
    DONE = "done"
    VOID = "void"


class ProofState(enum.Enum):
    """NUT-07: what a mint says of a proof."""

    UNSPENT = "UNSPENT"
    PENDING = "PENDING"
    SPENT = "SPENT"


@dataclass(frozen=True, slots=True)
class Operation:
    """One dealing with a mint. Amounts in sat.

    `reference`: its name for good. `outputs`: what the mint is to sign, the first `sent` of them for somebody else.
    `cancel`: outputs that take the inputs back, once that was tried. `inputs`: the proofs that pay, reserved for it.
    `witnesses` stand in the inputs. `quote`: the mint's for a melt or a mint. `preimage` of a melt.
    """

    reference: str
    kind: Kind
    mint: str
    state: OpState
    created_ms: int
    outputs: tuple[Output, ...] = ()
    sent: int = 0
    inputs: tuple[Proof, ...] = ()
    cancel: tuple[Output, ...] = ()
    quote: str = ""
    amount: int = 0
    fee: int = 0
    preimage: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class MeltQuote:
    """NUT-05: `state` is UNPAID, PENDING or PAID; `preimage` "" when the mint shows none."""

    quote: str
    amount: int
    fee_reserve: int
    state: str
    preimage: str
    change: tuple[Signed, ...] = ()


@dataclass(frozen=True, slots=True)
class MintQuote:
    """NUT-04: an invoice (`request`) that fills the treasury once it is paid; `state` UNPAID, PAID or ISSUED."""

    quote: str
    request: str
    state: str


def is_ours_again(proofs: Iterable[Proof], *, now_s: int) -> bool:
    """Whether we could take back what was made for a payee: no lock, or past the locktime by everybody's clock."""
    for proof in proofs:
        try:
            locktime = parse_secret(proof.secret).locktime
        except InvalidLock:
            continue
        if locktime is None or now_s < locktime + RETURN_MARGIN_S:
            return False
    return True


def reference_of(ys: Iterable[str]) -> str:
    """The name of a set of proofs: SHA-256 over their sorted Y values (hex), as text without separators."""
    return hashlib.sha256("".join(sorted(ys)).encode()).hexdigest()


def make_outputs(keyset: str, amounts: Sequence[int], random: Callable[[int], bytes]) -> tuple[Output, ...]:
    """Outputs of our own, with secrets nobody else knows."""
    return tuple(make_output(keyset, amount, random(SECRET_BYTES).hex(), random(32)) for amount in amounts)


def choose(
    free: Sequence[Proof], amount: int, keysets: Mapping[str, Keyset], *, fees: bool = True
) -> tuple[tuple[Proof, ...], int]:
    """Proofs worth at least `amount` and the mint's fee for spending them, and that fee. Raises PaymentBlocked.

    The largest that fit are taken, then the smallest that covers the rest; old small change is swept along.
    """
    known = [proof for proof in free if proof.id in keysets]
    ranked = sorted(known, key=lambda proof: (-proof.amount, proof.secret))

    def short(chosen: Sequence[Proof]) -> int:
        return amount + (input_fee(chosen, keysets) if fees else 0) - total(chosen)

    chosen: list[Proof] = []
    for proof in ranked:
        lacking = short(chosen)
        if lacking <= 0:
            break
        if proof.amount <= lacking:
            chosen.append(proof)
    taken = {proof.secret for proof in chosen}
    for proof in reversed(ranked):
        if short(chosen) <= 0:
            break
        if proof.secret not in taken and short([*chosen, proof]) <= 0:
            chosen.append(proof)
            taken.add(proof.secret)
    if short(chosen) > 0 or len(chosen) > MAX_INPUTS:
        if total(known) < amount or len(chosen) > MAX_INPUTS or short(known) > 0:
            raise PaymentBlocked(
                f"the treasury holds {total(known)} sat of free ecash there, {amount} and the fee are needed"
            )
        chosen, taken = list(known), {proof.secret for proof in known}
    if len(known) > MANY_PROOFS:
        smallest = [proof for proof in reversed(ranked) if proof.secret not in taken]
        chosen += smallest[: min(SWEPT, MAX_INPUTS - len(chosen))]
    return tuple(chosen), input_fee(chosen, keysets) if fees else 0


def change_outputs(
    keyset: str, amount: int, amounts: Iterable[int], random: Callable[[int], bytes]
) -> tuple[Output, ...]:
    """Outputs for what is left over; none for nothing."""
    return make_outputs(keyset, split(amount, amounts), random)


def blank_outputs(keyset: str, overpaid: int, random: Callable[[int], bytes]) -> tuple[Output, ...]:
    """NUT-08: as many outputs without amounts as any change up to `overpaid` needs."""
    return make_outputs(keyset, [0] * overpaid.bit_length(), random)


class Locked(msgspec.Struct, frozen=True):
    """What a payout of ecash is, stored before any mint hears of it: the outputs made for the payee.

    `lock`: the 33-byte key in hex they are locked to, "" for none; `locktime` (Unix seconds): from then on the treasury
    may take them back, 0 for never. `keys`: the mint's for these amounts.
    `recipient`: the key (hex) it is sent to, by `relays`, or by POST to `url`.
    `listed`: the mint as the payee wrote it; `request_id`: of the payment request it answers; `line`: for people.
    """

    mint: str
    lock: str
    locktime: int
    outputs: tuple[Output, ...]
    keys: dict[int, str]
    recipient: str
    relays: tuple[str, ...] = ()
    url: str = ""
    listed: str = ""
    request_id: str | None = None
    line: str = ""
    info: str = ""


def encode_locked(locked: Locked) -> str:
    """As the intent store keeps it."""
    return msgspec.json.encode(locked).decode()


def decode_locked(text: str) -> Locked:
    """Raises ValueError for what we did not write."""
    return msgspec.json.decode(text, type=Locked)
