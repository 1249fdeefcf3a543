// Hourly summaries recomputed from the batches that they count, one after another (SPEC.md, "4221 hourly summary").

import type { WholeSummary } from "./accounts.ts";
import type { Lane } from "./chains.ts";
import type { Code, Findings } from "./findings.ts";
import type { Receipt } from "./receipt.ts";
import type { Shares } from "./shares.ts";
import { HOUR_MS, type SummaryRow } from "./summary.ts";
import { workFromBits } from "./targets.ts";
import type { Terms } from "./terms.ts";

/** A miner's workers that have rows of their own, where there are more than MAX_WORKERS. */
const MAX_WORKERS = 128;
const OTHERS = "*";
const DAY_MS = 24 * HOUR_MS;

/** A worker's work in the batches that a summary counts. */
interface Sum {
  readonly miner: string;
  worker: string;
  work: bigint;
  shares: number;
  readonly rejects: Map<number, number>;
  best: number;
  /** Whether a share of the worker's was bad: then the best one is not compared. */
  wrong: boolean;
}

function hourEnd(ms: number): number {
  return Math.ceil(ms / HOUR_MS) * HOUR_MS;
}

function add(into: Map<number, number>, rejects: Iterable<readonly [number, number]>): void {
  for (const [code, count] of rejects) into.set(code, (into.get(code) ?? 0) + count);
}

function sorted(rejects: ReadonlyMap<number, number>): string {
  return [...rejects].sort((a, b) => a[0] - b[0]).join();
}

function merge(sums: Sum[]): Sum {
  const [first, ...rest] = sums as [Sum, ...Sum[]];
  const all: Sum = { ...first, worker: OTHERS, rejects: new Map(first.rejects) };
  for (const sum of rest) {
    all.work += sum.work;
    if (sum.shares > 0) all.best = all.shares > 0 ? Math.min(all.best, sum.best) : sum.best;
    all.shares += sum.shares;
    all.wrong ||= sum.wrong;
    add(all.rejects, sum.rejects);
  }
  return all;
}

/** Rows as they stand, sorted; of a miner with many workers the small ones as one. */
function rowsOf(sums: Iterable<Sum>): Sum[] {
  const byMiner = new Map<string, Sum[]>();
  for (const sum of sums) {
    if (sum.shares === 0 && sum.rejects.size === 0) continue;
    const own = byMiner.get(sum.miner) ?? [];
    byMiner.set(sum.miner, own);
    own.push(sum);
  }
  const rows: Sum[] = [];
  for (const own of byMiner.values()) {
    if (own.length <= MAX_WORKERS) rows.push(...own);
    else {
      own.sort((a, b) => (a.work === b.work ? (a.worker < b.worker ? -1 : 1) : a.work > b.work ? -1 : 1));
      rows.push(...own.slice(0, MAX_WORKERS - 1), merge(own.slice(MAX_WORKERS - 1)));
    }
  }
  const key = ({ miner, worker }: Sum) => `${miner} ${worker}`;
  return rows.sort((a, b) => (key(a) < key(b) ? -1 : 1));
}

export class Summaries {
  private readonly lanes: ReadonlyMap<string, Lane>;
  private readonly terms: readonly Terms[];
  private readonly shares: Shares;
  private readonly findings: Findings;
  /** By lane: the number of the last batch that a summary counted. */
  private readonly counted = new Map<string, number>();
  private lastMs: number | null = null;
  /** By "<lane's number in the table>/<seq>": rows of its shares. */
  private readonly rows = new Map<string, number[]>();
  private readonly numbers = new Map<string, number>();

  constructor(lanes: ReadonlyMap<string, Lane>, terms: readonly Terms[], shares: Shares, findings: Findings) {
    this.lanes = lanes;
    this.terms = terms;
    this.shares = shares;
    this.findings = findings;
  }

  judge(byKey: ReadonlyMap<string, readonly WholeSummary[]>, nowMs: number): void {
    const queues = new Map([...byKey].map(([key, summaries]) => [key, [...summaries]]));
    if (queues.size > 0) this.index();
    const judged: WholeSummary[] = [];
    for (let next = this.pick(queues); next !== undefined; next = this.pick(queues)) {
      this.findings.checked("summaries");
      this.judgeOne(next);
      judged.push(next);
    }
    if (this.checkLeftOut(judged)) return;
    this.checkOverdue(nowMs);
  }

  private say(code: Code, text: string, ids: string[] = []): void {
    this.findings.say("summaries", code, text, ids);
  }

  private index(): void {
    const { table, lanes } = this.shares;
    lanes.forEach((lane, number) => this.numbers.set(`${lane.edge}/${lane.lane}`, number));
    for (let row = 0; row < table.count; row++) {
      const name = `${table.lane[row]}/${table.seq[row]}`;
      const same = this.rows.get(name);
      if (same === undefined) this.rows.set(name, [row]);
      else same.push(row);
    }
  }

  /** Of several keys' the one that goes on where the last one ended, else the one that terms named first. */
  private pick(queues: Map<string, WholeSummary[]>): WholeSummary | undefined {
    const open = [...queues].filter(([, queue]) => queue.length > 0);
    const follows = open.find(([, queue]) => queue[0]?.summary.fromMs === this.lastMs);
    const named = this.terms.flatMap((terms) =>
      terms.keys.filter(([, role]) => role === "accounting").map(([key]) => key).sort(),
    );
    const rank = (key: string) => (named.includes(key) ? named.indexOf(key) : named.length);
    const chosen = follows ?? open.sort((a, b) => rank(a[0]) - rank(b[0]))[0];
    return chosen?.[1].shift();
  }

  private judgeOne({ summary, rows, whole, parted, follows }: WholeSummary): void {
    const { event, fromMs, toMs, heads } = summary;
    const ids = [event.id];
    const wrong: string[] = [];
    if (event.created_at * 1000 < toMs) wrong.push("it is dated before its hour was over");
    const missing: string[] = [];
    let blind = !whole || !follows;
    let isVoid = false;
    const batches: Receipt[] = [];
    const asked: string[] = [];
    for (const [name, head] of heads) {
      const lane = this.lanes.get(name);
      const after = this.counted.get(name) ?? -1;
      const found = lane?.events.filter((each) => each.link.seq > after && each.link.seq <= head.seq) ?? [];
      if (lane === undefined || !lane.events.some((each) => each.event.id === head.id)) {
        if (this.isClosedBelow(name, head.seq, event.created_at)) isVoid = true;
        else if (lane?.events.every((each) => each.link.seq !== head.seq) ?? true) missing.push(head.id);
        else asked.push(`${name} has another batch ${head.seq}`);
      }
      if (found.length !== head.seq - after || found.some((each) => this.shares.unjudged.has(each.event.id))) {
        if (head.seq > after) blind = true;
      }
      batches.push(...found);
      const due = lane?.events.findLast((each) => each.toMs <= toMs);
      if (head.seq <= after) asked.push(`${name} has nothing that was not counted`);
      else if (due === undefined || due.link.seq !== head.seq) asked.push(`${name} is to be counted up to ${due?.link.seq ?? "no batch"}`);
    }
    if (missing.length > 0) this.say("missing-batch", "a batch among its heads is on no relay asked", [...ids, ...missing]);
    for (const [name, after] of this.counted) {
      // What earlier ones counted is not known if one of them was not read.
      if (heads.has(name) || !follows) continue;
      const left = this.lanes.get(name)?.events.some((each) => each.link.seq > after && each.toMs <= toMs) ?? false;
      if (left) wrong.push(`${name} is left out`);
    }
    if (isVoid) {
      this.say("closed-chain", "it counts batches that later terms have made void", ids);
    } else if (blind || missing.length > 0) {
      this.say("summary-not-recomputed", "part of what it counts is missing, or can't be judged", ids);
    } else {
      const span = this.span([...heads.keys()]);
      if (span !== null && (span.fromMs !== fromMs || span.toMs !== toMs)) wrong.push(`it should be of ${span.fromMs} to ${span.toMs}`);
      wrong.push(...asked);
      const row = this.compare(rows, batches);
      if (row !== null) wrong.push(row);
    }
    if (whole) {
      if (!parted) wrong.push("what stands before it are not its parts");
      const rejects = new Map<number, number>();
      for (const row of rows) add(rejects, row.rejects);
      const sums = [rows.reduce((sum, row) => sum + row.work, 0n), rows.reduce((sum, row) => sum + row.shares, 0), sorted(rejects)];
      if (sums.join(" ") !== [summary.work, summary.shares, sorted(summary.rejects)].join(" ")) wrong.push("its rows do not add up");
    }
    if (wrong.length > 0) this.say("summary", wrong.join("; "), ids);
    this.lastMs = Math.max(this.lastMs ?? 0, toMs);
    for (const [name, head] of heads) this.counted.set(name, Math.max(head.seq, this.counted.get(name) ?? -1));
  }

  /** Whether terms dated after a second closed a lane below a number. */
  private isClosedBelow(lane: string, seq: number, second: number): boolean {
    const star = `${lane.slice(0, 64)}/*`;
    return this.terms.some(({ event, closed }) => {
      const end = closed.get(lane);
      return event.created_at > second && (end !== undefined ? end.seq < seq : closed.has(star));
    });
  }

  /** Of which time a summary of these lanes has to be; null if they have nothing to count. */
  private span(names: readonly string[]): { fromMs: number; toMs: number } | null {
    let [begin, first] = [Infinity, Infinity];
    for (const name of names) {
      const lane = this.lanes.get(name);
      const next = lane?.events.find((each) => each.link.seq > (this.counted.get(name) ?? -1));
      if (lane === undefined || next === undefined) continue;
      begin = Math.min(begin, lane.events[0]?.fromMs ?? Infinity);
      first = Math.min(first, next.toMs);
    }
    if (first === Infinity) return null;
    if (this.lastMs === null) return { fromMs: Math.floor(begin / HOUR_MS) * HOUR_MS, toMs: hourEnd(first) };
    return { fromMs: this.lastMs, toMs: Math.max(this.lastMs + HOUR_MS, hourEnd(first)) };
  }

  /** What these batches give, a worker a row. */
  private sum(batches: readonly Receipt[]): Sum[] {
    const { table } = this.shares;
    const sums = new Map<string, Sum>();
    const of = (miner: string, worker: string): Sum => {
      const key = `${miner} ${worker}`;
      let sum = sums.get(key);
      if (sum === undefined) {
        sums.set(key, (sum = { miner, worker, work: 0n, shares: 0, rejects: new Map(), best: 0, wrong: false }));
      }
      return sum;
    };
    const wrongIn = new Set(batches.map((each) => each.event.id));
    for (const batch of batches) {
      const number = this.numbers.get(`${batch.event.pubkey}/${batch.lane}`);
      const at = (session: number) => {
        const { miner, worker } = batch.sessions[session] as Receipt["sessions"][number];
        return of(batch.miners[miner] as string, worker);
      };
      for (const row of this.rows.get(`${number}/${batch.link.seq}`) ?? []) {
        const sum = at(table.session[row] as number);
        if (table.good[row] === 0) {
          sum.wrong = true;
          continue;
        }
        const best = table.best[row] as number;
        sum.best = sum.shares > 0 ? Math.min(sum.best, best) : best;
        sum.shares++;
        sum.work += workFromBits(table.bits[row] as number);
      }
      for (const { session, code, count } of batch.refused) if (count > 0) add(at(session).rejects, [[code, count]]);
    }
    for (const name of this.shares.wrongDoers) {
      const [id, miner, worker] = name.split(" ") as [string, string, string];
      if (wrongIn.has(id)) of(miner, worker).wrong = true;
    }
    return rowsOf(sums.values());
  }

  private compare(told: readonly SummaryRow[], batches: readonly Receipt[]): string | null {
    const ours = this.sum(batches);
    if (ours.length !== told.length) return `the batches give ${ours.length} rows, not ${told.length}`;
    for (const [i, sum] of ours.entries()) {
      const row = told[i] as SummaryRow;
      const same =
        row.miner === sum.miner && row.worker === sum.worker && row.work === sum.work && row.shares === sum.shares &&
        sorted(row.rejects) === sorted(sum.rejects) && (sum.wrong || row.best === (sum.shares > 0 ? sum.best : null));
      if (!same) return `row ${i} is not what the batches give`;
    }
    return null;
  }

  /** Batches that no summary counts, though one that ended later is a day old; whether there are any. */
  private checkLeftOut(judged: readonly WholeSummary[]): boolean {
    const left: string[] = [];
    for (const [name, lane] of this.lanes) {
      for (const each of lane.events) {
        if (each.link.seq <= (this.counted.get(name) ?? -1)) continue;
        const late = judged.some(
          ({ summary }) => summary.toMs > each.toMs && summary.event.created_at * 1000 >= hourEnd(each.toMs) + DAY_MS,
        );
        if (late) left.push(each.event.id);
      }
    }
    if (left.length > 0) this.say("summary-overdue", `${left.length} batches are in no summary`, left.slice(0, 8));
    return left.length > 0;
  }

  private checkOverdue(nowMs: number): void {
    const terms = this.terms.at(-1);
    const next = this.span([...this.lanes.keys()]);
    const open = [...this.lanes.values()].filter((lane) => !lane.ended);
    if (terms === undefined || next === null || open.length === 0) return;
    const { toMs } = next;
    const past = open.map((lane) => lane.events.find((each) => each.toMs > toMs));
    if (past.every((batch) => batch !== undefined)) {
      const knownMs = Math.max(toMs, ...past.map((batch) => (batch as Receipt).event.created_at * 1000));
      if (nowMs > knownMs + terms.statementMs) this.say("summary-overdue", `what ended by ${toMs} is in no summary`);
      return;
    }
    // A silent lane excuses the summary for a while, not for good.
    const marks = [...this.lanes.values()].map((lane) => lane.events.at(-1)?.toMs ?? 0);
    const waitMs = terms.statementMs + Math.max(terms.anchorMs, terms.laneGraceMs);
    if (Math.max(...marks) > toMs + waitMs) this.say("summary-overdue", `what ended by ${toMs} is in no summary, a lane is silent`);
  }
}
