// Generated from client_web/verify/windows.ts by client_web/verify/build.ts: edit that.

// Which shares a reward is split over: where lanes are cut, and S in its order (SPEC.md, "Splits").

import { workFromBits } from "./targets.js";

/** What S is asked for. */

export class Windows {
           lanes ;
                   shares ;
  /** By offer: rows of good credited shares in the order of S. */
                   ordered = new Map ();

  constructor(lanes , shares ) {
    this.lanes = lanes;
    this.shares = shares;
  }

  /** Whether the batch of a head is among those of its lane. */
  knows(lane , head ) {
    return this.lanes.get(lane)?.events.some((receipt) => receipt.event.id === head.id) ?? false;
  }

  /** Where a lane is to be cut for a reward; undefined if it has no such batch yet. */
          dueHead(lane , endMs ) {
    return lane.events.find((receipt) => receipt.toMs > endMs) ?? (lane.ended ? lane.events[lane.events.length - 1] : undefined);
  }

  /** Every lane as far as there is something of it, to be cut at a time. */
  allCuts(endMs ) {
    const cuts = new Map ();
    for (const [name, lane] of this.lanes) cuts.set(name, (this.dueHead(lane, endMs) ?? lane.events.at(-1))?.link.seq ?? -1);
    return cuts;
  }

  /** The lanes a statement counts, each with the number of its last batch. */
  checkHeads(statement , endMs , say ) {
    const cuts = new Map ();
    for (const [name, head] of statement.heads) {
      const lane = this.lanes.get(name);
      if (lane === undefined || !this.knows(name, head)) continue; // the batch is missing, which is told apart
      cuts.set(name, head.seq);
      const due = this.dueHead(lane, endMs);
      // What is missing right before it may be the batch to cut at.
      if (due !== undefined && ((due.event.id === head.id && due.link.seq === head.seq) || lane.gapsBefore.has(due.link.seq))) continue;
      const told = due === undefined ? "has no batch past the reward, and had not ended" : `is to be cut at ${due.link.seq}, not at ${head.seq}`;
      say("statement-heads", `${name} ${told}`);
    }
    return cuts;
  }

  /**
   * Lanes left out: right if they had ended before the window or had not begun by the reward. One that appeared after the
   * statement counts in the next; one that was there is counted here. `offer`: whose work matters, null for any's.
   */
  checkLanes(
    statement , endMs , offer , reachMs , cuts , say ,
  ) {
    for (const [name, lane] of this.lanes) {
      if (statement.heads.has(name)) continue;
      const [first, last] = [lane.events[0], lane.events[lane.events.length - 1]];
      if (first === undefined || last === undefined || first.fromMs > endMs) continue;
      if (lane.ended && last.toMs < reachMs) continue;
      if (!this.hasWork(lane, offer, endMs)) continue; // one that was only just opened wronged nobody
      if (first.event.created_at > statement.event.created_at) {
        say("late-lane", `${name} appeared after it, with work that belonged to it`, [first.event.id]);
      } else {
        say("statement-heads", `${name} is not among its heads`, [first.event.id]);
        cuts.set(name, (this.dueHead(lane, endMs) ?? last).link.seq);
      }
    }
  }

  /** Whether a lane has good credited shares of an offer, or of any, up to a time. */
          hasWork(lane , offer , endMs ) {
    const { table, lanes, offers } = this.shares;
    const number = lanes.indexOf(lane);
    const asked = offer === null ? [...offers.keys()] : [offers.indexOf(offer)];
    return asked.some((each) =>
      this.inOrder(each).some((row) => table.lane[row] === number && (table.t[row] ) <= endMs),
    );
  }

  /** The lanes of which something is missing that may have held work of this window. */
  blind(cuts , held , reachMs ) {
    return [...cuts.keys()].filter((lane) => {
      const until = this.shares.unknownUntil.get(lane) ?? -Infinity;
      return until > Math.max(reachMs, held.get(lane)?.untilMs ?? -Infinity);
    });
  }

  /** S, the newest first, less what is held. */
  *newestFirst({ offer, endMs, height, held, value, worker } , cuts ) {
    const { table, miners, lanes, offers, used } = this.shares;
    const rows = this.inOrder(offers.indexOf(offer));
    const names = lanes.map((lane) => `${lane.edge}/${lane.lane}`);
    const cutOf = names.map((name) => cuts.get(name) ?? -1);
    const holds = names.map((name) => held.get(name));
    let low = 0;
    let high = rows.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((table.t[rows[middle] ] ) <= endMs) low = middle + 1;
      else high = middle;
    }
    for (let i = low - 1; i >= 0; i--) {
      const row = rows[i] ;
      const [lane, seq, t] = [table.lane[row] , table.seq[row] , table.t[row] ];
      if (seq > (cutOf[lane] )) continue;
      if (height !== null && (table.height[row] ) > height) continue;
      const hold = holds[lane];
      if (hold !== undefined && seq <= hold.seq && t <= hold.untilMs) continue;
      const work = workFromBits(table.bits[row] );
      const job = used[table.job[row] ] ;
      const miner = miners[table.miner[row] ] ;
      yield { t, miner, work, value: value(job, work), worker: worker === undefined ? null : worker(row) };
    }
  }

          inOrder(offer ) {
    let rows = this.ordered.get(offer);
    if (rows === undefined) {
      const { table } = this.shares;
      const found = [];
      for (let row = 0; row < table.count; row++) if (table.offer[row] === offer && table.good[row] === 1) found.push(row);
      rows = Uint32Array.from(found).sort((a, b) => table.compare(a, b));
      this.ordered.set(offer, rows);
    }
    return rows;
  }
}
