// Shares rebuilt and hashed, many a second: what does not change between shares of one session is kept.

import { concat, fromHex } from "./bytes.ts";
import { binding } from "./coinbase.ts";
import type { Job } from "./job.ts";
import type { Session } from "./receipt.ts";
import { bytesToWords, finish, hashPair, hashWords, midstate, padded, wordsToBytes } from "./sha256.ts";
import { bitsAtLeast, targetFromBits } from "./targets.ts";

/** What all shares of one session on one job have in common. */
export interface Bound {
  /** State after the coinbase's blocks before extranonce2. */
  readonly state: Int32Array;
  /** The blocks from there on, with padding; extranonce2 goes in at `at`. */
  readonly tail: Uint8Array;
  readonly at: number;
  readonly coinbase: Uint8Array;
  readonly extranonce2At: number;
  readonly target: Int32Array;
}

const EXTRANONCE2_SIZE = 8;
const START_STATE = midstate(new Uint8Array(0), 0);

function swap(word: number): number {
  return (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
}

/** A target as words that compare with a hash's, the least significant first. */
export function targetWords(target: bigint): Int32Array {
  return Int32Array.from({ length: 8 }, (_, i) => Number((target >> BigInt(32 * i)) & 0xffffffffn) | 0);
}

/** Whether a hash (eight words), read as a little-endian integer, is at most a target. */
export function meets(hash: Int32Array, target: Int32Array): boolean {
  for (let i = 7; i >= 0; i--) {
    const [ours, limit] = [swap(hash[i] as number) >>> 0, (target[i] as number) >>> 0];
    if (ours !== limit) return ours < limit;
  }
  return true;
}

/** A hash as a fraction of 2^256, as exact as a double is. */
export function hashFraction(hash: Int32Array): number {
  let sum = 0;
  for (let i = 0; i < 8; i++) sum = (sum + (swap(hash[i] as number) >>> 0)) / 2 ** 32;
  return sum;
}

/** The smallest canonical compact target that a hash meets. */
export function bestBits(hash: Int32Array): number {
  const byte = (at: number) => ((hash[at >> 2] as number) >>> (24 - 8 * (at & 3))) & 0xff;
  let size = 32;
  while (size > 3 && byte(size - 1) === 0) size--;
  if (size <= 3) return bitsAtLeast(BigInt(Math.max(1, byte(0) | (byte(1) << 8) | (byte(2) << 16))));
  let mantissa = (byte(size - 1) << 16) | (byte(size - 2) << 8) | byte(size - 3);
  for (let at = size - 4; at >= 0; at--) {
    if (byte(at) === 0) continue;
    mantissa++; // what falls off is rounded up
    break;
  }
  if (mantissa > 0x7fffff) {
    mantissa = (mantissa + 0xff) >> 8;
    size++;
  }
  return size * 2 ** 24 + mantissa;
}

export function bind(job: Job, miner: string, session: Session): Bound {
  const before = concat(job.coinb1, binding(job.event.id, miner, session.shareBits), fromHex(session.extranonce1));
  const coinbase = concat(before, new Uint8Array(EXTRANONCE2_SIZE), job.coinb2);
  const blocks = Math.floor(before.length / 64);
  return {
    state: midstate(coinbase, blocks),
    tail: padded(coinbase.subarray(64 * blocks), coinbase.length),
    at: before.length - 64 * blocks,
    coinbase,
    extranonce2At: before.length,
    target: targetWords(targetFromBits(session.shareBits)),
  };
}

/** A job's branches and header, ready to be hashed with many coinbases. */
export class JobHasher {
  private readonly branches: Int32Array[];
  private readonly blocks: Uint8Array;
  private readonly view: DataView;
  private readonly words = new Int32Array(8);
  /** The hash of the share rebuilt last, as eight words. */
  readonly hash = new Int32Array(8);

  constructor(job: Job) {
    this.branches = job.merkle.map(bytesToWords);
    this.blocks = padded(new Uint8Array(80), 80);
    this.view = new DataView(this.blocks.buffer);
    this.blocks.set(job.prevhash, 4);
    this.view.setUint32(72, job.nbits, true);
  }

  /** Rebuild and hash the share of a record: 28 bytes at `at` in `records`. */
  run(bound: Bound, records: Uint8Array, at: number): Int32Array {
    for (let i = 0; i < EXTRANONCE2_SIZE; i++) bound.tail[bound.at + i] = records[at + 20 + i] as number;
    finish(bound.state, bound.tail, this.words);
    hashWords(this.words, this.words);
    for (const branch of this.branches) hashPair(this.words, branch, this.words);
    for (let i = 0; i < 8; i++) this.view.setInt32(36 + 4 * i, this.words[i] as number);
    // ntime, nonce and version stand in a record as they stand in the header.
    for (let i = 0; i < 4; i++) {
      this.blocks[68 + i] = records[at + 8 + i] as number;
      this.blocks[76 + i] = records[at + 12 + i] as number;
      this.blocks[i] = records[at + 16 + i] as number;
    }
    finish(START_STATE, this.blocks, this.hash);
    hashWords(this.hash, this.hash);
    return this.hash;
  }

  /** The 80 bytes hashed last. */
  header(): Uint8Array {
    return this.blocks.slice(0, 80);
  }
}

/** The coinbase of a record. */
export function coinbaseOf(bound: Bound, records: Uint8Array, at: number): Uint8Array {
  const coinbase = bound.coinbase.slice();
  coinbase.set(records.subarray(at + 20, at + 20 + EXTRANONCE2_SIZE), bound.extranonce2At);
  return coinbase;
}

/** A hash as block's name: hex in the order RPC uses. */
export function hashBytes(hash: Int32Array): Uint8Array {
  return wordsToBytes(hash);
}
