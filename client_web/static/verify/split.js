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

/** The fee by the terms, without what rounding leaves. */
export function feeOf(grossMsat , feePpm ) {
  return (grossMsat * BigInt(feePpm)) / PPM;
}

/** The work that counts, by miner and by worker. */
class Works {
           byMiner = new Map ();
                   byWorker = new Map ();

  add({ miner, worker } , work ) {
    this.byMiner.set(miner, (this.byMiner.get(miner) ?? 0n) + work);
    if (worker === null) return;
    const name = `${miner} ${worker}`;
    this.byWorker.set(name, (this.byWorker.get(name) ?? 0n) + work);
  }

  workers() {
    return [...this.byWorker].map(([name, work]) => ({ miner: name.slice(0, 64), worker: name.slice(65), work }));
  }
}

/** The pot by work; what rounding leaves is the pool's. */
function divide(works , feePpm , grossMsat , fromMs , reachMs ) {
  const work = [...works.byMiner.values()].reduce((sum, each) => sum + each, 0n);
  const pot = grossMsat - feeOf(grossMsat, feePpm);
  const rows = [...works.byMiner].map(([miner, own]) => ({ miner, work: own, msat: (pot * own) / work, bonus: 0n }));
  rows.sort((a, b) => (a.miner < b.miner ? -1 : 1));
  const paid = rows.reduce((sum, row) => sum + row.msat, 0n);
  return { fromMs, work, grossMsat, feeMsat: grossMsat - paid, rows, workers: works.workers(), reachMs };
}

/** A split, its donations moved, after the bonuses out of its fee. */
export function payBonuses(split , rows , bonuses ) {
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
export function splitPplns(newestFirst , offer , nbits , endMs , grossMsat ) {
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
export function splitAll(newestFirst , feePpm , endMs , grossMsat ) {
  const works = new Works();
  let fromMs = endMs;
  for (const share of newestFirst) {
    works.add(share, share.work);
    fromMs = share.t;
  }
  return divide(works, feePpm, grossMsat, fromMs, -Infinity);
}

/** A block's reward for its own share, or for nobody, where miners are paid by period. */
export function splitAlone(share , feePpm , endMs , grossMsat ) {
  const works = new Works();
  if (share !== null) works.add(share, share.work);
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
  const rows = [...sums].map(([miner, { work, value }]) => ({ miner, work, msat: value >> FRACTION_BITS, bonus: 0n }));
  rows.sort((a, b) => (a.miner < b.miner ? -1 : 1));
  const grossMsat = rows.reduce((sum, row) => sum + row.msat, 0n);
  const work = rows.reduce((sum, row) => sum + row.work, 0n);
  return { fromMs, work, grossMsat, feeMsat: 0n, rows, workers: [], reachMs: -Infinity };
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
