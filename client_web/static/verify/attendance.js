// Generated from client_web/verify/attendance.ts by client_web/verify/build.ts: edit that.

// What a loyalty bonus rests on, out of the log: the hours of the lanes, and the attestations in the accounting chains
// (SPEC.md, "Other schemes").

import { HOUR_MS, Worked, Workers, measuredBy } from "./loyalty.js";
import { Presence, lowerBound } from "./presence.js";

import { workFromBits } from "./targets.js";

/** Attestations in a key's chain, each with the number of the event that holds it. */

export class Attendance {
                   shares ;
                   attested = new Map ();
  /** By key: the lowest number before which something of its chain is missing. */
                   gaps = new Map ();
          presence = null;
                   receipts = new Map ();

  constructor(shares , accounting ) {
    this.shares = shares;
    for (const { name, events, gapsBefore } of accounting) {
      const key = name.slice(0, 64);
      if (gapsBefore.size > 0) this.gaps.set(key, Math.min(...gapsBefore));
      const placed = [];
      for (const each of events) {
        if (!("of" in each) || each.of !== "attestations") continue;
        for (const attested of each.attestations) placed.push([each.link.seq, attested]);
      }
      this.attested.set(key, placed);
    }
  }

  /** The attestations that stand before a statement in its chain. */
  before({ event, link } ) {
    return (this.attested.get(event.pubkey) ?? []).filter(([seq]) => seq < link.seq).map(([, attested]) => attested);
  }

  /** Whether attestations may stand before a statement where nothing was read. */
  mayLack({ event, link } ) {
    return (this.gaps.get(event.pubkey) ?? Infinity) <= link.seq;
  }

  /** The worker of a share, by its row in the table. */
  workerOf(row ) {
    const { table, lanes } = this.shares;
    const lane = lanes[table.lane[row] ] ;
    let bySeq = this.receipts.get(lane);
    if (bySeq === undefined) this.receipts.set(lane, (bySeq = new Map(lane.events.map((each) => [each.link.seq, each]))));
    const receipt = bySeq.get(table.seq[row] ) ;
    return (receipt.sessions[table.session[row] ] ).worker;
  }

  /** What was done up to a time, in the lanes up to the numbers of `cuts`. */
  worked(cuts , endMs ) {
    const { table, miners, lanes } = this.shares;
    this.presence ??= this.sumUp();
    const { presence } = this;
    const plain = new Worked(endMs, new Workers());
    // The hours that are over; of the one that is not the shares tell.
    const over = Math.floor((endMs + 1) / HOUR_MS);
    const isWhole = presence.serves(cuts, plain.firstHour, over);
    const there = new Set ();
    presence.lanes.forEach(({ hours, starts }, number) => {
      const lane = lanes[number] ;
      const cut = cuts.get(`${lane.edge}/${lane.lane}`) ?? -1;
      const [from, end] = [lowerBound(hours, isWhole ? over : plain.firstHour), lowerBound(hours, Math.floor(endMs / HOUR_MS) + 1)];
      for (let at = starts[from] ; at < (starts[Math.max(from, end)] ); at++) {
        const row = presence.rows[at] ;
        const t = table.t[row] ;
        if ((table.seq[row] ) > cut || t > endMs) continue;
        const miner = table.miner[row] ;
        if (isWhole) there.add(miner);
        else {
          const worker = plain.workers.of(miners[miner] , this.workerOf(row));
          plain.add(Math.floor(t / HOUR_MS), worker, workFromBits(table.bits[row] ));
        }
      }
    });
    if (!isWhole) return plain;
    const hours = new Map ();
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

          sumUp() {
    const attested = new Set ();
    for (const placed of this.attested.values()) for (const [, { miner, worker }] of placed) attested.add(`${miner} ${worker}`);
    return new Presence(this.shares, attested, (row) => this.workerOf(row));
  }
}
