// What relays answered, sorted into the pool's log: forms, ids, signatures, keys and roles (SPEC.md, "Encoding" and
// "Keys and chains").

import { Malformed } from "./bytes.ts";
import type { Account } from "./accounts.ts";
import { type Block, type Payout, readBlock, readPayout, readStatus } from "./claims.ts";
import {
  type Address, type Link, type NostrEvent, KIND, UnknownVersion, hasGoodId, hasGoodSignature, readEvent,
} from "./event.ts";
import type { ClaimName, Findings } from "./findings.ts";
import { type Job, readJob } from "./job.ts";
import { readArchive, readPart } from "./lasting.ts";
import { type Receipt, readReceipt } from "./receipt.ts";
import { readStatement } from "./statement.ts";
import { readSummary } from "./summary.ts";
import { type Role, type Terms, readTerms } from "./terms.ts";

const LOG_KINDS: readonly number[] = [
  KIND.TERMS, KIND.JOB, KIND.RECEIPT, KIND.BLOCK, KIND.STATEMENT, KIND.PAYOUT, KIND.STATUS, KIND.PART, KIND.ARCHIVE,
  KIND.SUMMARY,
];
const EVIDENCE: readonly number[] = [KIND.ZAP_RECEIPT, KIND.WITHDRAWAL];
const ROLE_OF = new Map<number, Role>([
  [KIND.JOB, "edge"],
  [KIND.RECEIPT, "edge"],
  [KIND.BLOCK, "edge"],
  [KIND.STATEMENT, "accounting"],
  [KIND.STATUS, "accounting"],
  [KIND.PART, "accounting"],
  [KIND.ARCHIVE, "accounting"],
  [KIND.SUMMARY, "accounting"],
  [KIND.PAYOUT, "zapper"],
]);

export interface Chained {
  readonly event: NostrEvent;
  readonly link: Link;
}

/** The events of a pool that are well-formed and signed by a key of the right role. */
export interface Log {
  readonly address: Address;
  readonly terms: Terms[];
  readonly jobs: Map<string, Job>;
  /** Ids of jobs of the pool's keys that break the form: work on them counts nothing. */
  readonly refusedJobs: Set<string>;
  /** Ids of those of a version not known here: work on them is not judged. */
  readonly unknownJobs: Set<string>;
  readonly receipts: Receipt[];
  readonly blocks: Map<string, Block>;
  /** All of the accounting chains. */
  readonly accounting: Account[];
  readonly payouts: Payout[];
  /** By id: zap receipts and withdrawals, signatures checked. */
  readonly evidence: Map<string, NostrEvent>;
  /** Roles that the terms ever gave a key. */
  readonly roles: Map<string, Set<Role>>;
  /** Whether a key had a role, and has none in the newest terms: what it signed may be a thief's. */
  isRevoked(pubkey: string): boolean;
}

export class Intake {
  private readonly address: Address;
  private readonly name: string;
  private readonly findings: Findings;
  private readonly good = new Map<string, NostrEvent>();
  private readonly bad = new Set<string>();
  private junk = 0;
  /** Good events that are none of this pool's log. */
  ignored = 0;

  constructor(address: Address, findings: Findings) {
    this.address = address;
    this.name = `34210:${address.pool}:${address.network}`;
    this.findings = findings;
  }

  get size(): number {
    return this.good.size;
  }

  /** Take in what a relay sent as an event; whether it is one of this pool's log, with a good signature, and new. */
  add(value: unknown): boolean {
    let event: NostrEvent;
    try {
      event = readEvent(value);
    } catch {
      this.junk++;
      return false;
    }
    const known = this.good.get(event.id);
    if (known !== undefined && known.sig === event.sig && known.content === event.content) return false;
    const ours = LOG_KINDS.includes(event.kind) && event.tags.some((tag) => tag[0] === "a" && tag[1] === this.name);
    if (!ours && !EVIDENCE.includes(event.kind)) {
      this.ignored++;
      return false;
    }
    if (!hasGoodId(event) || !hasGoodSignature(event)) {
      if (ours) this.bad.add(event.id);
      else this.junk++;
      return false;
    }
    this.good.set(event.id, event);
    return known === undefined;
  }

  /** Ids of zap receipts and withdrawals that payouts name, to be asked for. */
  named(): string[] {
    const ids = new Set<string>();
    for (const event of this.good.values()) {
      if (event.kind !== KIND.PAYOUT) continue;
      try {
        const { proof, to } = readPayout(event);
        ids.add(to);
        if (typeof proof["receipt"] === "string" && /^[0-9a-f]{64}$/.test(proof["receipt"])) ids.add(proof["receipt"]);
      } catch {
        continue; // sort() says what is wrong with it
      }
    }
    return [...ids];
  }

  /** Sort what came in, and say what is wrong with it. */
  sort(): Log {
    const revoked = new Set<string>();
    const log: Log = {
      address: this.address, terms: [], jobs: new Map(), refusedJobs: new Set(), unknownJobs: new Set(), receipts: [],
      blocks: new Map(), accounting: [], payouts: [], evidence: new Map(), roles: new Map(), isRevoked: (pubkey) => revoked.has(pubkey),
    };
    const { findings } = this;
    const events = [...this.good.values()].sort((a, b) => a.created_at - b.created_at || (a.id < b.id ? -1 : 1));
    findings.checked("signatures", events.length + this.bad.size);
    for (const id of this.bad) findings.say("signatures", "bad-signature", "its id or signature is wrong", [id]);

    for (const event of events) {
      if (event.kind !== KIND.TERMS || event.pubkey !== this.address.pool) continue;
      this.read(event, () => log.terms.push(readTerms(event)));
    }
    for (const terms of log.terms) {
      for (const [pubkey, role] of terms.keys) {
        if (!log.roles.has(pubkey)) log.roles.set(pubkey, new Set());
        log.roles.get(pubkey)?.add(role);
      }
    }

    const newest = log.terms.reduce<Terms | null>((best, each) => (best === null || each.link.seq > best.link.seq ? each : best), null);
    const inForce = new Set(newest?.keys.map(([pubkey]) => pubkey));
    for (const pubkey of log.roles.keys()) if (!inForce.has(pubkey)) revoked.add(pubkey);

    let strangers = 0;
    const strangersJobs: NostrEvent[] = [];
    for (const event of events) {
      if (EVIDENCE.includes(event.kind)) {
        log.evidence.set(event.id, event);
        findings.checked("form, keys and roles");
        continue;
      }
      if (event.kind === KIND.TERMS && event.pubkey === this.address.pool) continue;
      const roles = log.roles.get(event.pubkey);
      const needed = ROLE_OF.get(event.kind);
      if (roles === undefined && event.pubkey !== this.address.pool) {
        strangers++;
        if (event.kind === KIND.JOB) strangersJobs.push(event);
      } else if (event.kind !== KIND.JOB && (needed === undefined || roles?.has(needed) !== true)) {
        // A job's signer is judged by the terms that it names.
        const code = revoked.has(event.pubkey) ? "closed-chain" : "wrong-key";
        if (this.read(event, () => readAny(event), revoked.has(event.pubkey)) !== "read") continue;
        findings.say("form, keys and roles", code, `its key has no role for kind ${event.kind}`, [event.id]);
      } else {
        const came = this.read(event, () => place(log, event), revoked.has(event.pubkey));
        if (event.kind === KIND.JOB && came !== "read") (came === "unknown" ? log.unknownJobs : log.refusedJobs).add(event.id);
      }
    }
    // A receipt that names one is the pool's: it is not missing, it is no edge's.
    const named = new Set(log.receipts.flatMap((receipt) => receipt.jobs));
    for (const event of strangersJobs) if (named.has(event.id)) placeIfWellFormed(log, event);
    if (strangers > 0) {
      const text = `${strangers} events carry the pool's name and are signed by none of its keys`;
      findings.say("form, keys and roles", "stranger", text, [], null, strangers);
    }
    if (this.junk > 0) {
      findings.say("signatures", "junk", `${this.junk} answers were no events, or not signed`, [], null, this.junk);
    }
    return log;
  }

  private read(event: NostrEvent, reader: () => unknown, revoked = false): "read" | "unknown" | "malformed" {
    const claim: ClaimName = "form, keys and roles";
    this.findings.checked(claim);
    try {
      reader();
      return "read";
    } catch (error) {
      if (error instanceof UnknownVersion) {
        this.findings.say(claim, "unknown-version", error.message, [event.id]);
        return "unknown";
      }
      if (!(error instanceof Malformed)) throw error;
      this.findings.say(claim, revoked ? "closed-chain" : "malformed", error.message, [event.id]);
      return "malformed";
    }
  }
}

/** What a stranger signed in no readable form is nothing. */
function placeIfWellFormed(log: Log, event: NostrEvent): void {
  try {
    place(log, event);
  } catch (error) {
    if (!(error instanceof Malformed || error instanceof UnknownVersion)) throw error;
  }
}

/** What stands in an accounting chain. */
const ACCOUNT_READERS = new Map<number, (event: NostrEvent) => Account>([
  [KIND.STATEMENT, readStatement],
  [KIND.STATUS, readStatus],
  [KIND.PART, readPart],
  [KIND.ARCHIVE, readArchive],
  [KIND.SUMMARY, readSummary],
]);
const READERS = new Map<number, (event: NostrEvent) => unknown>([
  ...ACCOUNT_READERS,
  [KIND.TERMS, readTerms],
  [KIND.RECEIPT, readReceipt],
  [KIND.BLOCK, readBlock],
  [KIND.PAYOUT, readPayout],
]);

/** Only whether it can be read. */
function readAny(event: NostrEvent): void {
  READERS.get(event.kind)?.(event);
}

function place(log: Log, event: NostrEvent): void {
  const account = ACCOUNT_READERS.get(event.kind);
  if (account !== undefined) log.accounting.push(account(event));
  else if (event.kind === KIND.JOB) log.jobs.set(event.id, readJob(event));
  else if (event.kind === KIND.RECEIPT) log.receipts.push(readReceipt(event));
  else if (event.kind === KIND.BLOCK) log.blocks.set(event.id, readBlock(event));
  else if (event.kind === KIND.PAYOUT) log.payouts.push(readPayout(event));
}
