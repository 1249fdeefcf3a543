// Generated from client_web/verify/miner.ts by client_web/verify/build.ts: edit that.

// What a miner asks of a checked log: which of my shares count, what do my rows come to, what was I paid.

import { RECORD_SIZE, isCredited } from "./receipt.js";
import { statusOf } from "./rewards.js";

import { endMs } from "./statement.js";
import { difficultyFromBits } from "./targets.js";

// What a share's status says, by SPEC.md, "4212 share receipt".
const STATUSES = ["credited", "credited", "stale upstream", "refused upstream", "unanswered upstream", "a block's, too late"];
const MAX_SHARES = 200;

export function viewMiner(miner , shares , rewards , payouts ) {
  const { table } = shares;
  const number = shares.miners.indexOf(miner);
  const good = new Set ();
  for (let row = 0; row < table.count; row++) {
    if (table.miner[row] !== number || table.good[row] === 0) continue;
    good.add(`${table.lane[row]}/${table.seq[row]}/${table.index[row]}`);
  }
  const all = [];
  let [credited, refused] = [0, 0];
  shares.lanes.forEach((lane, laneNumber) => {
    for (const receipt of lane.events) {
      const place = receipt.miners.indexOf(miner);
      if (place < 0) continue;
      const view = new DataView(receipt.records.buffer, receipt.records.byteOffset, receipt.records.byteLength);
      for (let index = 0; index * RECORD_SIZE < receipt.records.length; index++) {
        const at = index * RECORD_SIZE;
        const session = receipt.sessions[view.getUint16(at, true)] ;
        if (session.miner !== place) continue;
        const status = view.getUint8(at + 3);
        const isGood = good.has(`${laneNumber}/${receipt.link.seq}/${index}`);
        if (isCredited(status)) credited++;
        else refused++;
        const verdict = isGood ? "good" : isCredited(status) ? "does not hold" : (STATUSES[status] );
        const t = receipt.fromMs + view.getUint32(at + 4, true);
        const difficulty = difficultyFromBits(session.shareBits);
        all.push({ t, worker: session.worker, difficulty, receipt: receipt.event.id, index, verdict });
      }
    }
  });
  const rows = [];
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
