// The whole check: events in, a report out. Reads nothing, knows no clock but the one it is given.

import { readAccounts } from "./accounts.ts";
import { checkArchives } from "./archives.ts";
import { Attendance } from "./attendance.ts";
import { type Chain, Ends, checkKeysClosed, checkLanesClosed, followChain, followLanes } from "./chains.ts";
import type { Payout } from "./claims.ts";
import { DonationsTold } from "./donations.ts";
import type { Address } from "./event.ts";
import { type Claim, type Finding, Findings } from "./findings.ts";
import { type Chained, Intake } from "./intake.ts";
import { Jobs } from "./jobs.ts";
import { type MinerView, viewMiner } from "./miner.ts";
import type { MintKeys } from "./mints.ts";
import { Payouts } from "./payouts.ts";
import { type RecomputedRow, Rewards, statusOf } from "./rewards.ts";
import { Shares } from "./shares.ts";
import { endMs } from "./statement.ts";
import { Summaries } from "./summaries.ts";
import { checkSchemes } from "./terms.ts";

export interface MinerReport {
  readonly miner: string;
  readonly shares: number;
  readonly work: string;
  readonly pending_msat: number;
  readonly earned_msat: number;
  readonly paid_msat: number;
  readonly owed_msat: number;
}

export interface StatementReport {
  readonly id: string;
  readonly offer: string;
  /** null of a period. */
  readonly block: string | null;
  readonly height: number | null;
  /** Up to when it counts. */
  readonly end_ms: number;
  readonly status: string;
  /** null where the split could not be recomputed. */
  readonly rows: readonly RecomputedRow[] | null;
}

export interface Report {
  readonly pool: string;
  readonly from_ms: number;
  readonly to_ms: number;
  readonly holds: boolean;
  readonly claims: readonly Claim[];
  readonly findings: readonly Finding[];
  readonly miners: readonly MinerReport[];
  /** How many payouts by what their proofs are worth, and so by method. */
  readonly payouts: Readonly<Record<string, number>>;
  readonly payout_methods: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly statements: readonly StatementReport[];
  readonly ignored: number;
  readonly events: number;
  readonly records: number;
}

export class Verifier {
  private readonly address: Address;
  private readonly findings = new Findings();
  private readonly intake: Intake;
  private judged: { shares: Shares; rewards: Rewards; payouts: Payout[] } | null = null;

  private readonly mintKeys: MintKeys;

  /** `mintKeys`: of mints that somebody asked, what payouts in ecash are compared with. */
  constructor(pool: string, network: Address["network"], mintKeys: MintKeys = new Map()) {
    this.address = { pool, network };
    this.mintKeys = mintKeys;
    this.intake = new Intake(this.address, this.findings);
  }

  /** Take in an event from a relay; whether it is new, of this pool's log and has a good signature. */
  add(event: unknown): boolean {
    return this.intake.add(event);
  }

  /** How many good events came in. */
  get size(): number {
    return this.intake.size;
  }

  /** Ids of events outside the log that payouts name. */
  named(): string[] {
    return this.intake.named();
  }

  /** Check everything, as of `nowMs`; once, when all is in. */
  report(nowMs: number, progress: (records: number) => void = () => undefined): Report {
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
    const follow = <T extends Chained>(chain: string, events: T[]): Chain<T>[] => {
      const keys = [...new Set(events.map((each) => each.event.pubkey))].sort();
      return keys.map((key) => {
        const own = events.filter((each) => each.event.pubkey === key);
        return followChain(`${key}/${chain}`, own, ends.of(`${key}/${chain}`), log.isRevoked(key), findings);
      });
    };
    const told = follow("accounting", log.accounting);
    const payments = follow("payouts", log.payouts);
    const paid = payments.flatMap((chain) => chain.events);
    const chains = [termsChain, ...lanes.values(), ...told, ...payments].map((chain): [string, Chain<Chained>] => [chain.name, chain]);
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
  miner(pubkey: string): MinerView | null {
    if (this.judged === null) return null;
    return viewMiner(pubkey, this.judged.shares, this.judged.rewards, this.judged.payouts);
  }
}

/** An object of a map's entries, in the order of their names. */
function sorted<T>(map: ReadonlyMap<string, T>): Record<string, T> {
  return Object.fromEntries([...map].sort(([a], [b]) => (a < b ? -1 : 1)));
}
