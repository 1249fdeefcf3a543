// What a loyalty bonus rests on, out of the log: the hours of the lanes, and the attestations in the accounting chains
// (SPEC.md, "Other schemes").

import type { Chain, Lane } from "./chains.ts";
import type { Account } from "./accounts.ts";
import type { Chained } from "./intake.ts";
import { type Attested, HOUR_MS, Worked, type Worker, Workers } from "./loyalty.ts";
import type { Receipt } from "./receipt.ts";
import type { Shares } from "./shares.ts";
import type { Statement } from "./statement.ts";
import { workFromBits } from "./targets.ts";

/** The good credited shares of a lane in an hour. */
interface Hour {
  readonly rows: number[];
  sums: ReadonlyMap<Worker, bigint>;
  /** The greatest number of their batches, and the latest t. */
  seq: number;
  ms: number;
}

/** Attestations in a key's chain, each with the number of the event that holds it. */
type Placed = readonly [number, Attested];

export class Attendance {
  private readonly shares: Shares;
  private readonly attested = new Map<string, Placed[]>();
  /** By key: the lowest number before which something of its chain is missing. */
  private readonly gaps = new Map<string, number>();
  /** By lane's number in the table, then by hour since 1970. */
  private hours: Map<number, Hour>[] | null = null;
  private readonly workers = new Workers();
  private readonly receipts = new Map<Lane, Map<number, Receipt>>();

  constructor(shares: Shares, accounting: readonly Chain<Chained & Account>[]) {
    this.shares = shares;
    for (const { name, events, gapsBefore } of accounting) {
      const key = name.slice(0, 64);
      if (gapsBefore.size > 0) this.gaps.set(key, Math.min(...gapsBefore));
      const placed: Placed[] = [];
      for (const each of events) {
        if (!("of" in each) || each.of !== "attestations") continue;
        for (const attested of each.attestations) placed.push([each.link.seq, attested]);
      }
      this.attested.set(key, placed);
    }
  }

  /** The attestations that stand before a statement in its chain. */
  before({ event, link }: Statement): Attested[] {
    return (this.attested.get(event.pubkey) ?? []).filter(([seq]) => seq < link.seq).map(([, attested]) => attested);
  }

  /** Whether attestations may stand before a statement where nothing was read. */
  mayLack({ event, link }: Statement): boolean {
    return (this.gaps.get(event.pubkey) ?? Infinity) <= link.seq;
  }

  /** The worker of a share, by its row in the table. */
  workerOf(row: number): string {
    const { table, lanes } = this.shares;
    const lane = lanes[table.lane[row] as number] as Lane;
    let bySeq = this.receipts.get(lane);
    if (bySeq === undefined) this.receipts.set(lane, (bySeq = new Map(lane.events.map((each) => [each.link.seq, each]))));
    const receipt = bySeq.get(table.seq[row] as number) as Receipt;
    return (receipt.sessions[table.session[row] as number] as Receipt["sessions"][number]).worker;
  }

  /** What was done up to a time, in the lanes up to the numbers of `cuts`. */
  worked(cuts: ReadonlyMap<string, number>, endMs: number): Worked {
    const { table, lanes } = this.shares;
    this.hours ??= this.sumHours();
    const worked = new Worked(endMs, this.workers);
    this.hours.forEach((hours, number) => {
      const lane = lanes[number] as Lane;
      const cut = cuts.get(`${lane.edge}/${lane.lane}`) ?? -1;
      for (let at = worked.firstHour; at * HOUR_MS <= endMs; at++) {
        const hour = hours.get(at);
        if (hour === undefined) continue;
        let { sums } = hour;
        if (hour.seq > cut || hour.ms > endMs) {
          sums = this.sum(hour.rows.filter((row) => (table.seq[row] as number) <= cut && (table.t[row] as number) <= endMs));
        }
        for (const [worker, work] of sums) worked.add(at, worker, work);
      }
    });
    return worked;
  }

  private sumHours(): Map<number, Hour>[] {
    const { table, lanes } = this.shares;
    const found = lanes.map(() => new Map<number, Hour>());
    for (let row = 0; row < table.count; row++) {
      if (table.good[row] === 0) continue;
      const hours = found[table.lane[row] as number] as Map<number, Hour>;
      const [t, seq] = [table.t[row] as number, table.seq[row] as number];
      const at = Math.floor(t / HOUR_MS);
      let hour = hours.get(at);
      if (hour === undefined) hours.set(at, (hour = { rows: [], sums: new Map(), seq, ms: t }));
      hour.rows.push(row);
      hour.seq = Math.max(hour.seq, seq);
      hour.ms = Math.max(hour.ms, t);
    }
    for (const hours of found) for (const hour of hours.values()) hour.sums = this.sum(hour.rows);
    return found;
  }

  private sum(rows: readonly number[]): Map<Worker, bigint> {
    const { table, miners } = this.shares;
    const sums = new Map<Worker, bigint>();
    for (const row of rows) {
      const worker = this.workers.of(miners[table.miner[row] as number] as string, this.workerOf(row));
      sums.set(worker, (sums.get(worker) ?? 0n) + workFromBits(table.bits[row] as number));
    }
    return sums;
  }
}
