// Generated from client_web/verify/hasher.ts by client_web/verify/build.ts: edit that.

// Shares rebuilt and hashed, many a second: what does not change between shares of one session is kept.

import { concat, fromHex } from "./bytes.js";
import { binding } from "./coinbase.js";

import { bytesToWords, finish, hashPair, hashWords, midstate, padded, wordsToBytes } from "./sha256.js";
import { bitsAtLeast, targetFromBits } from "./targets.js";

/** What all shares of one session on one job have in common. */

const EXTRANONCE2_SIZE = 8;
const START_STATE = midstate(new Uint8Array(0), 0);

function swap(word ) {
  return (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
}

/** A target as words that compare with a hash's, the least significant first. */
export function targetWords(target ) {
  return Int32Array.from({ length: 8 }, (_, i) => Number((target >> BigInt(32 * i)) & 0xffffffffn) | 0);
}

/** Whether a hash (eight words), read as a little-endian integer, is at most a target. */
export function meets(hash , target ) {
  for (let i = 7; i >= 0; i--) {
    const [ours, limit] = [swap(hash[i] ) >>> 0, (target[i] ) >>> 0];
    if (ours !== limit) return ours < limit;
  }
  return true;
}

/** A hash as a fraction of 2^256, as exact as a double is. */
export function hashFraction(hash ) {
  let sum = 0;
  for (let i = 0; i < 8; i++) sum = (sum + (swap(hash[i] ) >>> 0)) / 2 ** 32;
  return sum;
}

/** The smallest canonical compact target that a hash meets. */
export function bestBits(hash ) {
  const byte = (at ) => ((hash[at >> 2] ) >>> (24 - 8 * (at & 3))) & 0xff;
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

export function bind(job , miner , session ) {
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
                   branches ;
                   blocks ;
                   view ;
                   words = new Int32Array(8);
  /** The hash of the share rebuilt last, as eight words. */
           hash = new Int32Array(8);

  constructor(job ) {
    this.branches = job.merkle.map(bytesToWords);
    this.blocks = padded(new Uint8Array(80), 80);
    this.view = new DataView(this.blocks.buffer);
    this.blocks.set(job.prevhash, 4);
    this.view.setUint32(72, job.nbits, true);
  }

  /** Rebuild and hash the share of a record: 28 bytes at `at` in `records`. */
  run(bound , records , at ) {
    for (let i = 0; i < EXTRANONCE2_SIZE; i++) bound.tail[bound.at + i] = records[at + 20 + i] ;
    finish(bound.state, bound.tail, this.words);
    hashWords(this.words, this.words);
    for (const branch of this.branches) hashPair(this.words, branch, this.words);
    for (let i = 0; i < 8; i++) this.view.setInt32(36 + 4 * i, this.words[i] );
    // ntime, nonce and version stand in a record as they stand in the header.
    for (let i = 0; i < 4; i++) {
      this.blocks[68 + i] = records[at + 8 + i] ;
      this.blocks[76 + i] = records[at + 12 + i] ;
      this.blocks[i] = records[at + 16 + i] ;
    }
    finish(START_STATE, this.blocks, this.hash);
    hashWords(this.hash, this.hash);
    return this.hash;
  }

  /** The 80 bytes hashed last. */
  header() {
    return this.blocks.slice(0, 80);
  }
}

/** The coinbase of a record. */
export function coinbaseOf(bound , records , at ) {
  const coinbase = bound.coinbase.slice();
  coinbase.set(records.subarray(at + 20, at + 20 + EXTRANONCE2_SIZE), bound.extranonce2At);
  return coinbase;
}

/** A hash as block's name: hex in the order RPC uses. */
export function hashBytes(hash ) {
  return wordsToBytes(hash);
}
