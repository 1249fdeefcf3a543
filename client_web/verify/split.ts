// Splits (SPEC.md, "Splits"): a reward's rows as a pure function of the shares, in integers.

import type { WorkerPart } from "./loyalty.ts";
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
  /** How much of it comes out of the fee. */
  readonly bonus: bigint;
}

export interface Split {
  readonly fromMs: number;
  readonly work: bigint;
  readonly grossMsat: bigint;
  readonly feeMsat: bigint;
  /** By miner, sorted. */
  readonly rows: readonly SplitRow[];
  /** The work counted of each worker, where it was asked for. */
  readonly workers: readonly WorkerPart[];
  /** The window looks no further back than here: older shares, known or not, change nothing. */
  readonly reachMs: number;
}

export interface Counted {
  readonly t: number;
  readonly miner: string;
  readonly work: bigint;
  /** null where nobody asks for it. */
  readonly worker: string | null;
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

/** The fee by the terms, without what rounding leaves. */
export function feeOf(grossMsat: bigint, feePpm: number): bigint {
  return (grossMsat * BigInt(feePpm)) / PPM;
}

/** The work that counts, by miner and by worker. */
class Works {
  readonly byMiner = new Map<string, bigint>();
  private readonly byWorker = new Map<string, bigint>();

  add({ miner, worker }: Counted, work: bigint): void {
    this.byMiner.set(miner, (this.byMiner.get(miner) ?? 0n) + work);
    if (worker === null) return;
    const name = `${miner} ${worker}`;
    this.byWorker.set(name, (this.byWorker.get(name) ?? 0n) + work);
  }

  workers(): WorkerPart[] {
    return [...this.byWorker].map(([name, work]) => ({ miner: name.slice(0, 64), worker: name.slice(65), work }));
  }
}

/** The pot by work; what rounding leaves is the pool's. */
function divide(works: Works, feePpm: number, grossMsat: bigint, fromMs: number, reachMs: number): Split {
  const work = [...works.byMiner.values()].reduce((sum, each) => sum + each, 0n);
  const pot = grossMsat - feeOf(grossMsat, feePpm);
  const rows = [...works.byMiner].map(([miner, own]) => ({ miner, work: own, msat: (pot * own) / work, bonus: 0n }));
  rows.sort((a, b) => (a.miner < b.miner ? -1 : 1));
  const paid = rows.reduce((sum, row) => sum + row.msat, 0n);
  return { fromMs, work, grossMsat, feeMsat: grossMsat - paid, rows, workers: works.workers(), reachMs };
}

/** A split, its donations moved, after the bonuses out of its fee. */
export function payBonuses(split: Split, rows: readonly SplitRow[], bonuses: ReadonlyMap<string, bigint>): Split {
  const paid = [...bonuses.values()].reduce((sum, bonus) => sum + bonus, 0n);
  const more = rows.map((row) => {
    const bonus = bonuses.get(row.miner) ?? 0n;
    return { ...row, msat: row.msat + bonus, bonus };
  });
  return { ...split, rows: more, feeMsat: split.feeMsat - paid };
}

/**
 * Split a reward over S, given newest first: the offer's good credited shares with t <= endMs and a job height at most
 * the reward's.
 */
export function splitPplns(newestFirst: Iterable<Counted>, offer: Offer, nbits: number, endMs: number, grossMsat: bigint): Split {
  let left = windowWork(offer, nbits);
  let fromMs = endMs;
  const works = new Works();
  const oldestMs = offer.windowMaxMs === 0 ? -Infinity : endMs - offer.windowMaxMs;
  if (left > 0n) {
    for (const share of newestFirst) {
      if (share.t < oldestMs) break;
      const counts = share.work < left ? share.work : left;
      works.add(share, counts);
      left -= counts;
      fromMs = share.t;
      if (left === 0n) break;
    }
  }
  return divide(works, offer.feePpm, grossMsat, fromMs, left === 0n ? fromMs : oldestMs);
}

/** Split a reward over all shares given, newest first: `prop`, of what no earlier statement holds. */
export function splitAll(newestFirst: Iterable<Counted>, feePpm: number, endMs: number, grossMsat: bigint): Split {
  const works = new Works();
  let fromMs = endMs;
  for (const share of newestFirst) {
    works.add(share, share.work);
    fromMs = share.t;
  }
  return divide(works, feePpm, grossMsat, fromMs, -Infinity);
}

/** A block's reward for its own share, or for nobody, where miners are paid by period. */
export function splitAlone(share: Counted | null, feePpm: number, endMs: number, grossMsat: bigint): Split {
  const works = new Works();
  if (share !== null) works.add(share, share.work);
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
  const rows = [...sums].map(([miner, { work, value }]) => ({ miner, work, msat: value >> FRACTION_BITS, bonus: 0n }));
  rows.sort((a, b) => (a.miner < b.miner ? -1 : 1));
  const grossMsat = rows.reduce((sum, row) => sum + row.msat, 0n);
  const work = rows.reduce((sum, row) => sum + row.work, 0n);
  return { fromMs, work, grossMsat, feeMsat: 0n, rows, workers: [], reachMs: -Infinity };
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
