// Generated from client_web/verify/verifier.ts by client_web/verify/build.ts: edit that.

// The whole check: events in, a report out. Reads nothing, knows no clock but the one it is given.

import { readAccounts } from "./accounts.js";
import { checkArchives } from "./archives.js";
import { Attendance } from "./attendance.js";
import { Ends, checkKeysClosed, checkLanesClosed, followChain, followLanes } from "./chains.js";

import { DonationsTold } from "./donations.js";

import { Findings } from "./findings.js";
import { Intake } from "./intake.js";
import { Jobs } from "./jobs.js";
import { viewMiner } from "./miner.js";

import { Payouts } from "./payouts.js";
import { Rewards, statusOf } from "./rewards.js";
import { Shares } from "./shares.js";
import { endMs } from "./statement.js";
import { Summaries } from "./summaries.js";
import { checkSchemes } from "./terms.js";

export class Verifier {
                   address ;
                   findings = new Findings();
                   intake ;
          judged = null;

                   mintKeys ;

  /** `mintKeys`: of mints that somebody asked, what payouts in ecash are compared with. */
  constructor(pool , network , mintKeys = new Map()) {
    this.address = { pool, network };
    this.mintKeys = mintKeys;
    this.intake = new Intake(this.address, this.findings);
  }

  /** Take in an event from a relay; whether it is new, of this pool's log and has a good signature. */
  add(event ) {
    return this.intake.add(event);
  }

  /** How many good events came in. */
  get size() {
    return this.intake.size;
  }

  /** Ids of events outside the log that payouts name. */
  named() {
    return this.intake.named();
  }

  /** Check everything, as of `nowMs`; once, when all is in. */
  report(nowMs , progress = () => undefined) {
    const { findings } = this;
    const log = this.intake.sort();
    const name = `34210:${this.address.pool}:${this.address.network}`;
    if (log.terms.length === 0) findings.say("form, keys and roles", "nothing-found", "no terms of this pool are on the relays asked");

    const termsChain = followChain(`${this.address.pool}/terms`, log.terms, undefined, false, findings);
    const terms = termsChain.events;
    if (terms[0] !== undefined && terms[0].link.seq > 0) findings.say("chains", "missing-terms", "the first terms are on no relay asked");
    const ends = new Ends(terms);
    checkKeysClosed(terms, log, findings);
    for (const [event, text] of checkSchemes(terms)) findings.say("form, keys and roles", "offer-scheme", text, [event.id]);
    checkLanesClosed(terms, log.receipts, findings);
    const lanes = followLanes(log.receipts, ends, log.isRevoked, findings);
    const follow = (chain , events ) => {
      const keys = [...new Set(events.map((each) => each.event.pubkey))].sort();
      return keys.map((key) => {
        const own = events.filter((each) => each.event.pubkey === key);
        return followChain(`${key}/${chain}`, own, ends.of(`${key}/${chain}`), log.isRevoked(key), findings);
      });
    };
    const told = follow("accounting", log.accounting);
    const payments = follow("payouts", log.payouts);
    const paid = payments.flatMap((chain) => chain.events);
    const chains = [termsChain, ...lanes.values(), ...told, ...payments].map((chain) => [chain.name, chain]);
    checkArchives(told.flatMap((chain) => chain.events), new Map(chains), ends, log, findings);
    const accounts = readAccounts(told, findings);

    const jobs = new Jobs(log, terms, lanes, findings, nowMs);
    const shares = new Shares(lanes, jobs, findings);
    shares.judge(progress);
    const incomplete = new Map(told.map((chain) => [chain.name.slice(0, 64), Math.min(...chain.gapsBefore)]));
    const donations = new DonationsTold(told.flatMap((chain) => chain.events), incomplete);
    const rewards = new Rewards(log, terms, lanes, jobs.batches, shares, donations, new Attendance(shares, told), findings);
    rewards.judge(accounts, nowMs);
    new Summaries(lanes, terms, shares, findings).judge(accounts.summaries, nowMs);
    const payouts = new Payouts(log, terms, this.mintKeys, findings);
    payouts.judge(paid, rewards.statements.values());

    this.judged = { shares, rewards, payouts: paid };
    const miners = [...new Set([...shares.byMiner.keys(), ...payouts.balances.keys()])].sort().map((miner) => {
      const { pending, earned, paid: out } = payouts.balance(miner);
      const sum = shares.byMiner.get(miner);
      return {
        miner,
        shares: sum?.shares ?? 0,
        work: String(sum?.work ?? 0n),
        pending_msat: Number(pending),
        earned_msat: Number(earned),
        paid_msat: Number(out),
        owed_msat: Number(earned - out),
      };
    });
    const windows = [...lanes.values()].flatMap((lane) => lane.events);
    return {
      pool: name,
      from_ms: windows.reduce((least, { fromMs }) => Math.min(least, fromMs), windows[0]?.fromMs ?? 0),
      to_ms: windows.reduce((most, { toMs }) => Math.max(most, toMs), 0),
      holds: findings.holds(),
      claims: findings.claims(),
      findings: findings.all,
      miners,
      payouts: sorted(payouts.backings),
      payout_methods: sorted(new Map([...payouts.methods].map(([method, counts]) => [method, sorted(counts)]))),
      statements: [...rewards.statements.values()].map((judged) => ({
        id: judged.statement.event.id,
        offer: judged.statement.offer,
        block: judged.statement.reward.type === "block" ? judged.statement.reward.block : null,
        height: judged.statement.reward.type === "block" ? judged.statement.reward.height : null,
        end_ms: endMs(judged.statement),
        status: statusOf(judged) ?? "pending",
        rows: judged.rows,
      })),
      ignored: this.intake.ignored,
      events: this.intake.size,
      records: shares.records,
    };
  }

  /** What the log says of one miner, once it has been judged. */
  miner(pubkey ) {
    if (this.judged === null) return null;
    return viewMiner(pubkey, this.judged.shares, this.judged.rewards, this.judged.payouts);
  }
}

/** An object of a map's entries, in the order of their names. */
function sorted (map ) {
  return Object.fromEntries([...map].sort(([a], [b]) => (a < b ? -1 : 1)));
}
