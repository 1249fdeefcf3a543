// Splits (SPEC.md, "Splits"): a reward's rows as a pure function of the shares, in integers.

import { workFromBits } from "./targets.ts";
import type { Offer } from "./terms.ts";

const PPM = 1_000_000n;
const FRACTION_BITS = 64n;
const FIRST_SUBSIDY_SAT = 5_000_000_000n;
const HALVINGS = 64;

export interface SplitRow {
  readonly miner: string;
  readonly work: bigint;
  readonly msat: bigint;
}

export interface Split {
  readonly fromMs: number;
  readonly work: bigint;
  readonly grossMsat: bigint;
  readonly feeMsat: bigint;
  /** By miner, sorted. */
  readonly rows: readonly SplitRow[];
  /** The window looks no further back than here: older shares, known or not, change nothing. */
  readonly reachMs: number;
}

export interface Counted {
  readonly t: number;
  readonly miner: string;
  readonly work: bigint;
}

/** A share with its worth in msat / 2^64. */
export interface Priced extends Counted {
  readonly value: bigint;
}

/** W, the most work a window counts. */
export function windowWork(offer: Offer, nbits: number): bigint {
  const aimed = (BigInt(offer.windowMilli) * workFromBits(nbits)) / 1000n;
  return aimed > offer.windowMinWork ? aimed : offer.windowMinWork;
}

/** The pot by work; what rounding leaves is the pool's. */
function divide(works: Map<string, bigint>, feePpm: number, grossMsat: bigint, fromMs: number, reachMs: number): Split {
  const work = [...works.values()].reduce((sum, each) => sum + each, 0n);
  const pot = grossMsat - (grossMsat * BigInt(feePpm)) / PPM;
  const rows = [...works].map(([miner, own]) => ({ miner, work: own, msat: (pot * own) / work }));
  rows.sort((a, b) => (a.miner < b.miner ? -1 : 1));
  const paid = rows.reduce((sum, row) => sum + row.msat, 0n);
  return { fromMs, work, grossMsat, feeMsat: grossMsat - paid, rows, reachMs };
}

/**
 * Split a reward over S, given newest first: the offer's good credited shares with t <= endMs and a job height at most
 * the reward's.
 */
export function splitPplns(newestFirst: Iterable<Counted>, offer: Offer, nbits: number, endMs: number, grossMsat: bigint): Split {
  let left = windowWork(offer, nbits);
  let fromMs = endMs;
  const works = new Map<string, bigint>();
  const oldestMs = offer.windowMaxMs === 0 ? -Infinity : endMs - offer.windowMaxMs;
  if (left > 0n) {
    for (const { t, miner, work } of newestFirst) {
      if (t < oldestMs) break;
      const counts = work < left ? work : left;
      works.set(miner, (works.get(miner) ?? 0n) + counts);
      left -= counts;
      fromMs = t;
      if (left === 0n) break;
    }
  }
  return divide(works, offer.feePpm, grossMsat, fromMs, left === 0n ? fromMs : oldestMs);
}

/** Split a reward over all shares given, newest first: `prop`, of what no earlier statement holds. */
export function splitAll(newestFirst: Iterable<Counted>, feePpm: number, endMs: number, grossMsat: bigint): Split {
  const works = new Map<string, bigint>();
  let fromMs = endMs;
  for (const { t, miner, work } of newestFirst) {
    works.set(miner, (works.get(miner) ?? 0n) + work);
    fromMs = t;
  }
  return divide(works, feePpm, grossMsat, fromMs, -Infinity);
}

/** A block's reward for its own share, or for nobody, where miners are paid by period. */
export function splitAlone(share: Counted | null, feePpm: number, endMs: number, grossMsat: bigint): Split {
  const works = share === null ? new Map<string, bigint>() : new Map([[share.miner, share.work]]);
  return divide(works, feePpm, grossMsat, endMs, Infinity);
}

/** What a period's shares are worth, each by itself; the reward is what the rows come to. */
export function splitPeriod(newestFirst: Iterable<Priced>, endMs: number): Split {
  const sums = new Map<string, { work: bigint; value: bigint }>();
  let fromMs = endMs;
  for (const { t, miner, work, value } of newestFirst) {
    const sum = sums.get(miner) ?? { work: 0n, value: 0n };
    sums.set(miner, { work: sum.work + work, value: sum.value + value });
    fromMs = t;
  }
  const rows = [...sums].map(([miner, { work, value }]) => ({ miner, work, msat: value >> FRACTION_BITS }));
  rows.sort((a, b) => (a.miner < b.miner ? -1 : 1));
  const grossMsat = rows.reduce((sum, row) => sum + row.msat, 0n);
  return { fromMs, work: rows.reduce((sum, row) => sum + row.work, 0n), grossMsat, feeMsat: 0n, rows, reachMs: -Infinity };
}

/** A share's worth in msat / 2^64. */
export function valueOf(work: bigint, baseMsat: bigint, feePpm: number, networkWork: bigint): bigint {
  return ((work * baseMsat * (PPM - BigInt(feePpm))) << FRACTION_BITS) / (PPM * networkWork);
}

/** The subsidy of a height in msat. */
export function subsidyMsat(height: number, isRegtest: boolean): bigint {
  const halvings = Math.floor(height / (isRegtest ? 150 : 210_000));
  return halvings >= HALVINGS ? 0n : (FIRST_SUBSIDY_SAT >> BigInt(halvings)) * 1000n;
}
