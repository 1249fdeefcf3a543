// Which shares a reward is split over: where lanes are cut, and S in its order (SPEC.md, "Splits").

import type { Lane } from "./chains.ts";
import type { Code } from "./findings.ts";
import type { Hold } from "./held.ts";
import type { JudgedJob } from "./jobs.ts";
import type { Receipt } from "./receipt.ts";
import type { Shares } from "./shares.ts";
import type { Priced } from "./split.ts";
import type { Head, Statement } from "./statement.ts";
import { workFromBits } from "./targets.ts";

export type Say = (code: Code, text: string, ids?: string[]) => void;

/** What S is asked for. */
export interface Window {
  readonly offer: string;
  readonly endMs: number;
  /** No job above this; null for a period. */
  readonly height: number | null;
  /** By lane: what earlier statements hold of it. */
  readonly held: ReadonlyMap<string, Hold>;
  /** A share's worth, where that matters. */
  readonly value: (job: JudgedJob, work: bigint) => bigint;
  /** The worker of a share, by its row, where a bonus asks for it. */
  readonly worker?: (row: number) => string;
}

export class Windows {
  readonly lanes: ReadonlyMap<string, Lane>;
  private readonly shares: Shares;
  /** By offer: rows of good credited shares in the order of S. */
  private readonly ordered = new Map<number, Uint32Array>();

  constructor(lanes: ReadonlyMap<string, Lane>, shares: Shares) {
    this.lanes = lanes;
    this.shares = shares;
  }

  /** Whether the batch of a head is among those of its lane. */
  knows(lane: string, head: Head): boolean {
    return this.lanes.get(lane)?.events.some((receipt) => receipt.event.id === head.id) ?? false;
  }

  /** Where a lane is to be cut for a reward; undefined if it has no such batch yet. */
  private dueHead(lane: Lane, endMs: number): Receipt | undefined {
    return lane.events.find((receipt) => receipt.toMs > endMs) ?? (lane.ended ? lane.events[lane.events.length - 1] : undefined);
  }

  /** Every lane as far as there is something of it, to be cut at a time. */
  allCuts(endMs: number): Map<string, number> {
    const cuts = new Map<string, number>();
    for (const [name, lane] of this.lanes) cuts.set(name, (this.dueHead(lane, endMs) ?? lane.events.at(-1))?.link.seq ?? -1);
    return cuts;
  }

  /** The lanes a statement counts, each with the number of its last batch. */
  checkHeads(statement: Statement, endMs: number, say: Say): Map<string, number> {
    const cuts = new Map<string, number>();
    for (const [name, head] of statement.heads) {
      const lane = this.lanes.get(name);
      if (lane === undefined || !this.knows(name, head)) continue; // the batch is missing, which is told apart
      cuts.set(name, head.seq);
      const due = this.dueHead(lane, endMs);
      // What is missing right before it may be the batch to cut at.
      if (due !== undefined && ((due.event.id === head.id && due.link.seq === head.seq) || lane.gapsBefore.has(due.link.seq))) continue;
      const told = due === undefined ? "has no batch past the reward, and had not ended" : `is to be cut at ${due.link.seq}, not at ${head.seq}`;
      say("statement-heads", `${name} ${told}`);
    }
    return cuts;
  }

  /**
   * Lanes left out: right if they had ended before the window or had not begun by the reward. One that appeared after the
   * statement counts in the next; one that was there is counted here. `offer`: whose work matters, null for any's.
   */
  checkLanes(
    statement: Statement, endMs: number, offer: string | null, reachMs: number, cuts: Map<string, number>, say: Say,
  ): void {
    for (const [name, lane] of this.lanes) {
      if (statement.heads.has(name)) continue;
      const [first, last] = [lane.events[0], lane.events[lane.events.length - 1]];
      if (first === undefined || last === undefined || first.fromMs > endMs) continue;
      if (lane.ended && last.toMs < reachMs) continue;
      if (!this.hasWork(lane, offer, endMs)) continue; // one that was only just opened wronged nobody
      if (first.event.created_at > statement.event.created_at) {
        say("late-lane", `${name} appeared after it, with work that belonged to it`, [first.event.id]);
      } else {
        say("statement-heads", `${name} is not among its heads`, [first.event.id]);
        cuts.set(name, (this.dueHead(lane, endMs) ?? last).link.seq);
      }
    }
  }

  /** Whether a lane has good credited shares of an offer, or of any, up to a time. */
  private hasWork(lane: Lane, offer: string | null, endMs: number): boolean {
    const { table, lanes, offers } = this.shares;
    const number = lanes.indexOf(lane);
    const asked = offer === null ? [...offers.keys()] : [offers.indexOf(offer)];
    return asked.some((each) =>
      this.inOrder(each).some((row) => table.lane[row] === number && (table.t[row] as number) <= endMs),
    );
  }

  /** The lanes of which something is missing that may have held work of this window. */
  blind(cuts: ReadonlyMap<string, number>, held: Window["held"], reachMs: number): string[] {
    return [...cuts.keys()].filter((lane) => {
      const until = this.shares.unknownUntil.get(lane) ?? -Infinity;
      return until > Math.max(reachMs, held.get(lane)?.untilMs ?? -Infinity);
    });
  }

  /** S, the newest first, less what is held. */
  *newestFirst({ offer, endMs, height, held, value, worker }: Window, cuts: ReadonlyMap<string, number>): Generator<Priced> {
    const { table, miners, lanes, offers, used } = this.shares;
    const rows = this.inOrder(offers.indexOf(offer));
    const names = lanes.map((lane) => `${lane.edge}/${lane.lane}`);
    const cutOf = names.map((name) => cuts.get(name) ?? -1);
    const holds = names.map((name) => held.get(name));
    let low = 0;
    let high = rows.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((table.t[rows[middle] as number] as number) <= endMs) low = middle + 1;
      else high = middle;
    }
    for (let i = low - 1; i >= 0; i--) {
      const row = rows[i] as number;
      const [lane, seq, t] = [table.lane[row] as number, table.seq[row] as number, table.t[row] as number];
      if (seq > (cutOf[lane] as number)) continue;
      if (height !== null && (table.height[row] as number) > height) continue;
      const hold = holds[lane];
      if (hold !== undefined && seq <= hold.seq && t <= hold.untilMs) continue;
      const work = workFromBits(table.bits[row] as number);
      const job = used[table.job[row] as number] as JudgedJob;
      const miner = miners[table.miner[row] as number] as string;
      yield { t, miner, work, value: value(job, work), worker: worker === undefined ? null : worker(row) };
    }
  }

  private inOrder(offer: number): Uint32Array {
    let rows = this.ordered.get(offer);
    if (rows === undefined) {
      const { table } = this.shares;
      const found: number[] = [];
      for (let row = 0; row < table.count; row++) if (table.offer[row] === offer && table.good[row] === 1) found.push(row);
      rows = Uint32Array.from(found).sort((a, b) => table.compare(a, b));
      this.ordered.set(offer, rows);
    }
    return rows;
  }
}
