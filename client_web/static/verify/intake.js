// Generated from client_web/verify/intake.ts by client_web/verify/build.ts: edit that.

// What relays answered, sorted into the pool's log: forms, ids, signatures, keys and roles (SPEC.md, "Encoding" and
// "Keys and chains").

import { Malformed } from "./bytes.js";

import { readBlock, readPayout, readStatus } from "./claims.js";
import {
                                            KIND, UnknownVersion, hasGoodId, hasGoodSignature, readEvent,
} from "./event.js";

import { readJob } from "./job.js";
import { readArchive, readPart } from "./lasting.js";
import { readReceipt } from "./receipt.js";
import { readStatement } from "./statement.js";
import { readSummary } from "./summary.js";
import { readTerms } from "./terms.js";

const LOG_KINDS = [
  KIND.TERMS, KIND.JOB, KIND.RECEIPT, KIND.BLOCK, KIND.STATEMENT, KIND.PAYOUT, KIND.STATUS, KIND.PART, KIND.ARCHIVE,
  KIND.SUMMARY,
];
const EVIDENCE = [KIND.ZAP_RECEIPT, KIND.WITHDRAWAL];
const ROLE_OF = new Map ([
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

/** The events of a pool that are well-formed and signed by a key of the right role. */

export class Intake {
                   address ;
                   name ;
                   findings ;
                   good = new Map ();
                   bad = new Set ();
          junk = 0;
  /** Good events that are none of this pool's log. */
  ignored = 0;

  constructor(address , findings ) {
    this.address = address;
    this.name = `34210:${address.pool}:${address.network}`;
    this.findings = findings;
  }

  get size() {
    return this.good.size;
  }

  /** Take in what a relay sent as an event; whether it is one of this pool's log, with a good signature, and new. */
  add(value ) {
    let event ;
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
  named() {
    const ids = new Set ();
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
  sort() {
    const revoked = new Set ();
    const log = {
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

    const newest = log.terms.reduce ((best, each) => (best === null || each.link.seq > best.link.seq ? each : best), null);
    const inForce = new Set(newest?.keys.map(([pubkey]) => pubkey));
    for (const pubkey of log.roles.keys()) if (!inForce.has(pubkey)) revoked.add(pubkey);

    let strangers = 0;
    const strangersJobs = [];
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

          read(event , reader , revoked = false) {
    const claim = "form, keys and roles";
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
function placeIfWellFormed(log , event ) {
  try {
    place(log, event);
  } catch (error) {
    if (!(error instanceof Malformed || error instanceof UnknownVersion)) throw error;
  }
}

/** What stands in an accounting chain. */
const ACCOUNT_READERS = new Map ([
  [KIND.STATEMENT, readStatement],
  [KIND.STATUS, readStatus],
  [KIND.PART, readPart],
  [KIND.ARCHIVE, readArchive],
  [KIND.SUMMARY, readSummary],
]);
const READERS = new Map ([
  ...ACCOUNT_READERS,
  [KIND.TERMS, readTerms],
  [KIND.RECEIPT, readReceipt],
  [KIND.BLOCK, readBlock],
  [KIND.PAYOUT, readPayout],
]);

/** Only whether it can be read. */
function readAny(event ) {
  READERS.get(event.kind)?.(event);
}

function place(log , event ) {
  const account = ACCOUNT_READERS.get(event.kind);
  if (account !== undefined) log.accounting.push(account(event));
  else if (event.kind === KIND.JOB) log.jobs.set(event.id, readJob(event));
  else if (event.kind === KIND.RECEIPT) log.receipts.push(readReceipt(event));
  else if (event.kind === KIND.BLOCK) log.blocks.set(event.id, readBlock(event));
  else if (event.kind === KIND.PAYOUT) log.payouts.push(readPayout(event));
}
