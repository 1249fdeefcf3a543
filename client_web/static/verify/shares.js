// Generated from client_web/verify/shares.ts by client_web/verify/build.ts: edit that.

// Every share rebuilt, hashed and judged by the eight rules of SPEC.md, "4212 share receipt".

import { isPublicKey } from "./curve.js";

import { bestBits, bind, coinbaseOf, hashFraction, meets } from "./hasher.js";

import { RECORD_SIZE, isCredited } from "./receipt.js";
import { targetFromBits, workFromBits } from "./targets.js";

import { blockName } from "./coinbase.js";

const NTIME_AHEAD_S = 7200;
// Sessions kept ready: a session's shares come in several batches.
const MAX_BOUND = 20_000;
// A mean this many standard deviations off uniform is no chance (1 in 10^9), from this many shares on.
const SIGMAS = 6;
const ENOUGH_SHARES = 200;

/** Credited shares that are good as columns, in the order they were read; one that counts nothing after all is marked. */
export class ShareTable {
  count = 0;
  t = new Float64Array(1024);
  lane = new Uint32Array(1024);
  seq = new Float64Array(1024);
  index = new Uint32Array(1024);
  miner = new Uint32Array(1024);
  bits = new Uint32Array(1024);
  offer = new Uint32Array(1024);
  height = new Uint32Array(1024);
  job = new Uint32Array(1024);
  session = new Uint32Array(1024);
  /** The smallest compact target that the hash meets. */
  best = new Uint32Array(1024);
  good = new Uint8Array(1024);

  push(
    t , lane , seq , index , miner , bits , offer , height ,
    job , session , best ,
  ) {
    const row = this.count++;
    if (row === this.t.length) this.grow();
    this.t[row] = t;
    this.lane[row] = lane;
    this.seq[row] = seq;
    this.index[row] = index;
    this.miner[row] = miner;
    this.bits[row] = bits;
    this.offer[row] = offer;
    this.height[row] = height;
    this.job[row] = job;
    this.session[row] = session;
    this.best[row] = best;
    this.good[row] = 1;
    return row;
  }

          grow() {
    const size = this.t.length * 2;
    const more = (old , fresh ) => {
      fresh.set(old);
      return fresh;
    };
    this.t = more(this.t, new Float64Array(size));
    this.lane = more(this.lane, new Uint32Array(size));
    this.seq = more(this.seq, new Float64Array(size));
    this.index = more(this.index, new Uint32Array(size));
    this.miner = more(this.miner, new Uint32Array(size));
    this.bits = more(this.bits, new Uint32Array(size));
    this.offer = more(this.offer, new Uint32Array(size));
    this.height = more(this.height, new Uint32Array(size));
    this.job = more(this.job, new Uint32Array(size));
    this.session = more(this.session, new Uint32Array(size));
    this.best = more(this.best, new Uint32Array(size));
    this.good = more(this.good, new Uint8Array(size));
  }

  /** The order of S: (t, edge, lane number, seq, index); lanes are numbered in the order of edge and lane. */
  compare(a , b ) {
    return (
      (this.t[a] ) - (this.t[b] ) ||
      (this.lane[a] ) - (this.lane[b] ) ||
      (this.seq[a] ) - (this.seq[b] ) ||
      (this.index[a] ) - (this.index[b] )
    );
  }
}

/** A job as a lane's batch uses it. */

/** A share that solves its job's block, wherever it stands. */

export class Shares {
           table = new ShareTable();
           miners = [];
           offers = [];
  /** The jobs of the table's shares, as it numbers them. */
           used = [];
           lanes ;
           byMiner = new Map ();
  /** By block's name: every telling of it, in the order of time. */
           solutions = new Map ();
  /** By lane's name: the time up to which something needed to judge its shares is missing. */
           unknownUntil = new Map ();
  /** Ids of batches with credited shares that can't be judged. */
           unjudged = new Set ();
  /** "<receipt's id> <miner> <worker>" of credited shares that never were good. */
           wrongDoers = new Set ();
  records = 0;
                   jobs ;
                   findings ;
                   minerIndex = new Map ();
                   offerIndex = new Map ();
                   usedIndex = new Map ();
                   bound = new Map ();
  /** By the header's hash: the row of the share that had it first. */
                   headers = new Map ();

  constructor(lanes , jobs , findings ) {
    this.jobs = jobs;
    this.findings = findings;
    // By edge, then by number, as the order of S has it.
    this.lanes = [...lanes.values()].sort((a, b) => (a.edge < b.edge ? -1 : a.edge > b.edge ? 1 : a.lane - b.lane));
  }

  /** Judge all shares; `progress` is told how many records are done. */
  judge(progress ) {
    this.lanes.forEach((lane, number) => {
      const started = new Map ();
      for (const receipt of lane.events) {
        if (lane.breaksBefore.has(receipt.link.seq)) this.unknown(lane, receipt.fromMs);
        this.judgeReceipt(lane, number, receipt, started);
        progress(this.records);
      }
    });
    this.tellLuck();
  }

          unknown(lane , untilMs ) {
    const name = `${lane.edge}/${lane.lane}`;
    this.unknownUntil.set(name, Math.max(untilMs, this.unknownUntil.get(name) ?? 0));
  }

          judgeReceipt(lane , number , receipt , started ) {
    const { event, records } = receipt;
    const problems = new Map ();
    const blame = (code , index ) => problems.set(code, [...(problems.get(code) ?? []), index]);
    const jobs = receipt.jobs.map((id) => this.jobs.get(id));
    receipt.jobs.forEach((id, i) => {
      if (jobs[i] !== undefined || this.jobs.isRefused(id) || this.jobs.isUnknown(id)) return;
      this.findings.say("jobs", "missing-job", `the job of receipt ${event.id} is on no relay asked`, [id, event.id]);
    });
    const uses = this.usesOf(lane, receipt, started);
    const view = new DataView(records.buffer, records.byteOffset, records.byteLength);
    const count = records.length / RECORD_SIZE;
    let credited = 0n;
    let told = 0;
    for (let index = 0; index < count; index++) {
      const at = index * RECORD_SIZE;
      const session = receipt.sessions[view.getUint16(at, true)] ;
      const status = view.getUint8(at + 3);
      const use = uses[view.getUint8(at + 2)] ;
      const t = receipt.fromMs + view.getUint32(at + 4, true);
      if (isCredited(status)) {
        credited += workFromBits(session.shareBits);
        told++;
      }
      if (use === null) {
        if (!isCredited(status)) continue;
        this.unjudged.add(event.id);
        this.unknown(lane, receipt.toMs);
        continue;
      }
      const miner = receipt.miners[session.miner] ;
      const code = use === "refused" ? "share-job" : this.judgeShare(number, receipt, index, t, status, use, miner);
      if (code === null || !isCredited(status)) continue;
      blame(code, index);
      this.wrongDoers.add(`${event.id} ${miner} ${session.worker}`);
    }
    this.records += count;
    this.findings.checked("shares' work and binding", told);
    if (credited !== receipt.work) {
      this.findings.say("shares' work and binding", "work-tag", `its shares' work is ${credited}, its tag says ${receipt.work}`, [event.id]);
    }
    for (const [code, indices] of problems) {
      const which = indices.length > 8 ? `${indices.slice(0, 8).join(", ")} …` : indices.join(", ");
      const ids = code === "share-job" ? [event.id, ...receipt.jobs] : [event.id];
      this.findings.say("shares' work and binding", code, `shares ${which} of the receipt`, ids, null, indices.length);
    }
  }

  /** The code of what is wrong with a share, null if it is good or not credited. */
          judgeShare(
    number , receipt , index , t , status , use , miner ,
  ) {
    if (!use.counts) return "share-job";
    const { judged } = use;
    const { job } = judged;
    const at = index * RECORD_SIZE;
    const view = new DataView(receipt.records.buffer, receipt.records.byteOffset + at, RECORD_SIZE);
    const session = receipt.sessions[view.getUint16(0, true)] ;
    const bound = this.bindSession(judged, miner, session);
    const hash = judged.hasher.run(bound, receipt.records, at);
    const solves = judged.blockTarget !== null && meets(hash, judged.blockTarget);
    const code = this.rules(use, view, t, miner, session.shareBits, meets(hash, bound.target));
    // What is bound to no key has no finder.
    if (solves && isPublicKey(miner)) this.solved({ receipt, index, t, status, miner, shareBits: session.shareBits, job: judged, block: blockName(judged.hasher.header()) });

    if (code !== null || !isCredited(status)) return code;
    const row = this.table.push(
      t, number, receipt.link.seq, index, this.indexOf(this.miners, this.minerIndex, miner), session.shareBits,
      this.indexOf(this.offers, this.offerIndex, job.offer), job.height,
      this.jobNumber(judged), view.getUint16(0, true), bestBits(hash),
    );
    const sum = this.byMiner.get(miner) ?? { shares: 0, work: 0n, luck: 0 };
    sum.shares++;
    sum.work += workFromBits(session.shareBits);
    sum.luck += (hashFraction(hash) * 2 ** 64) / (Number(targetFromBits(session.shareBits)) / 2 ** 192);
    this.byMiner.set(miner, sum);
    return this.once(row, hash) ? null : "share-twice";
  }

          rules(use , view , t , miner , shareBits , met ) {
    const { job, terms } = use.judged;
    if (!isPublicKey(miner)) return "share-miner";
    if (targetFromBits(shareBits) > targetFromBits((terms ).easiestBits)) return "share-too-easy";
    if (!met) return "share-work";
    if (((view.getUint32(16, true) ^ job.version) & ~job.versionMask) !== 0) return "share-version";
    const ntime = view.getUint32(8, true);
    const latest = Math.min(job.ntime, Math.floor(t / 1000)) + NTIME_AHEAD_S;
    if (ntime < job.ntime || ntime > latest) return "share-ntime";
    if (t < job.ms || t > use.lastMs) return "share-time";
    return null;
  }

  /** The jobs of a receipt as its lane uses them; null for one whose shares can't be judged, "refused" if none can be good. */
          usesOf(lane , receipt , started ) {
    const jobs = receipt.jobs.map((id) => this.jobs.get(id));
    let longest = 0;
    for (const judged of jobs) {
      if (judged === undefined || judged.job.event.pubkey !== receipt.event.pubkey) continue;
      started.set(judged.job.event.id, judged);
      longest = Math.max(longest, judged.terms?.jobMs ?? 0);
    }
    // Only what came after a job that still lives can end its life.
    for (const [id, { job }] of started) if (longest > 0 && job.ms < receipt.fromMs - longest) started.delete(id);
    return jobs.map((judged, i) => {
      if (judged === undefined) return this.jobs.isRefused(receipt.jobs[i] ) ? "refused" : null;
      if (judged.terms === null || !judged.judged) return null;
      const { job, terms, sound } = judged;
      const say = (code , text ) => this.findings.say("jobs", code, text, [job.event.id, receipt.event.id]);
      let counts = sound;
      if (job.event.pubkey !== receipt.event.pubkey) {
        counts = false;
        say("job-signer", "another key's receipt uses it");
      } else if (sound) {
        const problem = this.jobs.judgeUse(judged, lane, receipt, ![...lane.breaksBefore].some((seq) => seq <= receipt.link.seq));
        if (problem !== null) {
          counts = false;
          say(...problem);
        }
      }
      let lastMs = job.ms + terms.jobMs;
      for (const other of started.values()) {
        if (other.job.ms > job.ms && other.prevhash !== judged.prevhash) lastMs = Math.min(lastMs, other.job.ms + terms.staleMs);
      }
      return { judged, counts, lastMs };
    });
  }

  /** Whether no earlier good share has this header; of two the later, in the order of S, is the bad one. */
          once(row , hash ) {
    // 128 bits of the hash; the prevhash is part of what was hashed.
    const key = String.fromCharCode(...new Uint16Array(hash.buffer, 0, 8));
    const known = this.headers.get(key);
    if (known === undefined) {
      this.headers.set(key, row);
      return true;
    }
    if (this.table.compare(row, known) > 0) {
      this.uncredit(row);
      return false;
    }
    // Read later, but earlier in the order of S: what was read before is the one that counts nothing.
    this.headers.set(key, row);
    if (this.uncredit(known)) {
      const receipt = this.lanes[this.table.lane[known] ]?.events.find((each) => each.link.seq === this.table.seq[known]);
      const text = `share ${this.table.index[known]} of the receipt has the header of an earlier one`;
      this.findings.say("shares' work and binding", "share-twice", text, receipt ? [receipt.event.id] : []);
    }
    return true;
  }

  /** Take back a share's credit, if it had any. */
          uncredit(row ) {
    if (this.table.good[row] === 0) return false;
    this.table.good[row] = 0;
    const sum = this.byMiner.get(this.miners[this.table.miner[row] ] ) ;
    sum.shares--;
    sum.work -= workFromBits(this.table.bits[row] );
    return true;
  }

          solved(solution ) {
    const same = this.solutions.get(solution.block);
    if (same === undefined) this.solutions.set(solution.block, [solution]);
    else {
      same.push(solution);
      same.sort((a, b) => a.t - b.t);
    }
  }

          bindSession(judged , miner , session ) {
    const key = `${judged.job.event.id}${miner}${session.extranonce1}${session.shareBits}`;
    let bound = this.bound.get(key);
    if (bound === undefined) {
      if (this.bound.size >= MAX_BOUND) this.bound.clear();
      bound = bind(judged.job, miner, session);
      this.bound.set(key, bound);
    }
    return bound;
  }

  /** Rebuild one share of a receipt, to be compared with what a block says of it. */
  rebuild(receipt , index ) {
    const at = index * RECORD_SIZE;
    if (at >= receipt.records.length) return null;
    const view = new DataView(receipt.records.buffer, receipt.records.byteOffset + at, RECORD_SIZE);
    const job = this.jobs.get(receipt.jobs[view.getUint8(2)] );
    if (job === undefined || job.terms === null) {
      return { job: null, header: new Uint8Array(0), coinbase: new Uint8Array(0), miner: "" };
    }
    const session = receipt.sessions[view.getUint16(0, true)] ;
    const miner = receipt.miners[session.miner] ;
    const bound = this.bindSession(job, miner, session);
    job.hasher.run(bound, receipt.records, at);
    return { job, header: job.hasher.header(), coinbase: coinbaseOf(bound, receipt.records, at), miner };
  }

          jobNumber(judged ) {
    let number = this.usedIndex.get(judged);
    if (number === undefined) this.usedIndex.set(judged, (number = this.used.push(judged) - 1));
    return number;
  }

          indexOf(names , numbers , name ) {
    let number = numbers.get(name);
    if (number === undefined) {
      number = names.push(name) - 1;
      numbers.set(name, number);
    }
    return number;
  }

  /** A miner's hash / target should look uniform in (0, 1]. */
          tellLuck() {
    for (const [miner, { shares, luck }] of this.byMiner) {
      if (shares < ENOUGH_SHARES) continue;
      const off = (luck / shares - 0.5) * Math.sqrt(12 * shares);
      if (Math.abs(off) < SIGMAS) continue;
      const text = `its hashes are ${off.toFixed(1)} standard deviations off those of its targets`;
      this.findings.say("shares' work and binding", "harder-work", text, [], miner);
    }
  }
}
