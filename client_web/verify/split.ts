// pplns (SPEC.md, "Splits"): a reward's split as a pure function of the shares, in integers.

import { workFromBits } from "./targets.ts";
import type { Offer } from "./terms.ts";

export interface Split {
  readonly fromMs: number;
  readonly work: bigint;
  readonly feeMsat: bigint;
  /** By miner, sorted. */
  readonly rows: readonly { readonly miner: string; readonly work: bigint; readonly msat: bigint }[];
  /** The window looks no further back than here: older shares, known or not, change nothing. */
  readonly reachMs: number;
}

export interface Counted {
  readonly t: number;
  readonly miner: string;
  readonly work: bigint;
}

/** W, the most work a window counts. */
export function windowWork(offer: Offer, nbits: number): bigint {
  const aimed = (BigInt(offer.windowMilli) * workFromBits(nbits)) / 1000n;
  return aimed > offer.windowMinWork ? aimed : offer.windowMinWork;
}

/**
 * Split a reward over S, given newest first: the offer's good credited shares with t <= endMs and a job height at most
 * the reward's.
 */
export function splitPplns(newestFirst: Iterable<Counted>, offer: Offer, nbits: number, endMs: number, grossMsat: bigint): Split {
  let left = windowWork(offer, nbits);
  let fromMs = endMs;
  let total = 0n;
  const works = new Map<string, bigint>();
  const oldestMs = offer.windowMaxMs === 0 ? -Infinity : endMs - offer.windowMaxMs;
  if (left > 0n) {
    for (const { t, miner, work } of newestFirst) {
      if (t < oldestMs) break;
      const counts = work < left ? work : left;
      works.set(miner, (works.get(miner) ?? 0n) + counts);
      total += counts;
      left -= counts;
      fromMs = t;
      if (left === 0n) break;
    }
  }
  const pot = grossMsat - (grossMsat * BigInt(offer.feePpm)) / 1_000_000n;
  const rows = [...works.keys()].sort().map((miner) => {
    const work = works.get(miner) as bigint;
    return { miner, work, msat: (pot * work) / total };
  });
  const paid = rows.reduce((sum, row) => sum + row.msat, 0n);
  return { fromMs, work: total, feeMsat: grossMsat - paid, rows, reachMs: left === 0n ? fromMs : oldestMs };
}
