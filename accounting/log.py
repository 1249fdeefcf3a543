"""The log of a pool as an incremental fold: events in, in any order; facts and findings out.

Accounting lives on it and a stranger's audit runs on it. Each event waits for what it names, so that the same events
give the same facts and findings in whatever order they come; only a forked chain (a finding) keeps the branch that was
read first.
"""

from collections.abc import Callable, Iterator
from typing import Any

from accounting.accounting_events import AccountingEvent, check_form, parse_accounting
from accounting.books import Books
from accounting.chains import Chain
from accounting.checks import Known
from accounting.drafts import Draft
from accounting.ecash_proof import MintKeys
from accounting.facts import (
    ATTESTED,
    REFUTED,
    BlockSeen,
    Fact,
    PayoutSeen,
    Reopened,
    StatementSeen,
    StatusSeen,
    TermsAdopted,
)
from accounting.findings import Code, Finding, finding
from accounting.lanes import Lanes, heads_of
from accounting.mining import Mining
from accounting.parked import Parked
from accounting.payout_proof import NO_MINTS, check_proof
from accounting.rewards import NotYet
from accounting.shelves import MemoryShelves, Shelf, Shelves
from accounting.statements import Statements
from accounting.termsbook import TermsBook
from nips.errors import InvalidPoolEvent
from nips.nip01 import VerifiedEvent
from nips.nip57 import ZAP_RECEIPT
from nips.pool import kinds
from nips.pool.address import PoolAddress
from nips.pool.archive import Archive
from nips.pool.attestation_part import AttestationPart
from nips.pool.block import parse_block
from nips.pool.chain import Head
from nips.pool.content import UnknownVersion
from nips.pool.job import parse_job
from nips.pool.payout import Payout, parse_payout
from nips.pool.receipt import Receipt, parse_receipt
from nips.pool.settings_part import SettingsPart
from nips.pool.statement import RewardStatus, Statement, StatementBody
from nips.pool.statement_rows import StatementPart
from nips.pool.terms import Terms, parse_terms

# Events of others that a payout's proof may rest on.
EVIDENCE = frozenset({ZAP_RECEIPT, kinds.WITHDRAWAL, kinds.SETTINGS})


class PoolLog:
    """The fold. `findings` grows as `settle` goes; each is said once."""

    def __init__(
        self,
        pool: PoolAddress,
        progress: Callable[[int], None] | None = None,
        shelves: Shelves | None = None,
        *,
        keeps_sums: bool = False,
    ) -> None:
        """`progress` is told the number of shares of each batch that was checked. `shelves`: where to keep what grows
        with the log, fresh ones; in memory when not given. `keeps_sums`: there are facts about what to keep of spans.
        """
        self.pool = pool
        self.shelves = shelves = shelves or MemoryShelves()
        self.findings: list[Finding] = []
        self._said: set[tuple[Code, str, tuple[str, ...]]] = set()
        self._facts: list[Fact] = []
        ids, held = shelves.open("ids"), shelves.open("held")
        self.terms = TermsBook(Chain(f"{pool.pubkey}/terms", self.report, ids=ids, held=held))
        self.mining = Mining(self.terms, self.report, self._facts, progress, shelves, keeps_sums=keeps_sums)
        self.books = Books(shelves)
        self.statements = Statements(self.terms, self.mining, shelves)
        self.accounting: dict[str, Chain[AccountingEvent]] = {}
        self.payouts: dict[str, Chain[Payout]] = {}
        # The date of every event that was read, and those of keys without a role so far; `unparked` is told of each of
        # these that has its place after all.
        self.ids: Shelf[int] = shelves.open("events")
        self.parked = Parked(shelves)
        self.unparked: Callable[[VerifiedEvent], None] = lambda _: None
        self.read = self.ignored = self.unverified = 0
        # Statements and statuses judged, and how many of them hold.
        self.judged = self.judged_ok = 0
        # Such events, by id, and the payouts that only the chain can prove, by event id.
        self.evidence: Shelf[VerifiedEvent] = shelves.open("evidence")
        self.onchain: Shelf[Payout] = shelves.open("onchain")
        # Archives that accounting keys announced, by id.
        self.archives: Shelf[Archive] = shelves.open("archives")
        # What mints that were asked show; set before anything is judged.
        self.mint_keys: MintKeys = NO_MINTS
        # By `<zap receipt>/<payout>`: payouts that a receipt not read so far would attest.
        self._unattested: Shelf[Payout] = shelves.open("unattested")

    def report(self, found: Finding) -> None:
        """Note a finding, once."""
        key = (found.code, found.text, found.events)
        if key not in self._said:
            self._said.add(key)
            self.findings.append(found)

    def remember_findings(self) -> None:
        """Take what `findings` holds for said."""
        self._said = {(found.code, found.text, found.events) for found in self.findings}

    # Feeding

    def add(self, event: VerifiedEvent) -> None:
        """Take an event in; the same one twice is one."""
        if event.id in self.ids:
            return
        self.ids[event.id] = event.created_at
        self.read += 1
        if event.kind in EVIDENCE:
            self.evidence[event.id] = event
            for key, payout in list(self._unattested.scan(f"{event.id}/", f"{event.id}0")):
                del self._unattested[key]
                self._grade_payout(payout)
            return
        # With two a tags, or more, it breaks the form that an event of this pool has.
        if event.kind not in kinds.LEDGER_KINDS or str(self.pool) not in event.tag_values("a"):
            self.ignored += 1
            return
        self._route(event)

    def add_known(self, known: Known) -> None:
        """Take in a receipt of this pool that was not read; an own fold has checked it before, so that its shares need
        no hashing. Not to be used after a `Reopened`.
        """
        self.ids[known.id] = known.created_at
        self.read += 1
        if known.signer in self.terms.all_keys():
            self.mining.put(known)
        else:
            self._route(known.event())

    def add_draft(self, receipt: Receipt, draft: Draft) -> None:
        """Take in a receipt of this pool whose shares were hashed ahead; without its shares if the draft judges all."""
        if receipt.id in self.ids:
            return
        self.ids[receipt.id] = receipt.created_at
        self.read += 1
        self.mining.drafts[receipt.id] = draft
        self.mining.put(receipt)

    def _route(self, event: VerifiedEvent) -> None:
        known = event.pubkey in self.terms.all_keys()
        if not known and not self.parked.put(event):
            return
        try:
            if event.kind == kinds.JOB:
                # Whoever signed it: a receipt that names it is to be told so.
                self.mining.read_jobs[event.id] = parse_job(event)
            if known:
                self._put(event)
        except InvalidPoolEvent as error:
            if known:
                self._refuse(event, error)

    def _put(self, event: VerifiedEvent) -> None:
        """Hand over an event of a key that holds some role. Raises InvalidPoolEvent."""
        if event.kind == kinds.TERMS:
            terms = parse_terms(event)
            if event.pubkey == self.pool.pubkey:
                self.terms.chain.put(terms)
            else:
                text = f"{event.pubkey} is {' and '.join(self.terms.roles_of(event.pubkey))}, which may not sign terms"
                self.report(finding(Code.WRONG_KEY, text, event.id, key=event.pubkey))
        elif event.kind == kinds.RECEIPT:
            self.mining.put(parse_receipt(event))
        elif event.kind == kinds.BLOCK:
            self.mining.announced.put(parse_block(event))
        elif event.kind == kinds.PAYOUT:
            payout = parse_payout(event)
            if event.pubkey not in self.payouts:
                self.payouts[event.pubkey] = self.terms.new_chain(f"{event.pubkey}/payouts", self.report, self.shelves)
            self.payouts[event.pubkey].put(payout)
        elif event.kind != kinds.JOB:
            archive, parsed = check_form(event), parse_accounting(event)
            if event.pubkey not in self.accounting:
                name = f"{event.pubkey}/accounting"
                self.accounting[event.pubkey] = self.terms.new_chain(name, self.report, self.shelves)
            self.accounting[event.pubkey].put(parsed)
            if archive is not None:
                self.archives[event.id] = archive

    def _refuse(self, event: VerifiedEvent, error: InvalidPoolEvent) -> None:
        code = Code.UNKNOWN_VERSION if isinstance(error, UnknownVersion) else Code.MALFORMED
        self.report(finding(code, f"kind {event.kind}: {error}", event.id, key=event.pubkey))
        if event.kind == kinds.JOB:
            unread = self.mining.unknown_jobs if code is Code.UNKNOWN_VERSION else self.mining.refused_jobs
            unread.add(event.id)

    def _unpark(self, pubkey: str) -> None:
        """A key has a role now: what it signed before counts."""
        for event in self.parked.take(pubkey):
            self._route(event)
            self.unparked(event)

    # Asking

    @property
    def lanes(self) -> Lanes:
        """All lanes, as far as they were read."""
        return self.mining.lanes

    @property
    def blocks(self) -> Shelf[BlockSeen]:
        """The proven blocks, by hash."""
        return self.mining.announced.blocks

    @property
    def terms_by_id(self) -> dict[str, Terms]:
        """The adopted terms, in the chain's order."""
        return self.terms.by_id

    def chain(self, name: str) -> "Chain[Any] | None":
        """The chain of `<pubkey>/<chain>`; None if nothing of it was read."""
        pubkey, _, of = name.partition("/")
        if of == "terms":
            return self.terms.chain if pubkey == self.pool.pubkey else None
        if of in ("accounting", "payouts"):
            return (self.accounting if of == "accounting" else self.payouts).get(pubkey)
        lane = self.lanes.find(name)
        return None if lane is None else lane.chain

    def terms_at(self, ms: int) -> Terms | None:
        """The newest terms dated at or before a time (Unix ms); the first if all are later."""
        return self.terms.at(ms)

    def unattested(self) -> set[str]:
        """The zap receipts, by id, that were not read and would make a payout attested."""
        return {key.partition("/")[0] for key, _ in self._unattested.scan()}

    def ready(self, end_ms: int) -> bool:
        """Whether every open lane has passed a time: all work up to it is known."""
        return self.lanes.behind(end_ms) is None

    def cut_heads(self, end_ms: int, from_ms: int) -> dict[str, Head]:
        """A statement's `heads` for a reward at `end_ms` whose window begins at `from_ms`."""
        return heads_of(self.lanes.cuts(end_ms), end_ms, from_ms)

    def expected(self, block: BlockSeen, signer: str = "", second: int = 0) -> StatementBody | NotYet:
        """The statement that a block should have now, from this key, dated so (Unix s). Raises UnsupportedOffer."""
        return self.statements.expected(block, signer, second)

    def chains(self) -> Iterator[Chain[Receipt | Known] | Chain[AccountingEvent] | Chain[Payout]]:
        """All chains but the terms'."""
        yield from (self.lanes[key].chain for key in sorted(self.lanes))
        yield from (self.accounting[key] for key in sorted(self.accounting))
        yield from (self.payouts[key] for key in sorted(self.payouts))

    # Settling

    def settle(self) -> list[Fact]:
        """Process everything that can be, in order; the facts that are new."""
        while (terms := self.terms.chain.peek()) is not None:
            self.adopt(terms)
        self.mining.settle()
        while self._settle_accounting():
            pass
        for key in sorted(self.payouts):
            while key in self.terms.roles["zapper"] and (payout := self.payouts[key].peek()) is not None:
                self.pay(self.payouts[key], payout)
        facts = self._facts.copy()
        self._facts.clear()
        return facts

    def adopt(self, terms: Terms) -> None:
        """Let the next terms of the chain take their place."""
        known, replaced = self.terms.all_keys(), self.terms.newest()
        self.terms.adopt(terms)
        self._facts.append(TermsAdopted(terms))
        if self._follows_newly_closed(terms):
            self._facts.append(Reopened("a chain was closed that statements read before follow"))
        if replaced is not None and self._were_paid_since(terms, replaced):
            self._facts.append(Reopened("terms say otherwise who bears the network fees of payouts read before"))
        outdated = self.mining.outdated()
        if outdated is not None:
            self._facts.append(Reopened(f"job {outdated} names terms that had been replaced", rehash=True))
        for chain in self.chains():
            if not self.terms.close_chain(chain):
                self._facts.append(Reopened(f"{chain.name} was closed below what was read"))
        fresh = sorted(self.terms.all_keys() - known)
        if fresh and self.parked.let_go:
            self._facts.append(Reopened("events were let go that a key may have signed before terms gave it a role"))
        for pubkey in fresh:
            self._unpark(pubkey)

    def _follows_newly_closed(self, terms: Terms) -> bool:
        """Whether statements of another key, read already, are dated after terms that close a key's chain."""
        for key in {name.partition("/")[0] for name in terms.body.closed} & set(self.accounting):
            others = (chain for other, chain in self.accounting.items() if other != key and chain.head is not None)
            if self.accounting[key].head is not None and any(chain.created_at >= terms.created_at for chain in others):
                return True
        return False

    def _were_paid_since(self, terms: Terms, replaced: Terms) -> bool:
        """Whether payouts, read already, go by new terms that say otherwise who bears the network fee."""
        if terms.body.payouts.network_fee == replaced.body.payouts.network_fee:
            return False
        return any(chain.head is not None and chain.created_at >= terms.created_at for chain in self.payouts.values())

    def _settle_accounting(self) -> bool:
        progress = False
        for key in sorted(self.accounting):
            chain = self.accounting[key]
            while (
                key in self.terms.roles["accounting"] and (event := chain.peek()) is not None and not self.wants(event)
            ):
                self.enter(chain, event)
                progress = True
        return progress

    def wants(self, event: AccountingEvent) -> list[str]:
        """What an event of the accounting names that was not read: blocks, batches or statements."""
        if isinstance(event, Statement):
            return self.statements.wants(event, self.accounting)
        if isinstance(event, RewardStatus):
            known = event.statement in self.books.rewards or event.statement in self.statements.unbooked
            follows = self.statements.follows(event.signer, event.created_at, self.accounting)
            return [*([] if known else [event.statement]), *follows]
        return []

    def enter(self, chain: "Chain[AccountingEvent]", event: AccountingEvent) -> None:
        """Let the next event of an accounting chain take its place, and judge it."""
        chain.take(event)
        if isinstance(event, StatementPart):
            self.statements.add_part(event)
            return
        if isinstance(event, Statement):
            self._enter_statement(chain, event)
        self.statements.parts.pop(chain.pubkey, None)
        if isinstance(event, SettingsPart):
            self.statements.add_settings(event)
        if isinstance(event, AttestationPart):
            self.statements.attendance.add(event)
        if isinstance(event, RewardStatus):
            if event.statement in self.books.rewards:
                wrong = list(self.books.add_status(event))
                if not wrong:
                    self.statements.add_status(event)
            elif event.statement in self.statements.unbooked:
                wrong = []
            else:
                wrong = [finding(Code.STATUS_UNKNOWN, f"statement {event.statement}", event.id)]
            for each in wrong:
                self.report(each)
            self._count(ok=not wrong)
            self._facts.append(StatusSeen(event, ok=not wrong))

    def _enter_statement(self, chain: "Chain[AccountingEvent]", statement: Statement) -> None:
        whole = self.statements.whole(statement, chain)
        if isinstance(whole, Finding):
            # Without its rows it is booked nowhere.
            self.statements.unbooked[statement.id] = True
            self.report(whole)
            self._count(ok=False)
            return
        found = [*self.books.add_statement(whole), *self.statements.judge(whole, chain)]
        for each in found:
            self.report(each)
        self._count(ok=not found)
        self._facts.append(StatementSeen(whole, ok=not found))

    def _count(self, *, ok: bool) -> None:
        self.judged += 1
        self.judged_ok += ok

    def pay(self, chain: "Chain[Payout]", payout: Payout) -> None:
        """Let the next payout of a chain take its place, and judge its proof."""
        chain.take(payout)
        serves = self._grade_payout(payout)
        terms = self.terms_at(payout.created_at * 1000)
        miner_bears_fee = terms is not None and terms.body.payouts.network_fee == "miner"
        for found in self.books.add_payout(payout, serves, miner_bears_fee=miner_bears_fee):
            self.report(found)

    def _grade_payout(self, payout: Payout) -> tuple[str, ...]:
        zappers = frozenset(self.terms.roles["zapper"])
        proof = check_proof(payout, zappers, self.terms.all_keys(), self.evidence, self.mint_keys)
        if proof.grade == REFUTED:
            self.report(finding(Code.PAYOUT_PROOF, proof.text, payout.id, miner=payout.miner))
        if proof.receipt is not None and proof.grade != ATTESTED:
            self._unattested[f"{proof.receipt}/{payout.id}"] = payout
        if payout.method == "onchain" and proof.serves:
            self.onchain[payout.id] = payout
        self.books.grade(payout.id, payout.method, proof.grade)
        self._facts.append(PayoutSeen(payout, proof.grade))
        return proof.serves
