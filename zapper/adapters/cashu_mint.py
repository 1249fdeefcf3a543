"""A Cashu mint over HTTP (NUT-01 to 07, 09, 20), for the treasury: the operator's choice, so its address is not judged.

Every answer is taken for what anybody might have said: keys must make their keyset's id, signatures carry a DLEQ and
are judged against those keys where they are unblinded.
"""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import msgspec

from nips.errors import NipError
from nips.nut00 import MAX_AMOUNT, Proof, normal_mint_url
from nips.nut02 import Keyset, parse_keys, parse_keysets
from nips.nut03 import Output, Signed, message, parse_signed
from zapper.ecash import UNIT, MeltQuote, MintQuote, ProofState
from zapper.errors import MintFailed, MintRefused

# A swap is answered in 0.3 s; a mint on a phone over Tor takes some seconds.
TIMEOUT_S = 20.0
# A melt waits for Lightning; past this the mint is asked by its quote.
MELT_TIMEOUT_S = 60.0
# 1,000 keysets have 200 KB, the signatures on 500 outputs 150 KB.
MAX_BODY = 2 * 1024 * 1024
# Mints take 1,000 proofs a question.
ASKED_AT_ONCE = 200
# Keysets change when a mint rotates: asked again after so many seconds.
KEYSETS_S = 300.0
_QUOTE = re.compile(r"[\x21-\x7e]{1,200}")
_POINT = re.compile(r"0[23][0-9a-f]{64}")
_HEX64 = re.compile(r"[0-9a-f]{64}")


def _input(proof: Proof) -> dict[str, Any]:
    # The DLEQ is for receivers: with its r the mint could tell whose output this was.
    row: dict[str, Any] = {"id": proof.id, "amount": proof.amount, "secret": proof.secret, "C": proof.C}
    if proof.witness is not None:
        row["witness"] = proof.witness
    return row


class CashuMint:
    """See `zapper.ecash_ports.Mint`. Made by `open_mint`."""

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self.url = normal_mint_url(url)
        self._client = client
        self._keysets: dict[str, Keyset] = {}
        self._keys: dict[str, Mapping[int, str]] = {}
        self._asked_at = float("-inf")

    async def _ask(self, method: str, path: str, body: object = None, *, timeout_s: float = TIMEOUT_S) -> Any:
        """The decoded JSON of an answer. Raises MintFailed, MintRefused."""
        content = None if body is None else msgspec.json.encode(body)
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        try:
            with anyio.fail_after(timeout_s):
                status, data = await self._exchange(method, path, content, headers)
        except TimeoutError:
            raise MintFailed(self.url, f"no whole answer within {timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise MintFailed(self.url, f"{type(error).__name__} {error}".strip()) from None
        try:
            value = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise MintFailed(self.url, f"status {status}, and the answer is not JSON") from None
        if status == 200:
            return value
        if 400 <= status < 500 and isinstance(value, dict):
            code = value.get("code")
            reason = str(value.get("detail") or value.get("error") or f"status {status}")[:300]
            raise MintRefused(self.url, reason, code if type(code) is int else 0)
        raise MintFailed(self.url, f"status {status}")

    async def _exchange(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        url = f"{self.url}/v1/{path}"
        async with self._client.stream(method, url, content=content, headers=dict(headers)) as response:
            data = bytearray()
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > MAX_BODY:
                    raise MintFailed(self.url, f"its answer has more than {MAX_BODY} bytes")
            return response.status_code, bytes(data)

    # Keys

    async def keysets(self, *, fresh: bool = False) -> Mapping[str, Keyset]:
        """The mint's keysets in sat by id, active or not. Raises MintFailed, MintRefused."""
        if fresh or anyio.current_time() - self._asked_at > KEYSETS_S:
            try:
                found = parse_keysets(await self._ask("GET", "keysets"))
            except NipError as error:
                raise MintFailed(self.url, str(error)) from None
            self._keysets = {keyset.id: keyset for keyset in found if keyset.unit == UNIT}
            self._asked_at = anyio.current_time()
        return self._keysets

    async def active_keyset(self) -> Keyset:
        """The keyset to have outputs signed by: the cheapest of the active ones. Raises MintFailed, MintRefused."""
        active = [keyset for keyset in (await self.keysets()).values() if keyset.active]
        if not active:
            raise MintFailed(self.url, f"it has no active keyset in {UNIT}")
        # NUT-02's newer ids first among equals: those of version 1 are on their way out.
        return min(active, key=lambda keyset: (keyset.fee_ppk, -int(keyset.id[:2], 16), keyset.id))

    async def keys(self, keyset_id: str) -> Mapping[int, str]:
        """The keyset's keys by amount, checked against its id. Raises MintFailed, MintRefused."""
        if keyset_id not in self._keys:
            keysets = await self.keysets()
            if keyset_id not in keysets:
                keysets = await self.keysets(fresh=True)
            if keyset_id not in keysets:
                raise MintFailed(self.url, f"it does not know its keyset {keyset_id}")
            try:
                keys = parse_keys(await self._ask("GET", f"keys/{keyset_id}"), keysets[keyset_id])
            except NipError as error:
                raise MintFailed(self.url, str(error)) from None
            self._keys[keyset_id] = keys
        return self._keys[keyset_id]

    # Proofs

    def _signatures(self, value: Any, count: int) -> tuple[Signed, ...]:
        rows = value.get("signatures") if isinstance(value, dict) else None
        if not isinstance(rows, list) or len(rows) != count:
            raise MintFailed(self.url, f"it was to sign {count} outputs and did not")
        return self._signed(rows)

    def _signed(self, rows: Sequence[object]) -> tuple[Signed, ...]:
        try:
            return tuple(parse_signed(row) for row in rows)
        except NipError as error:
            raise MintFailed(self.url, str(error)) from None

    async def swap(self, inputs: Sequence[Proof], outputs: Sequence[Output]) -> tuple[Signed, ...]:
        """NUT-03. Raises MintFailed, MintRefused."""
        body = {"inputs": [_input(proof) for proof in inputs], "outputs": [message(output) for output in outputs]}
        return self._signatures(await self._ask("POST", "swap", body), len(outputs))

    async def restore(self, outputs: Sequence[Output]) -> tuple[Signed | None, ...]:
        """NUT-09: the signature on each output, None where the mint never signed. Raises MintFailed, MintRefused."""
        found: dict[str, Signed] = {}
        for start in range(0, len(outputs), ASKED_AT_ONCE):
            asked = [message(output) for output in outputs[start : start + ASKED_AT_ONCE]]
            value = await self._ask("POST", "restore", {"outputs": asked})
            rows = value.get("outputs") if isinstance(value, dict) else None
            if not isinstance(rows, list) or len(rows) > len(asked):
                raise MintFailed(self.url, "its answer to a restore is out of form")
            signed = self._signatures(value, len(rows))
            for row, each in zip(rows, signed, strict=True):
                if not isinstance(row, dict) or not isinstance(row.get("B_"), str):
                    raise MintFailed(self.url, "its answer to a restore is out of form")
                found[row["B_"]] = each
        return tuple(found.get(output.blinded()) for output in outputs)

    async def states(self, ys: Sequence[str]) -> Mapping[str, ProofState]:
        """NUT-07: what became of each Y. Raises MintFailed, MintRefused."""
        found: dict[str, ProofState] = {}
        for start in range(0, len(ys), ASKED_AT_ONCE):
            asked = list(ys[start : start + ASKED_AT_ONCE])
            value = await self._ask("POST", "checkstate", {"Ys": asked})
            rows = value.get("states") if isinstance(value, dict) else None
            for row in rows if isinstance(rows, list) else []:
                if isinstance(row, dict) and row.get("Y") in asked and row.get("state") in ProofState.__members__:
                    found[row["Y"]] = ProofState[row["state"]]
        if set(found) != set(ys):
            raise MintFailed(self.url, "it does not tell the state of every proof it was asked about")
        return found

    # Lightning

    def _melt_quote(self, value: Any) -> MeltQuote:
        fields = value if isinstance(value, dict) else {}
        quote, state, preimage = fields.get("quote"), fields.get("state"), fields.get("payment_preimage")
        amount, reserve, change = fields.get("amount"), fields.get("fee_reserve"), fields.get("change")
        if not isinstance(quote, str) or not _QUOTE.fullmatch(quote) or state not in ("UNPAID", "PENDING", "PAID"):
            raise MintFailed(self.url, "its quote for a payment is out of form")
        for number in (amount, reserve):
            if type(number) is not int or not 0 <= number <= MAX_AMOUNT:
                raise MintFailed(self.url, "its quote for a payment names no amount or no fee")
        shown = preimage if isinstance(preimage, str) and _HEX64.fullmatch(preimage) else ""
        rows = self._signed(change) if isinstance(change, list) else ()
        return MeltQuote(quote, int(amount or 0), int(reserve or 0), str(state), shown, rows)

    async def ask_melt(self, invoice: str) -> MeltQuote:
        """NUT-05: what paying this invoice would cost. Moves nothing. Raises MintFailed, MintRefused."""
        return self._melt_quote(await self._ask("POST", "melt/quote/bolt11", {"request": invoice, "unit": UNIT}))

    async def melt_state(self, quote: str) -> MeltQuote:
        """How the payment of a quote stands. Raises MintFailed, MintRefused."""
        return self._melt_quote(await self._ask("GET", f"melt/quote/bolt11/{quote}"))

    async def melt(self, quote: str, inputs: Sequence[Proof], outputs: Sequence[Output]) -> MeltQuote:
        """NUT-05 with NUT-08: pay, and have what was too much signed on `outputs`. Raises MintFailed, MintRefused."""
        body = {
            "quote": quote,
            "inputs": [_input(proof) for proof in inputs],
            "outputs": [message(output) for output in outputs],
        }
        return self._melt_quote(await self._ask("POST", "melt/bolt11", body, timeout_s=MELT_TIMEOUT_S))

    def _mint_quote(self, value: Any) -> MintQuote:
        fields = value if isinstance(value, dict) else {}
        quote, request, state = (fields.get(name) for name in ("quote", "request", "state"))
        if not isinstance(quote, str) or not _QUOTE.fullmatch(quote) or not isinstance(request, str):
            raise MintFailed(self.url, "its quote for ecash is out of form")
        return MintQuote(quote, request, str(state))

    async def ask_mint(self, amount: int, pubkey: str) -> MintQuote:
        """NUT-04, NUT-20: an invoice for `amount` of ecash that only `pubkey` gets. Raises MintFailed, MintRefused."""
        body = {"amount": amount, "unit": UNIT, "pubkey": pubkey}
        return self._mint_quote(await self._ask("POST", "mint/quote/bolt11", body))

    async def mint_state(self, quote: str) -> MintQuote:
        """Whether a quote was paid. Raises MintFailed, MintRefused."""
        return self._mint_quote(await self._ask("GET", f"mint/quote/bolt11/{quote}"))

    async def mint(self, quote: str, outputs: Sequence[Output], signature: str) -> tuple[Signed, ...]:
        """NUT-04: the ecash of a paid quote. Raises MintFailed, MintRefused."""
        body = {"quote": quote, "outputs": [message(output) for output in outputs], "signature": signature}
        return self._signatures(await self._ask("POST", "mint/bolt11", body), len(outputs))


@asynccontextmanager
async def open_mint(url: str) -> AsyncIterator[CashuMint]:
    """A mint's client while the block runs. Raises InvalidMintUrl."""
    async with httpx.AsyncClient(follow_redirects=False, trust_env=False, timeout=MELT_TIMEOUT_S) as client:
        yield CashuMint(url, client)
