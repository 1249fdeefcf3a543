// Every share rebuilt, hashed and judged by the eight rules of SPEC.md, "4212 share receipt".

import type { Lane } from "./chains.ts";
import { isPublicKey } from "./curve.ts";
import type { Code, Findings } from "./findings.ts";
import { type Bound, bestBits, bind, coinbaseOf, hashFraction, meets } from "./hasher.ts";
import type { Jobs, JudgedJob } from "./jobs.ts";
import { RECORD_SIZE, type Receipt, isCredited } from "./receipt.ts";
import { targetFromBits, workFromBits } from "./targets.ts";
import type { Terms } from "./terms.ts";
import { blockName } from "./coinbase.ts";

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
    t: number, lane: number, seq: number, index: number, miner: number, bits: number, offer: number, height: number,
    job: number, session: number, best: number,
  ): number {
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

  private grow(): void {
    const size = this.t.length * 2;
    const more = <T extends Float64Array | Uint32Array | Uint8Array>(old: T, fresh: T): T => {
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
  compare(a: number, b: number): number {
    return (
      (this.t[a] as number) - (this.t[b] as number) ||
      (this.lane[a] as number) - (this.lane[b] as number) ||
      (this.seq[a] as number) - (this.seq[b] as number) ||
      (this.index[a] as number) - (this.index[b] as number)
    );
  }
}

/** A job as a lane's batch uses it. */
interface Use {
  readonly judged: JudgedJob;
  /** Whether its shares may count here. */
  readonly counts: boolean;
  /** The last ms at which it lives, as far as the lane's batches up to this one tell. */
  readonly lastMs: number;
}

/** A share that solves its job's block, wherever it stands. */
export interface Solution {
  readonly receipt: Receipt;
  readonly index: number;
  readonly t: number;
  readonly status: number;
  readonly miner: string;
  readonly shareBits: number;
  readonly job: JudgedJob;
  readonly block: string;
}

export interface SharedHeader {
  /** null if it, or its terms, are on no relay asked. */
  readonly job: JudgedJob | null;
  readonly header: Uint8Array;
  readonly coinbase: Uint8Array;
  readonly miner: string;
}

export interface MinerWork {
  shares: number;
  work: bigint;
  luck: number;
}

export class Shares {
  readonly table = new ShareTable();
  readonly miners: string[] = [];
  readonly offers: string[] = [];
  /** The jobs of the table's shares, as it numbers them. */
  readonly used: JudgedJob[] = [];
  readonly lanes: Lane[];
  readonly byMiner = new Map<string, MinerWork>();
  /** By block's name: every telling of it, in the order of time. */
  readonly solutions = new Map<string, Solution[]>();
  /** By lane's name: the time up to which something needed to judge its shares is missing. */
  readonly unknownUntil = new Map<string, number>();
  /** Ids of batches with credited shares that can't be judged. */
  readonly unjudged = new Set<string>();
  /** "<receipt's id> <miner> <worker>" of credited shares that never were good. */
  readonly wrongDoers = new Set<string>();
  records = 0;
  private readonly jobs: Jobs;
  private readonly findings: Findings;
  private readonly minerIndex = new Map<string, number>();
  private readonly offerIndex = new Map<string, number>();
  private readonly usedIndex = new Map<JudgedJob, number>();
  private readonly bound = new Map<string, Bound>();
  /** By the header's hash: the row of the share that had it first. */
  private readonly headers = new Map<string, number>();

  constructor(lanes: Map<string, Lane>, jobs: Jobs, findings: Findings) {
    this.jobs = jobs;
    this.findings = findings;
    // By edge, then by number, as the order of S has it.
    this.lanes = [...lanes.values()].sort((a, b) => (a.edge < b.edge ? -1 : a.edge > b.edge ? 1 : a.lane - b.lane));
  }

  /** Judge all shares; `progress` is told how many records are done. */
  judge(progress: (records: number) => void): void {
    this.lanes.forEach((lane, number) => {
      const started = new Map<string, JudgedJob>();
      for (const receipt of lane.events) {
        if (lane.breaksBefore.has(receipt.link.seq)) this.unknown(lane, receipt.fromMs);
        this.judgeReceipt(lane, number, receipt, started);
        progress(this.records);
      }
    });
    this.tellLuck();
  }

  private unknown(lane: Lane, untilMs: number): void {
    const name = `${lane.edge}/${lane.lane}`;
    this.unknownUntil.set(name, Math.max(untilMs, this.unknownUntil.get(name) ?? 0));
  }

  private judgeReceipt(lane: Lane, number: number, receipt: Receipt, started: Map<string, JudgedJob>): void {
    const { event, records } = receipt;
    const problems = new Map<Code, number[]>();
    const blame = (code: Code, index: number) => problems.set(code, [...(problems.get(code) ?? []), index]);
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
      const session = receipt.sessions[view.getUint16(at, true)] as Receipt["sessions"][number];
      const status = view.getUint8(at + 3);
      const use = uses[view.getUint8(at + 2)] as Use | "refused" | null;
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
      const miner = receipt.miners[session.miner] as string;
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
  private judgeShare(
    number: number, receipt: Receipt, index: number, t: number, status: number, use: Use, miner: string,
  ): Code | null {
    if (!use.counts) return "share-job";
    const { judged } = use;
    const { job } = judged;
    const at = index * RECORD_SIZE;
    const view = new DataView(receipt.records.buffer, receipt.records.byteOffset + at, RECORD_SIZE);
    const session = receipt.sessions[view.getUint16(0, true)] as Receipt["sessions"][number];
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

  private rules(use: Use, view: DataView, t: number, miner: string, shareBits: number, met: boolean): Code | null {
    const { job, terms } = use.judged;
    if (!isPublicKey(miner)) return "share-miner";
    if (targetFromBits(shareBits) > targetFromBits((terms as Terms).easiestBits)) return "share-too-easy";
    if (!met) return "share-work";
    if (((view.getUint32(16, true) ^ job.version) & ~job.versionMask) !== 0) return "share-version";
    const ntime = view.getUint32(8, true);
    const latest = Math.min(job.ntime, Math.floor(t / 1000)) + NTIME_AHEAD_S;
    if (ntime < job.ntime || ntime > latest) return "share-ntime";
    if (t < job.ms || t > use.lastMs) return "share-time";
    return null;
  }

  /** The jobs of a receipt as its lane uses them; null for one whose shares can't be judged, "refused" if none can be good. */
  private usesOf(lane: Lane, receipt: Receipt, started: Map<string, JudgedJob>): (Use | "refused" | null)[] {
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
      if (judged === undefined) return this.jobs.isRefused(receipt.jobs[i] as string) ? "refused" : null;
      if (judged.terms === null || !judged.judged) return null;
      const { job, terms, sound } = judged;
      const say = (code: Code, text: string) => this.findings.say("jobs", code, text, [job.event.id, receipt.event.id]);
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
  private once(row: number, hash: Int32Array): boolean {
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
      const receipt = this.lanes[this.table.lane[known] as number]?.events.find((each) => each.link.seq === this.table.seq[known]);
      const text = `share ${this.table.index[known]} of the receipt has the header of an earlier one`;
      this.findings.say("shares' work and binding", "share-twice", text, receipt ? [receipt.event.id] : []);
    }
    return true;
  }

  /** Take back a share's credit, if it had any. */
  private uncredit(row: number): boolean {
    if (this.table.good[row] === 0) return false;
    this.table.good[row] = 0;
    const sum = this.byMiner.get(this.miners[this.table.miner[row] as number] as string) as MinerWork;
    sum.shares--;
    sum.work -= workFromBits(this.table.bits[row] as number);
    return true;
  }

  private solved(solution: Solution): void {
    const same = this.solutions.get(solution.block);
    if (same === undefined) this.solutions.set(solution.block, [solution]);
    else {
      same.push(solution);
      same.sort((a, b) => a.t - b.t);
    }
  }

  private bindSession(judged: JudgedJob, miner: string, session: Receipt["sessions"][number]): Bound {
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
  rebuild(receipt: Receipt, index: number): SharedHeader | null {
    const at = index * RECORD_SIZE;
    if (at >= receipt.records.length) return null;
    const view = new DataView(receipt.records.buffer, receipt.records.byteOffset + at, RECORD_SIZE);
    const job = this.jobs.get(receipt.jobs[view.getUint8(2)] as string);
    if (job === undefined || job.terms === null) {
      return { job: null, header: new Uint8Array(0), coinbase: new Uint8Array(0), miner: "" };
    }
    const session = receipt.sessions[view.getUint16(0, true)] as Receipt["sessions"][number];
    const miner = receipt.miners[session.miner] as string;
    const bound = this.bindSession(job, miner, session);
    job.hasher.run(bound, receipt.records, at);
    return { job, header: job.hasher.header(), coinbase: coinbaseOf(bound, receipt.records, at), miner };
  }

  private jobNumber(judged: JudgedJob): number {
    let number = this.usedIndex.get(judged);
    if (number === undefined) this.usedIndex.set(judged, (number = this.used.push(judged) - 1));
    return number;
  }

  private indexOf(names: string[], numbers: Map<string, number>, name: string): number {
    let number = numbers.get(name);
    if (number === undefined) {
      number = names.push(name) - 1;
      numbers.set(name, number);
    }
    return number;
  }

  /** A miner's hash / target should look uniform in (0, 1]. */
  private tellLuck(): void {
    for (const [miner, { shares, luck }] of this.byMiner) {
      if (shares < ENOUGH_SHARES) continue;
      const off = (luck / shares - 0.5) * Math.sqrt(12 * shares);
      if (Math.abs(off) < SIGMAS) continue;
      const text = `its hashes are ${off.toFixed(1)} standard deviations off those of its targets`;
      this.findings.say("shares' work and binding", "harder-work", text, [], miner);
    }
  }
}

