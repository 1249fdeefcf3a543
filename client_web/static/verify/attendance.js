// Generated from client_web/verify/attendance.ts by client_web/verify/build.ts: edit that.

// What a loyalty bonus rests on, out of the log: the hours of the lanes, and the attestations in the accounting chains
// (SPEC.md, "Other schemes").

import { HOUR_MS, Worked, Workers } from "./loyalty.js";

import { workFromBits } from "./targets.js";

/** The good credited shares of a lane in an hour. */

/** Attestations in a key's chain, each with the number of the event that holds it. */

export class Attendance {
                   shares ;
                   attested = new Map ();
  /** By key: the lowest number before which something of its chain is missing. */
                   gaps = new Map ();
  /** By lane's number in the table, then by hour since 1970. */
          hours = null;
                   workers = new Workers();
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
    const { table, lanes } = this.shares;
    this.hours ??= this.sumHours();
    const worked = new Worked(endMs, this.workers);
    this.hours.forEach((hours, number) => {
      const lane = lanes[number] ;
      const cut = cuts.get(`${lane.edge}/${lane.lane}`) ?? -1;
      for (let at = worked.firstHour; at * HOUR_MS <= endMs; at++) {
        const hour = hours.get(at);
        if (hour === undefined) continue;
        let { sums } = hour;
        if (hour.seq > cut || hour.ms > endMs) {
          sums = this.sum(hour.rows.filter((row) => (table.seq[row] ) <= cut && (table.t[row] ) <= endMs));
        }
        for (const [worker, work] of sums) worked.add(at, worker, work);
      }
    });
    return worked;
  }

          sumHours() {
    const { table, lanes } = this.shares;
    const found = lanes.map(() => new Map ());
    for (let row = 0; row < table.count; row++) {
      if (table.good[row] === 0) continue;
      const hours = found[table.lane[row] ] ;
      const [t, seq] = [table.t[row] , table.seq[row] ];
      const at = Math.floor(t / HOUR_MS);
      let hour = hours.get(at);
      if (hour === undefined) hours.set(at, (hour = { rows: [], sums: new Map(), seq, ms: t }));
      hour.rows.push(row);
      hour.seq = Math.max(hour.seq, seq);
      hour.ms = Math.max(hour.ms, t);
    }
    for (const hours of found) for (const hour of hours.values()) hour.sums = this.sum(hour.rows);
    return found;
  }

          sum(rows ) {
    const { table, miners } = this.shares;
    const sums = new Map ();
    for (const row of rows) {
      const worker = this.workers.of(miners[table.miner[row] ] , this.workerOf(row));
      sums.set(worker, (sums.get(worker) ?? 0n) + workFromBits(table.bits[row] ));
    }
    return sums;
  }
}
