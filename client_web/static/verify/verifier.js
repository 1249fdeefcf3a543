// Generated from client_web/verify/verifier.ts by client_web/verify/build.ts: edit that.

// The whole check: events in, a report out. Reads nothing, knows no clock but the one it is given.

import { Ends, checkKeysClosed, followChain, followLanes } from "./chains.js";

import { KIND } from "./event.js";
import { Findings } from "./findings.js";
import { Intake } from "./intake.js";
import { Jobs } from "./jobs.js";
import { viewMiner } from "./miner.js";
import { Payouts } from "./payouts.js";
import { Rewards } from "./rewards.js";
import { Shares } from "./shares.js";

export class Verifier {
                   address ;
                   findings = new Findings();
                   intake ;
          judged = null;

  constructor(pool , network ) {
    this.address = { pool, network };
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

    const terms = followChain(`${this.address.pool}/terms`, log.terms, undefined, false, findings).events;
    if (terms[0] !== undefined && terms[0].link.seq > 0) findings.say("chains", "missing-terms", "the first terms are on no relay asked");
    const ends = new Ends(terms);
    checkKeysClosed(terms, log, findings);
    const lanes = followLanes(log.receipts, ends, log.isRevoked, findings);
    const follow = (chain , events ) => {
      const keys = [...new Set(events.map((each) => each.event.pubkey))].sort();
      return keys.flatMap((key) => {
        const own = events.filter((each) => each.event.pubkey === key);
        return followChain(`${key}/${chain}`, own, ends.of(`${key}/${chain}`), log.isRevoked(key), findings).events;
      });
    };
    const told = follow("accounting", log.accounting);
    const paid = follow("payouts", log.payouts);

    const jobs = new Jobs(log, terms, lanes, findings);
    const shares = new Shares(lanes, jobs, findings);
    shares.judge(progress);
    const rewards = new Rewards(log, lanes, jobs.batches, shares, findings);
    const isStatement = (each ) => each.event.kind === KIND.STATEMENT;
    const isStatus = (each ) => each.event.kind === KIND.STATUS;
    rewards.judge(told.filter(isStatement), told.filter(isStatus), nowMs);
    const payouts = new Payouts(log, terms, findings);
    payouts.judge(paid, rewards.statements.values());

    this.judged = { shares, rewards, payouts: paid };
    const miners = [...new Set([...shares.byMiner.keys(), ...payouts.balances.keys()])].sort().map((miner) => {
      const { pending, earned, paid: out } = payouts.balance(miner);
      const sum = shares.byMiner.get(miner);
      return {
        miner,
        shares: sum?.shares ?? 0,
        work: String(sum?.work ?? 0n),
        pending_msat: pending,
        earned_msat: earned,
        paid_msat: out,
        owed_msat: earned - out,
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
      payouts: Object.fromEntries(payouts.backings),
      statements: [...rewards.statements.values()].map(({ statement, rows, statuses }) => ({
        id: statement.event.id,
        block: statement.block,
        height: statement.height,
        status: statuses[statuses.length - 1]?.status ?? "pending",
        rows,
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
