// What a loyalty bonus rests on, out of the log: the hours of the lanes, and the attestations in the accounting chains
// (SPEC.md, "Other schemes").

import type { Chain, Lane } from "./chains.ts";
import type { Account } from "./accounts.ts";
import type { Chained } from "./intake.ts";
import { type Attested, type Done, HOUR_MS, Worked, Workers, measuredBy } from "./loyalty.ts";
import { Presence, lowerBound } from "./presence.ts";
import type { Receipt } from "./receipt.ts";
import type { Shares } from "./shares.ts";
import type { Statement } from "./statement.ts";
import { workFromBits } from "./targets.ts";

/** Attestations in a key's chain, each with the number of the event that holds it. */
type Placed = readonly [number, Attested];

export class Attendance {
  private readonly shares: Shares;
  private readonly attested = new Map<string, Placed[]>();
  /** By key: the lowest number before which something of its chain is missing. */
  private readonly gaps = new Map<string, number>();
  private presence: Presence | null = null;
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
  worked(cuts: ReadonlyMap<string, number>, endMs: number): Done {
    const { table, miners, lanes } = this.shares;
    this.presence ??= this.sumUp();
    const { presence } = this;
    const plain = new Worked(endMs, new Workers());
    // The hours that are over; of the one that is not the shares tell.
    const over = Math.floor((endMs + 1) / HOUR_MS);
    const isWhole = presence.serves(cuts, plain.firstHour, over);
    const there = new Set<number>();
    presence.lanes.forEach(({ hours, starts }, number) => {
      const lane = lanes[number] as Lane;
      const cut = cuts.get(`${lane.edge}/${lane.lane}`) ?? -1;
      const [from, end] = [lowerBound(hours, isWhole ? over : plain.firstHour), lowerBound(hours, Math.floor(endMs / HOUR_MS) + 1)];
      for (let at = starts[from] as number; at < (starts[Math.max(from, end)] as number); at++) {
        const row = presence.rows[at] as number;
        const t = table.t[row] as number;
        if ((table.seq[row] as number) > cut || t > endMs) continue;
        const miner = table.miner[row] as number;
        if (isWhole) there.add(miner);
        else {
          const worker = plain.workers.of(miners[miner] as string, this.workerOf(row));
          plain.add(Math.floor(t / HOUR_MS), worker, workFromBits(table.bits[row] as number));
        }
      }
    });
    if (!isWhole) return plain;
    const hours = new Map<string, number>();
    miners.forEach((miner, number) => {
      const count = presence.count(number, plain.firstCounted, over) + (there.has(number) ? 1 : 0);
      if (count > 0) hours.set(miner, count);
    });
    return {
      hours,
      countsDay: (day) => plain.countsDay(day),
      measured: (miner, name, day) => (plain.countsDay(day) ? measuredBy(presence.work(`${miner} ${name}`, day)) : 0n),
    };
  }

  private sumUp(): Presence {
    const attested = new Set<string>();
    for (const placed of this.attested.values()) for (const [, { miner, worker }] of placed) attested.add(`${miner} ${worker}`);
    return new Presence(this.shares, attested, (row) => this.workerOf(row));
  }
}
