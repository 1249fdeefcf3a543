"""A mint in memory that signs as NUT-00 and NUT-12 have it, and misbehaves on order."""

import hashlib
import os
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import anyio.lowlevel
import coincurve
import msgspec

from nips.keys import ORDER
from nips.nut00 import Proof, hash_to_curve, proof_y, total
from nips.nut02 import Keyset, input_fee, keyset_id, split
from nips.nut03 import Output, Signed
from nips.nut12 import hash_e
from zapper.ecash import MeltQuote, MintQuote, ProofState
from zapper.errors import MintFailed, MintRefused

AMOUNTS = [2**n for n in range(24)]


def _scalar(number: int) -> bytes:
    return (number % ORDER).to_bytes(32, "big")


class Killed(BaseException):
    """The process was killed here."""


@dataclass
class MemoryMint:
    """Each request takes the next word of `script`: "" does it, "before" fails before anything is done, "after" does it
    and loses the answer, "refuse" refuses, "kill before" and "kill after" end the process.
    """

    url: str = "http://mint.test"
    fee_ppk: int = 0
    script: deque[str] = field(default_factory=deque)
    signed: dict[str, Signed] = field(default_factory=dict)
    spent: set[str] = field(default_factory=set)
    pending: set[str] = field(default_factory=set)
    quotes: dict[str, MeltQuote] = field(default_factory=dict)
    # What becomes of payments: "paid", "unpaid", "pending".
    pays: str = "paid"
    preimages: dict[str, str] = field(default_factory=dict)
    invoices: dict[str, str] = field(default_factory=dict)
    amounts: dict[str, int] = field(default_factory=dict)
    melted: list[str] = field(default_factory=list)
    reserve: int = 4
    lightning_fee: int = 1
    issued: int = 0
    rotations: int = 0
    old: dict[str, tuple[Keyset, dict[int, int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.secrets: dict[int, int] = {}
        self.rotate()

    def rotate(self) -> None:
        if self.secrets:
            self.old[self.keyset.id] = (replace(self.keyset, active=False), self.secrets)
        seed = f"{self.url} {self.rotations}"
        self.rotations += 1
        self.secrets = {
            a: int.from_bytes(hashlib.sha256(f"{seed} {a}".encode()).digest(), "big") % ORDER for a in AMOUNTS
        }
        keyset = Keyset("01" + "00" * 32, "sat", True, self.fee_ppk)
        self.keyset = replace(keyset, id=keyset_id(self._public(self.secrets), keyset))

    @staticmethod
    def _public(secrets: Mapping[int, int]) -> dict[int, str]:
        return {a: coincurve.PublicKey.from_valid_secret(_scalar(k)).format().hex() for a, k in secrets.items()}

    async def _do(self, what: str) -> str:
        await anyio.lowlevel.checkpoint()
        word = self.script.popleft() if self.script else ""
        if word == "kill before":
            raise Killed(what)
        if word == "before":
            raise MintFailed(self.url, "down")
        if word == "refuse":
            raise MintRefused(self.url, "no", 0)
        return word

    def _lose(self, word: str) -> None:
        if word == "kill after":
            raise Killed
        if word == "after":
            raise MintFailed(self.url, "the answer was lost")

    async def keysets(self, *, fresh: bool = False) -> Mapping[str, Keyset]:
        return {self.keyset.id: self.keyset, **{name: row[0] for name, row in self.old.items()}}

    async def active_keyset(self) -> Keyset:
        return self.keyset

    async def keys(self, keyset_id: str) -> Mapping[int, str]:
        return self._public(self.secrets if keyset_id == self.keyset.id else self.old[keyset_id][1])

    def sign(self, output: Output, amount: int | None = None) -> Signed:
        blinded = coincurve.PublicKey(bytes.fromhex(output.blinded()))
        amount = amount or output.amount
        secrets = self.secrets if output.id == self.keyset.id else self.old[output.id][1]
        key = secrets[amount]
        public = coincurve.PublicKey.from_valid_secret(_scalar(key))
        point = blinded.multiply(_scalar(key))
        nonce = int.from_bytes(os.urandom(32), "big") % ORDER
        r1, r2 = coincurve.PublicKey.from_valid_secret(_scalar(nonce)), blinded.multiply(_scalar(nonce))
        e = hash_e(r1, r2, public, point)
        s = (nonce + int.from_bytes(e, "big") * key) % ORDER
        signed = Signed(output.id, amount, point.format().hex(), e.hex(), f"{s:064x}")
        self.signed[output.blinded()] = signed
        self.issued += amount
        return signed

    def _spend(self, inputs: Sequence[Proof]) -> None:
        for proof in inputs:
            secrets = self.secrets if proof.id == self.keyset.id else self.old[proof.id][1]
            y = hash_to_curve(proof.secret.encode())
            assert y.multiply(_scalar(secrets[proof.amount])).format().hex() == proof.C
            if proof_y(proof) in self.spent:
                raise MintRefused(self.url, "already spent", 11001)
            if proof_y(proof) in self.pending:
                raise MintRefused(self.url, "pending", 11002)
        if len({proof.secret for proof in inputs}) != len(inputs):
            raise MintRefused(self.url, "twice", 11007)

    async def swap(self, inputs: Sequence[Proof], outputs: Sequence[Output]) -> tuple[Signed, ...]:
        word = await self._do("swap")
        self._spend(inputs)
        if any(output.blinded() in self.signed for output in outputs):
            raise MintRefused(self.url, "already signed", 11003)
        if any(output.id != self.keyset.id for output in outputs):
            raise MintRefused(self.url, "inactive", 12002)
        fee = input_fee(inputs, await self.keysets())
        if total(inputs) - fee != sum(output.amount for output in outputs):
            raise MintRefused(self.url, "not balanced", 11005)
        self.spent |= {proof_y(proof) for proof in inputs}
        signed = tuple(self.sign(output) for output in outputs)
        self._lose(word)
        return signed

    async def restore(self, outputs: Sequence[Output]) -> tuple[Signed | None, ...]:
        word = await self._do("restore")
        self._lose(word)
        return tuple(self.signed.get(output.blinded()) for output in outputs)

    async def states(self, ys: Sequence[str]) -> Mapping[str, ProofState]:
        await self._do("states")
        return {
            y: ProofState.SPENT if y in self.spent else ProofState.PENDING if y in self.pending else ProofState.UNSPENT
            for y in ys
        }

    async def ask_melt(self, invoice: str) -> MeltQuote:
        await self._do("ask melt")
        quote = f"q{len(self.quotes)}"
        self.invoices[quote] = invoice
        self.quotes[quote] = MeltQuote(quote, self.amounts[invoice], self.reserve, "UNPAID", "")
        return self.quotes[quote]

    async def melt_state(self, quote: str) -> MeltQuote:
        word = await self._do("melt state")
        self._lose(word)
        return self.quotes[quote]

    async def melt(self, quote: str, inputs: Sequence[Proof], outputs: Sequence[Output]) -> MeltQuote:
        word = await self._do("melt")
        self._spend(inputs)
        asked = self.quotes[quote]
        fee = input_fee(inputs, await self.keysets())
        assert total(inputs) >= asked.amount + asked.fee_reserve + fee
        self._waiting = (quote, tuple(inputs), tuple(outputs))
        if self.pays == "unpaid":
            return asked
        self.pending |= {proof_y(proof) for proof in inputs}
        self.quotes[quote] = replace(asked, state="PENDING")
        if self.pays == "paid":
            self.finish()
        self._lose(word)
        return self.quotes[quote]

    def finish(self) -> None:
        quote, inputs, outputs = self._waiting
        ys = {proof_y(proof) for proof in inputs}
        self.pending -= ys
        self.spent |= ys
        asked = self.quotes[quote]
        keysets = {self.keyset.id: self.keyset, **{name: row[0] for name, row in self.old.items()}}
        over = total(inputs) - asked.amount - self.lightning_fee - input_fee(inputs, keysets)
        change = tuple(
            self.sign(output, part) for output, part in zip(outputs, split(over, AMOUNTS)[::-1], strict=False)
        )
        preimage = self.preimages.get(self.invoices[quote], "")
        self.quotes[quote] = replace(asked, state="PAID", preimage=preimage, change=change)
        self.melted.append(self.invoices[quote])

    def give_up(self) -> None:
        quote, inputs, _ = self._waiting
        self.pending -= {proof_y(proof) for proof in inputs}
        self.quotes[quote] = replace(self.quotes[quote], state="UNPAID")

    async def ask_mint(self, amount: int, pubkey: str) -> MintQuote:
        await self._do("ask mint")
        return MintQuote(f"m{self.issued}-{os.urandom(4).hex()}", "lnbc1", "PAID")

    async def mint_state(self, quote: str) -> MintQuote:
        await self._do("mint state")
        return MintQuote(quote, "lnbc1", "PAID")

    async def mint(self, quote: str, outputs: Sequence[Output], signature: str) -> tuple[Signed, ...]:
        word = await self._do("mint")
        signed = tuple(self.sign(output) for output in outputs)
        self._lose(word)
        return signed

    def redeem(self, proofs: Sequence[Proof]) -> None:
        """The payee takes its ecash; who may is another test's question."""
        self._spend(proofs)
        self.spent |= {proof_y(proof) for proof in proofs}

    def worth(self, proofs: Sequence[Proof]) -> int:
        return sum(proof.amount for proof in proofs if proof_y(proof) not in self.spent)


def without_dleq(proof: Proof) -> Proof:
    return msgspec.structs.replace(proof, dleq=None)
