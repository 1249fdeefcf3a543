// Generated from client_web/verify/split.ts by client_web/verify/build.ts: edit that.

// Splits (SPEC.md, "Splits"): a reward's rows as a pure function of the shares, in integers.

import { workFromBits } from "./targets.js";

const PPM = 1_000_000n;
const FRACTION_BITS = 64n;
const FIRST_SUBSIDY_SAT = 5_000_000_000n;
const HALVINGS = 64;

/** A share with its worth in msat / 2^64. */

/** W, the most work a window counts. */
export function windowWork(offer , nbits ) {
  const aimed = (BigInt(offer.windowMilli) * workFromBits(nbits)) / 1000n;
  return aimed > offer.windowMinWork ? aimed : offer.windowMinWork;
}

/** The pot by work; what rounding leaves is the pool's. */
function divide(works , feePpm , grossMsat , fromMs , reachMs ) {
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
export function splitPplns(newestFirst , offer , nbits , endMs , grossMsat ) {
  let left = windowWork(offer, nbits);
  let fromMs = endMs;
  const works = new Map ();
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
export function splitAll(newestFirst , feePpm , endMs , grossMsat ) {
  const works = new Map ();
  let fromMs = endMs;
  for (const { t, miner, work } of newestFirst) {
    works.set(miner, (works.get(miner) ?? 0n) + work);
    fromMs = t;
  }
  return divide(works, feePpm, grossMsat, fromMs, -Infinity);
}

/** A block's reward for its own share, or for nobody, where miners are paid by period. */
export function splitAlone(share , feePpm , endMs , grossMsat ) {
  const works = share === null ? new Map () : new Map([[share.miner, share.work]]);
  return divide(works, feePpm, grossMsat, endMs, Infinity);
}

/** What a period's shares are worth, each by itself; the reward is what the rows come to. */
export function splitPeriod(newestFirst , endMs ) {
  const sums = new Map ();
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
export function valueOf(work , baseMsat , feePpm , networkWork ) {
  return ((work * baseMsat * (PPM - BigInt(feePpm))) << FRACTION_BITS) / (PPM * networkWork);
}

/** The subsidy of a height in msat. */
export function subsidyMsat(height , isRegtest ) {
  const halvings = Math.floor(height / (isRegtest ? 150 : 210_000));
  return halvings >= HALVINGS ? 0n : (FIRST_SUBSIDY_SAT >> BigInt(halvings)) * 1000n;
}
