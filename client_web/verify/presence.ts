// The hours in which each miner was there, and the work of attested workers by day, of all lanes together: summed in one
// pass over the shares, so that a statement only counts bits (SPEC.md, "Other schemes").

import type { Lane } from "./chains.ts";
import { DAY_MS, HOUR_MS } from "./loyalty.ts";
import type { Shares } from "./shares.ts";
import { workFromBits } from "./targets.ts";

/** The good credited shares of a lane, by hour. */
export interface LaneHours {
  /** In UTC since 1970, ascending. */
  readonly hours: readonly number[];
  /** By hour: where its rows begin in the order of all; one more at the end. */
  readonly starts: readonly number[];
  /** The greatest number of a batch with a share in an hour or before. */
  readonly seqs: readonly number[];
}

function bitCount(bits: number): number {
  let n = bits - ((bits >>> 1) & 0x55555555);
  n = (n & 0x33333333) + ((n >>> 2) & 0x33333333);
  return (((n + (n >>> 4)) & 0x0f0f0f0f) * 0x01010101) >>> 24;
}

/** The first place whose value is not less. */
export function lowerBound(values: readonly number[], value: number): number {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((values[middle] as number) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

export class Presence {
  /** As the shares' lanes are numbered. */
  readonly lanes: readonly LaneHours[];
  /** Rows by lane and hour, in the order of the table. */
  readonly rows: Uint32Array;
  private readonly shares: Shares;
  /** By miner: its first hour, rounded down to 32; where its bits begin, and one more at the end. */
  private readonly first: Float64Array;
  private readonly starts: Float64Array;
  private readonly bits: Uint32Array;
  /** By "<miner> <worker>", then by day. */
  private readonly works = new Map<string, Map<number, bigint>>();

  /** `attested`: the workers, as "<miner> <worker>", of whom the work is wanted; `workerOf`: the name behind a row. */
  constructor(shares: Shares, attested: ReadonlySet<string>, workerOf: (row: number) => string) {
    this.shares = shares;
    const { table, miners, lanes } = shares;
    const counts = lanes.map(() => new Map<number, { rows: number; seq: number }>());
    const last = new Float64Array(miners.length).fill(-1);
    this.first = new Float64Array(miners.length).fill(Infinity);
    const owners = new Set([...attested].map((name) => name.slice(0, name.indexOf(" "))));
    const wanted = Uint8Array.from(miners, (miner) => (owners.has(miner) ? 1 : 0));
    for (let row = 0; row < table.count; row++) {
      if (table.good[row] === 0) continue;
      const hour = Math.floor((table.t[row] as number) / HOUR_MS);
      const [miner, seq] = [table.miner[row] as number, table.seq[row] as number];
      const ofLane = counts[table.lane[row] as number] as Map<number, { rows: number; seq: number }>;
      const known = ofLane.get(hour);
      if (known === undefined) ofLane.set(hour, { rows: 1, seq });
      else {
        known.rows++;
        if (seq > known.seq) known.seq = seq;
      }
      if (hour < (this.first[miner] as number)) this.first[miner] = hour - (hour % 32);
      if (hour > (last[miner] as number)) last[miner] = hour;
      if (wanted[miner] === 1) this.addWork(row, attested, workerOf);
    }
    let place = 0;
    const next = counts.map(() => new Map<number, number>());
    this.lanes = counts.map((ofLane, number) => {
      const hours = [...ofLane.keys()].sort((a, b) => a - b);
      let seq = -1;
      const [starts, seqs]: [number[], number[]] = [[], []];
      for (const hour of hours) {
        const { rows, seq: greatest } = ofLane.get(hour) as { rows: number; seq: number };
        next[number]?.set(hour, place);
        starts.push(place);
        place += rows;
        seqs.push((seq = Math.max(seq, greatest)));
      }
      return { hours, starts: [...starts, place], seqs };
    });
    this.rows = new Uint32Array(place);
    this.starts = new Float64Array(miners.length + 1);
    miners.forEach((_, miner) => {
      const words = last[miner] === -1 ? 0 : ((last[miner] as number) - (this.first[miner] as number) + 32) >>> 5;
      this.starts[miner + 1] = (this.starts[miner] as number) + words;
    });
    this.bits = new Uint32Array(this.starts[miners.length] as number);
    for (let row = 0; row < table.count; row++) {
      if (table.good[row] === 0) continue;
      const hour = Math.floor((table.t[row] as number) / HOUR_MS);
      const [miner, places] = [table.miner[row] as number, next[table.lane[row] as number] as Map<number, number>];
      const at = places.get(hour) as number;
      this.rows[at] = row;
      places.set(hour, at + 1);
      const bit = hour - (this.first[miner] as number);
      const word = (this.starts[miner] as number) + (bit >>> 5);
      this.bits[word] = (this.bits[word] as number) | (1 << (bit & 31));
    }
  }

  /** Whether lanes up to the numbers of `cuts` have all that there is of these hours. */
  serves(cuts: ReadonlyMap<string, number>, fromHour: number, endHour: number): boolean {
    return this.lanes.every(({ hours, seqs }, number) => {
      const at = lowerBound(hours, endHour) - 1;
      if (at < 0 || (hours[at] as number) < fromHour) return true;
      const { edge, lane } = this.shares.lanes[number] as Lane;
      return (seqs[at] as number) <= (cuts.get(`${edge}/${lane}`) ?? -1);
    });
  }

  /** In how many of these hours a miner, by its number, was there. */
  count(miner: number, fromHour: number, endHour: number): number {
    const [first, start] = [this.first[miner] as number, this.starts[miner] as number];
    const size = ((this.starts[miner + 1] as number) - start) * 32;
    const from = Math.max(0, fromHour - first);
    const end = Math.min(size, endHour - first);
    let count = 0;
    for (let at = from; at < end; ) {
      const [shift, length] = [at & 31, Math.min(32 - (at & 31), end - at)];
      const word = (this.bits[start + (at >>> 5)] as number) >>> shift;
      count += bitCount(length === 32 ? word : word & ((1 << length) - 1));
      at += length;
    }
    return count;
  }

  /** The work of an attested worker on a day. */
  work(worker: string, day: number): bigint {
    return this.works.get(worker)?.get(day) ?? 0n;
  }

  private addWork(row: number, attested: ReadonlySet<string>, workerOf: (row: number) => string): void {
    const { table, miners } = this.shares;
    const worker = `${miners[table.miner[row] as number]} ${workerOf(row)}`;
    if (!attested.has(worker)) return;
    const day = Math.floor((table.t[row] as number) / DAY_MS);
    let works = this.works.get(worker);
    if (works === undefined) this.works.set(worker, (works = new Map()));
    works.set(day, (works.get(day) ?? 0n) + workFromBits(table.bits[row] as number));
  }
}
