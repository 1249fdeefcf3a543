// What a miner asks of a checked log: which of my shares count, what do my rows come to, what was I paid.

import type { Payout } from "./claims.ts";
import { RECORD_SIZE, isCredited } from "./receipt.ts";
import { type Rewards, statusOf } from "./rewards.ts";
import type { Shares } from "./shares.ts";
import { endMs } from "./statement.ts";
import { difficultyFromBits } from "./targets.ts";

// What a share's status says, by SPEC.md, "4212 share receipt".
const STATUSES = ["credited", "credited", "stale upstream", "refused upstream", "unanswered upstream", "a block's, too late"];
const MAX_SHARES = 200;

export interface MinerShare {
  readonly t: number;
  readonly worker: string;
  readonly difficulty: number;
  readonly receipt: string;
  readonly index: number;
  /** "good", or why it counts nothing. */
  readonly verdict: string;
}

export interface MinerRow {
  readonly statement: string;
  /** null of a period. */
  readonly height: number | null;
  readonly endMs: number;
  readonly status: string;
  /** msat by the statement; null if it has no row for the miner. */
  readonly told: number | null;
  /** msat by the shares; null where the split could not be recomputed. */
  readonly computed: number | null;
  /** How much of that comes out of the pool's fee. */
  readonly bonus: number;
}

export interface MinerView {
  readonly miner: string;
  /** Shares told as credited, and how many of them are good. */
  readonly credited: number;
  readonly good: number;
  readonly refused: number;
  /** The newest shares, newest first. */
  readonly shares: readonly MinerShare[];
  readonly rows: readonly MinerRow[];
  readonly payouts: readonly { readonly payout: string; readonly amountMsat: number; readonly ms: number }[];
}

export function viewMiner(miner: string, shares: Shares, rewards: Rewards, payouts: readonly Payout[]): MinerView {
  const { table } = shares;
  const number = shares.miners.indexOf(miner);
  const good = new Set<string>();
  for (let row = 0; row < table.count; row++) {
    if (table.miner[row] !== number || table.good[row] === 0) continue;
    good.add(`${table.lane[row]}/${table.seq[row]}/${table.index[row]}`);
  }
  const all: MinerShare[] = [];
  let [credited, refused] = [0, 0];
  shares.lanes.forEach((lane, laneNumber) => {
    for (const receipt of lane.events) {
      const place = receipt.miners.indexOf(miner);
      if (place < 0) continue;
      const view = new DataView(receipt.records.buffer, receipt.records.byteOffset, receipt.records.byteLength);
      for (let index = 0; index * RECORD_SIZE < receipt.records.length; index++) {
        const at = index * RECORD_SIZE;
        const session = receipt.sessions[view.getUint16(at, true)] as (typeof receipt.sessions)[number];
        if (session.miner !== place) continue;
        const status = view.getUint8(at + 3);
        const isGood = good.has(`${laneNumber}/${receipt.link.seq}/${index}`);
        if (isCredited(status)) credited++;
        else refused++;
        const verdict = isGood ? "good" : isCredited(status) ? "does not hold" : (STATUSES[status] as string);
        const t = receipt.fromMs + view.getUint32(at + 4, true);
        const difficulty = difficultyFromBits(session.shareBits);
        all.push({ t, worker: session.worker, difficulty, receipt: receipt.event.id, index, verdict });
      }
    }
  });
  const rows: MinerRow[] = [];
  for (const judged of rewards.statements.values()) {
    const { statement, rows: computed } = judged;
    const told = statement.rows.find((row) => row.miner === miner);
    const own = computed?.find((row) => row.miner === miner);
    if (told === undefined && own === undefined) continue;
    rows.push({
      statement: statement.event.id,
      height: statement.reward.type === "block" ? statement.reward.height : null,
      endMs: endMs(statement),
      status: statusOf(judged) ?? "maturing",
      told: told?.msat ?? null,
      computed: computed === null ? null : (own?.msat ?? 0),
      bonus: own?.bonus ?? 0,
    });
  }
  return {
    miner,
    credited,
    good: good.size,
    refused,
    shares: all.sort((a, b) => b.t - a.t).slice(0, MAX_SHARES),
    rows: rows.sort((a, b) => b.endMs - a.endMs),
    payouts: payouts
      .filter((payout) => payout.miner === miner)
      .map(({ event, amountMsat }) => ({ payout: event.id, amountMsat, ms: event.created_at * 1000 }))
      .sort((a, b) => b.ms - a.ms),
  };
}
