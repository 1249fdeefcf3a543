// Generated from client_web/verify/rewards.ts by client_web/verify/build.ts: edit that.

// Statements recomputed, and the statuses that follow (SPEC.md, "Splits", "4214 reward statement" and "4216 reward status").

import { Blocks } from "./blocks.js";

import { moveDonations } from "./donations.js";

import { Held, inTime } from "./held.js";

import { REACH_MS, bonuses, standingsOf } from "./loyalty.js";
import { Overlaps } from "./overlaps.js";

import {
                             feeOf, payBonuses, splitAll, splitAlone, splitPeriod, splitPplns, subsidyMsat, valueOf,
} from "./split.js";

import { workFromBits } from "./targets.js";

import { Windows } from "./windows.js";

/** Two keys' clocks may differ by this. */
const CLOCKS_MS = 600_000;

/** What became of it: null while it matures; a period is payable at once. */
export function statusOf({ statement, statuses } ) {
  return statuses.at(-1)?.status ?? (statement.reward.type === "period" ? "matured" : null);
}

/** What a share is split by. */

function noValue() {
  return 0n;
}

export class Rewards {
           statements = new Map ();
                   blocks ;
                   windows ;
                   terms ;
                   donations ;
                   attendance ;
                   lanes ;
                   shares ;
                   findings ;
          held = new Held([], [], []);
  /** By job: the worth of shares of so much work. */
                   values = new Map ();

  constructor(
    log , terms , lanes , batches , shares ,
    donations , attendance , findings ,
  ) {
    this.terms = terms;
    this.lanes = lanes;
    this.shares = shares;
    this.donations = donations;
    this.attendance = attendance;
    this.findings = findings;
    this.blocks = new Blocks(log, batches, shares, findings);
    this.windows = new Windows(lanes, shares);
  }

  judge({ statements, statuses, refused } , nowMs ) {
    this.blocks.judge(nowMs);
    this.held = new Held(statements.map((each) => each.statement), statuses, this.terms);
    for (const each of statements) this.judgeStatement(each);
    this.checkStatuses(statuses.filter((status) => !refused.has(status.statement)));
    this.checkTwice();
    this.checkCountedTwice();
    this.checkOverdue(nowMs);
    this.checkPeriodsOverdue(nowMs);
  }

          judgeStatement({ statement, whole } ) {
    const codes = [];
    this.findings.checked("statements");
    const say = (code, text, ids = []) => {
      codes.push(code);
      this.findings.say("statements", code, text, [statement.event.id, ...ids]);
    };
    const { reward } = statement;
    const ask = reward.type === "block" ? this.askBlock(statement, reward, say) : this.askPeriod(statement, reward, say);
    const rows = ask === null ? null : this.recompute(statement, whole, ask, say);
    this.statements.set(statement.event.id, { statement, findings: codes, rows, statuses: [] });
  }

  /** What a block's statement is to split; null if that can't be told. */
          askBlock(statement , reward , say ) {
    const proven = this.blocks.proven.get(reward.block);
    const solution = this.shares.solutions.get(reward.block)?.find(({ receipt }) =>
      proven?.some((block) => block.receipt === receipt.event.id),
    );
    if (proven === undefined || solution === undefined) {
      const told = this.blocks.announced.get(reward.block) ?? [];
      if (told.some((block) => this.blocks.false.has(block.event.id))) {
        say("statement-reward", "the block it names is not what the shares say", [reward.block]);
      } else if (told.some((block) => this.blocks.unproven.has(block.event.id))) {
        say("statement-not-recomputed", "the share that is its block, or its job, is missing");
      } else {
        say("statement-no-block", "the block it names is announced on no relay asked", [reward.announced ?? reward.block]);
      }
      return null;
    }
    const [block] = proven ;
    if (!proven.some((each) => each.event.id === reward.announced)) {
      // What it names may stand on a relay that was not asked.
      const isOther = reward.announced === null || this.blocks.isProven(reward.announced);
      say(isOther ? "statement-reward" : "statement-no-block", "it does not name one event that announces its block");
    }
    const { job, terms, grossMsat } = solution.job;
    const told = [reward.height, reward.foundMs, BigInt(reward.grossMsat)].join();
    if (told !== [job.height, solution.t, grossMsat].join()) {
      say("statement-reward", "it tells another block, height, time or worth than the share");
    }
    if (statement.event.created_at * 1000 < reward.foundMs - CLOCKS_MS) {
      say("backdated", "it is dated before the reward that it splits", [block.event.id]);
    }
    if (statement.terms !== job.terms || statement.offer !== job.offer) {
      say("statement-terms", "it names other terms or another offer than the block's job");
    }
    const offer = terms?.offers.get(job.offer) ;
    const held = offer.scheme === "prop" ? this.held.before(statement) : new Map ();
    const plain = { offer: job.offer, endMs: solution.t, height: job.height, held, value: noValue };
    const window = offer.loyalty === null ? plain : { ...plain, worker: (row ) => this.attendance.workerOf(row) };
    const split = (cuts ) => {
      const alone = { t: solution.t, miner: solution.miner, work: workFromBits(solution.shareBits), worker: "" };
      if (offer.scheme === "solo") return splitAlone(alone, offer.feePpm, solution.t, grossMsat);
      // Paid by period: the pool carries the luck.
      if (offer.periodS !== null) return splitAlone(null, 1_000_000, solution.t, grossMsat);
      const newest = this.windows.newestFirst(window, cuts);
      if (offer.scheme === "prop") return splitAll(newest, offer.feePpm, solution.t, grossMsat);
      return splitPplns(newest, offer, job.nbits, solution.t, grossMsat);
    };
    return { window, split, grossMsat, donateTo: (terms ).donateTo, loyal: offer.loyalty === null ? null : offer };
  }

  /** What a period's statement is to pay; null if that can't be told. */
          askPeriod(statement , { fromMs, toMs } , say ) {
    if (statement.event.created_at * 1000 < toMs - CLOCKS_MS) say("backdated", "it is dated before the end of its period");
    const at = this.terms.findIndex((each) => each.event.id === statement.terms);
    const terms = this.terms[at];
    if (terms === undefined) {
      say("missing-terms", "the terms it names are on no relay asked", [statement.terms]);
      return null;
    }
    const offer = terms.offers.get(statement.offer);
    if (offer === undefined) {
      say("statement-terms", `its terms hold no offer ${JSON.stringify(statement.offer)}`);
      return null;
    }
    if (offer.periodS === null) {
      say("statement-reward", "its offer is not paid by period");
      return null;
    }
    const period = offer.periodS * 1000;
    if (toMs % period !== 0 || fromMs !== toMs - period) say("statement-reward", "it is no period of its offer");
    const newer = this.terms.slice(at + 1).find((each) => each.offers.has(statement.offer));
    const late = newer !== undefined && newer.event.created_at * 1000 + terms.jobMs <= toMs;
    if (terms.event.created_at * 1000 > toMs || late) {
      say("statement-terms", "its terms were not yet, or no more, in force when the period ended");
    }
    const { held, value } = { held: this.held.before(statement), value: this.valueOf };
    const window = { offer: statement.offer, endMs: toMs, height: null, held, value };
    const split = (cuts ) => splitPeriod(this.windows.newestFirst(window, cuts), toMs);
    return { window, split, grossMsat: null, donateTo: terms.donateTo, loyal: null };
  }

                   valueOf = (judged , work ) => {
    let known = this.values.get(judged);
    if (known === undefined) this.values.set(judged, (known = new Map()));
    let value = known.get(work);
    if (value === undefined) {
      const { job, grossMsat } = judged;
      const terms = judged.terms ;
      const { feePpm, scheme } = terms.offers.get(job.offer) ;
      const isRegtest = job.address.network === "regtest";
      const own = terms.blockBits === null ? 0n : workFromBits(terms.blockBits);
      const network = workFromBits(job.nbits) > own ? workFromBits(job.nbits) : own;
      value = valueOf(work, scheme === "pps" ? subsidyMsat(job.height, isRegtest) : grossMsat, feePpm, network);
      known.set(work, value);
    }
    return value;
  };

          recompute(statement , whole , ask , say ) {
    const { window } = ask;
    const heads = this.windows.checkHeads(statement, window.endMs, say);
    if ([...this.lanes.keys()].some((name) => !statement.heads.has(name))) {
      // How far back the window looks is of all lanes: one with work that counts is never left out.
      const { fromMs } = ask.split(this.windows.allCuts(window.endMs));
      const reachMs = ask.loyal === null ? fromMs : Math.min(fromMs, window.endMs - REACH_MS);
      // To a bonus all work counts, of whatever offer.
      this.windows.checkLanes(statement, window.endMs, ask.loyal === null ? window.offer : null, reachMs, heads, say);
    }
    const split = ask.split(heads);
    const absent = [...statement.heads].filter(([lane, head]) => !this.windows.knows(lane, head));
    if (absent.length > 0) {
      say("missing-batch", "a batch among its heads is on no relay asked", absent.map(([, head]) => head.id));
    }
    // What is missing matters if it may hold work that this window would have counted.
    const blind = new Set([...this.windows.blind(heads, window.held, split.reachMs), ...absent.map(([lane]) => lane)]);
    // What one statement held another's bonus looks at all the same.
    if (ask.loyal !== null) for (const lane of this.windows.blind(heads, new Map(), window.endMs - REACH_MS)) blind.add(lane);
    if (blind.size > 0) {
      say("statement-not-recomputed", `part of ${[...blind].join(", ")} is missing`);
      return null;
    }
    if (!whole) {
      say("statement-not-recomputed", "events with its rows are on no relay asked");
      return null;
    }
    if (ask.grossMsat === null && BigInt(statement.reward.grossMsat) !== split.grossMsat) {
      say("statement-reward", `the period's shares are worth ${split.grossMsat} msat`);
    }
    if (statement.reward.type === "period" && split.rows.length === 0) say("statement-reward", "the period has no work to count");
    if (statement.fromMs !== split.fromMs || statement.work !== split.work) {
      say("statement-window", `the shares give from_ms ${split.fromMs} and work ${split.work}`);
    }
    const moved = moveDonations(statement, window.endMs, split.rows, ask.donateTo, this.donations);
    if (moved === "missing") {
      say("statement-not-recomputed", "settings that a donation rests on are on no relay asked");
      return null;
    }
    if (typeof moved === "string") say("statement-split", moved);
    const left = typeof moved === "string" ? split.rows : moved;
    const { rows, feeMsat } = payBonuses(split, left, this.bonuses(statement, split, ask, heads));
    const text = (all ) =>
      all.map((row) => `${row.miner} ${row.work} ${row.msat} ${row.bonus}`).join();
    if (typeof moved !== "string" && (text(rows) !== text(statement.rows) || BigInt(statement.feeMsat) !== feeMsat)) {
      if (ask.loyal !== null && this.attendance.mayLack(statement)) {
        say("statement-not-recomputed", "attestations that its bonus rests on may be on no relay asked");
        return null;
      }
      say("statement-split", "its rows or fee are not what the shares and terms give");
    }
    const byMiner = new Map(statement.rows.map((row) => [row.miner, row.msat]));
    return rows.map((row) => ({
      miner: row.miner,
      work: String(row.work),
      msat: Number(row.msat),
      bonus: Number(row.bonus),
      told: byMiner.get(row.miner) ?? 0,
    }));
  }

  /** By miner: what comes out of the fee. */
          bonuses(statement , split , { loyal, window } , heads ) {
    if (loyal === null || loyal.loyalty === null) return new Map();
    const worked = this.attendance.worked(heads, window.endMs);
    const standings = standingsOf(loyal.loyalty, worked, this.attendance.before(statement));
    return bonuses(feeOf(split.grossMsat, loyal.feePpm), loyal.loyalty, split.workers, standings);
  }

          checkStatuses(statuses ) {
    const last = new Map ();
    for (const status of [...statuses].sort(inTime)) {
      this.findings.checked("statements");
      const ids = [status.event.id, status.statement];
      const judged = this.statements.get(status.statement);
      if (judged === undefined) {
        this.findings.say("statements", "status-unknown", "its statement is on no relay asked", ids);
        continue;
      }
      const before = last.get(status.statement);
      const isPeriods = judged.statement.reward.type === "period";
      // A reorganisation may bring an orphan back; what is void stays so; a period is payable at once.
      if (before === "void" || before === status.status || (isPeriods && status.status !== "void")) {
        this.findings.say("statements", "status-order", `${status.status} after ${before ?? "none"}`, ids);
        continue;
      }
      last.set(status.statement, status.status);
      judged.statuses.push(status);
    }
  }

  /** One reward, one statement; another only once the first was taken back. */
          checkTwice() {
    const known = new Map ();
    for (const each of [...this.statements.values()].sort((a, b) => inTime(a.statement, b.statement))) {
      const { reward, event, offer } = each.statement;
      const name = reward.type === "block" ? reward.block : `${offer} ${reward.toMs}`;
      const before = known.get(name) ?? [];
      known.set(name, [...before, each]);
      const isTaken = ({ status, event: { pubkey, created_at }, link } ) =>
        status === "void" && (pubkey === event.pubkey ? link.seq < each.statement.link.seq : created_at <= event.created_at);
      const standing = before.find(({ statuses }) => !statuses.some(isTaken));
      if (standing === undefined) continue;
      const ids = [standing.statement.event.id, event.id];
      this.findings.say("statements", "reward-twice", "both split one reward", ids);
    }
  }

  /** No share is counted by two statements that stand. */
          checkCountedTwice() {
    const standing = [...this.statements.values()].filter((each) => !["void", "orphaned"].includes(statusOf(each) ?? ""));
    for (const [ids, text] of new Overlaps(this.held, this.windows, this.terms).of(standing.map((each) => each.statement))) {
      this.findings.say("statements", "counted-twice", text, ids);
    }
  }

  /** When every lane's watermark had passed a time, as far as a statement has to wait for it. */
          passedMs(time , terms ) {
    let knownMs = 0;
    for (const lane of this.lanes.values()) {
      const past = lane.events.find((receipt) => receipt.toMs > time);
      // A silent lane excuses the statement for a while, not for good.
      const silentMs = lane.ended ? 0 : time + Math.max(terms.anchorMs, terms.laneGraceMs);
      knownMs = Math.max(knownMs, past === undefined ? silentMs : past.event.created_at * 1000);
    }
    return knownMs;
  }

          checkOverdue(nowMs ) {
    const split = new Set ();
    for (const { statement, statuses } of this.statements.values()) {
      if (statement.reward.type === "block" && statuses.at(-1)?.status !== "void") split.add(statement.reward.block);
    }
    for (const [name, blocks] of this.blocks.proven) {
      const solution = this.shares.solutions.get(name)?.[0];
      if (split.has(name) || solution === undefined) continue;
      const terms = solution.job.terms ;
      if (nowMs <= this.passedMs(solution.t, terms) + terms.statementMs) continue;
      const ids = blocks.map((block) => block.event.id);
      this.findings.say("statements", "statement-overdue", `block ${name} has no statement`, ids);
    }
  }

  /** Periods whose statement was made void and whose work none tells that stands: those after it may hold it. */
          checkPeriodsVoid(offer , terms , nowMs ) {
    const voided = new Map ();
    for (const { statement, statuses } of this.statements.values()) {
      const last = statuses.at(-1);
      if (statement.reward.type !== "period" || statement.offer !== offer || last?.status !== "void") continue;
      const { toMs } = statement.reward;
      voided.set(toMs, Math.max(last.event.created_at, voided.get(toMs) ?? 0));
    }
    for (const [toMs, second] of voided) {
      if (nowMs <= second * 1000 + terms.statementMs || this.held.isTold(offer, toMs)) continue;
      const window = { offer, endMs: toMs, height: null, held: this.held.standing(offer, toMs).held, value: noValue };
      if (this.windows.newestFirst(window, this.windows.allCuts(toMs)).next().done === true) continue;
      const text = `the period of ${offer} up to ${toMs} has no statement since its own is void`;
      this.findings.say("statements", "statement-overdue", text);
    }
  }

  /** Work of an offer paid by period that no statement counts, though one was due. */
          checkPeriodsOverdue(nowMs ) {
    for (const name of this.shares.offers) {
      const terms = this.terms.findLast((each) => each.offers.has(name));
      const periodS = terms?.offers.get(name)?.periodS ?? null;
      if (terms === undefined || periodS === null) continue;
      this.checkPeriodsVoid(name, terms, nowMs);
      const { held, untilMs } = this.held.standing(name);
      const window = { offer: name, endMs: Infinity, height: null, held, value: noValue };
      let oldest = null;
      for (const { t } of this.windows.newestFirst(window, this.windows.allCuts(Infinity))) oldest = t;
      if (oldest === null) continue;
      const period = periodS * 1000;
      const dueMs = Math.max(Math.ceil(oldest / period) * period, untilMs + period);
      if (nowMs <= Math.max(dueMs, this.passedMs(dueMs, terms)) + terms.statementMs) continue;
      this.findings.say("statements", "statement-overdue", `the period of ${name} up to ${dueMs} has no statement`);
    }
  }
}
