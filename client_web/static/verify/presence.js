// Generated from client_web/verify/presence.ts by client_web/verify/build.ts: edit that.

// The hours in which each miner was there, and the work of attested workers by day, of all lanes together: summed in one
// pass over the shares, so that a statement only counts bits (SPEC.md, "Other schemes").

import { DAY_MS, HOUR_MS } from "./loyalty.js";

import { workFromBits } from "./targets.js";

/** The good credited shares of a lane, by hour. */

function bitCount(bits ) {
  let n = bits - ((bits >>> 1) & 0x55555555);
  n = (n & 0x33333333) + ((n >>> 2) & 0x33333333);
  return (((n + (n >>> 4)) & 0x0f0f0f0f) * 0x01010101) >>> 24;
}

/** The first place whose value is not less. */
export function lowerBound(values , value ) {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((values[middle] ) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

export class Presence {
  /** As the shares' lanes are numbered. */
           lanes ;
  /** Rows by lane and hour, in the order of the table. */
           rows ;
                   shares ;
  /** By miner: its first hour, rounded down to 32; where its bits begin, and one more at the end. */
                   first ;
                   starts ;
                   bits ;
  /** By "<miner> <worker>", then by day. */
                   works = new Map ();

  /** `attested`: the workers, as "<miner> <worker>", of whom the work is wanted; `workerOf`: the name behind a row. */
  constructor(shares , attested , workerOf ) {
    this.shares = shares;
    const { table, miners, lanes } = shares;
    const counts = lanes.map(() => new Map ());
    const last = new Float64Array(miners.length).fill(-1);
    this.first = new Float64Array(miners.length).fill(Infinity);
    const owners = new Set([...attested].map((name) => name.slice(0, name.indexOf(" "))));
    const wanted = Uint8Array.from(miners, (miner) => (owners.has(miner) ? 1 : 0));
    for (let row = 0; row < table.count; row++) {
      if (table.good[row] === 0) continue;
      const hour = Math.floor((table.t[row] ) / HOUR_MS);
      const [miner, seq] = [table.miner[row] , table.seq[row] ];
      const ofLane = counts[table.lane[row] ] ;
      const known = ofLane.get(hour);
      if (known === undefined) ofLane.set(hour, { rows: 1, seq });
      else {
        known.rows++;
        if (seq > known.seq) known.seq = seq;
      }
      if (hour < (this.first[miner] )) this.first[miner] = hour - (hour % 32);
      if (hour > (last[miner] )) last[miner] = hour;
      if (wanted[miner] === 1) this.addWork(row, attested, workerOf);
    }
    let place = 0;
    const next = counts.map(() => new Map ());
    this.lanes = counts.map((ofLane, number) => {
      const hours = [...ofLane.keys()].sort((a, b) => a - b);
      let seq = -1;
      const [starts, seqs] = [[], []];
      for (const hour of hours) {
        const { rows, seq: greatest } = ofLane.get(hour) ;
        next[number]?.set(hour, place);
        starts.push(place);
        place += rows;
        seqs.push((seq = Math.max(seq, greatest)));
      }
      return { hours, starts: [...starts, place], seqs };
    });
    this.rows = new Uint32Array(place);
    this.starts = new Float64Array(miners.length + 1);
    miners.forEach((_, miner) => {
      const words = last[miner] === -1 ? 0 : ((last[miner] ) - (this.first[miner] ) + 32) >>> 5;
      this.starts[miner + 1] = (this.starts[miner] ) + words;
    });
    this.bits = new Uint32Array(this.starts[miners.length] );
    for (let row = 0; row < table.count; row++) {
      if (table.good[row] === 0) continue;
      const hour = Math.floor((table.t[row] ) / HOUR_MS);
      const [miner, places] = [table.miner[row] , next[table.lane[row] ] ];
      const at = places.get(hour) ;
      this.rows[at] = row;
      places.set(hour, at + 1);
      const bit = hour - (this.first[miner] );
      const word = (this.starts[miner] ) + (bit >>> 5);
      this.bits[word] = (this.bits[word] ) | (1 << (bit & 31));
    }
  }

  /** Whether lanes up to the numbers of `cuts` have all that there is of these hours. */
  serves(cuts , fromHour , endHour ) {
    return this.lanes.every(({ hours, seqs }, number) => {
      const at = lowerBound(hours, endHour) - 1;
      if (at < 0 || (hours[at] ) < fromHour) return true;
      const { edge, lane } = this.shares.lanes[number] ;
      return (seqs[at] ) <= (cuts.get(`${edge}/${lane}`) ?? -1);
    });
  }

  /** In how many of these hours a miner, by its number, was there. */
  count(miner , fromHour , endHour ) {
    const [first, start] = [this.first[miner] , this.starts[miner] ];
    const size = ((this.starts[miner + 1] ) - start) * 32;
    const from = Math.max(0, fromHour - first);
    const end = Math.min(size, endHour - first);
    let count = 0;
    for (let at = from; at < end; ) {
      const [shift, length] = [at & 31, Math.min(32 - (at & 31), end - at)];
      const word = (this.bits[start + (at >>> 5)] ) >>> shift;
      count += bitCount(length === 32 ? word : word & ((1 << length) - 1));
      at += length;
    }
    return count;
  }

  /** The work of an attested worker on a day. */
  work(worker , day ) {
    return this.works.get(worker)?.get(day) ?? 0n;
  }

          addWork(row , attested , workerOf ) {
    const { table, miners } = this.shares;
    const worker = `${miners[table.miner[row] ]} ${workerOf(row)}`;
    if (!attested.has(worker)) return;
    const day = Math.floor((table.t[row] ) / DAY_MS);
    let works = this.works.get(worker);
    if (works === undefined) this.works.set(worker, (works = new Map()));
    works.set(day, (works.get(day) ?? 0n) + workFromBits(table.bits[row] ));
  }
}
