// Generated from client_web/verify/sha256.ts by client_web/verify/build.ts: edit that.

// SHA-256 (FIPS 180-4), synchronous: WebCrypto answers by promise, one round trip a hash, and shares need millions.

const K = new Int32Array([
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
]);

const START = new Int32Array([
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
]);

const W = new Int32Array(64);

/** Fill w[16..63] from w[0..15]. */
function expand(w ) {
  for (let i = 16; i < 64; i++) {
    const x = w[i - 15] ;
    const y = w[i - 2] ;
    const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
    const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
    w[i] = ((w[i - 16] ) + s0 + (w[i - 7] ) + s1) | 0;
  }
}

/** 64 rounds over an expanded schedule; `out` may be `state`. */
function rounds(state , w , out ) {
  let a = state[0] ;
  let b = state[1] ;
  let c = state[2] ;
  let d = state[3] ;
  let e = state[4] ;
  let f = state[5] ;
  let g = state[6] ;
  let h = state[7] ;
  for (let i = 0; i < 64; i++) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const t1 = (h + s1 + (g ^ (e & (f ^ g))) + (K[i] ) + (w[i] )) | 0;
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const t2 = (s0 + ((a & b) | (c & (a | b)))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + t2) | 0;
  }
  out[0] = ((state[0] ) + a) | 0;
  out[1] = ((state[1] ) + b) | 0;
  out[2] = ((state[2] ) + c) | 0;
  out[3] = ((state[3] ) + d) | 0;
  out[4] = ((state[4] ) + e) | 0;
  out[5] = ((state[5] ) + f) | 0;
  out[6] = ((state[6] ) + g) | 0;
  out[7] = ((state[7] ) + h) | 0;
}

function load(bytes , at , w ) {
  for (let i = 0; i < 16; i++, at += 4) {
    w[i] =
      ((bytes[at] ) << 24) |
      ((bytes[at + 1] ) << 16) |
      ((bytes[at + 2] ) << 8) |
      (bytes[at + 3] );
  }
}

/** The second block of a 64-byte message is padding alone: its schedule is always the same. */
const PAD64 = new Int32Array(64);
PAD64[0] = 0x80000000 | 0;
PAD64[15] = 512;
expand(PAD64);

const STATE = new Int32Array(8);

/** State after the whole 64-byte blocks at the beginning of `bytes`. */
export function midstate(bytes , blocks ) {
  const state = START.slice();
  for (let i = 0; i < blocks; i++) {
    load(bytes, 64 * i, W);
    expand(W);
    rounds(state, W, state);
  }
  return state;
}

/** `tail` with SHA-256's padding, for a message of `length` bytes whose end it is. */
export function padded(tail , length ) {
  const blocks = new Uint8Array(64 * Math.ceil((tail.length + 9) / 64));
  blocks.set(tail);
  blocks[tail.length] = 0x80;
  const view = new DataView(blocks.buffer);
  view.setUint32(blocks.length - 8, Math.floor(length / 2 ** 29));
  view.setUint32(blocks.length - 4, (length << 3) >>> 0);
  return blocks;
}

/** Go on from `from` over padded blocks; eight words into `out`. */
export function finish(from , blocks , out ) {
  STATE.set(from);
  for (let at = 0; at < blocks.length; at += 64) {
    load(blocks, at, W);
    expand(W);
    rounds(STATE, W, STATE);
  }
  out.set(STATE);
}

/** The hash of the 32 bytes in eight words; `out` may be `words`. */
export function hashWords(words , out ) {
  for (let i = 0; i < 8; i++) W[i] = words[i] ;
  W[8] = 0x80000000 | 0;
  W.fill(0, 9, 15);
  W[15] = 256;
  expand(W);
  rounds(START, W, out);
}

/** SHA-256 of SHA-256 of two hashes, one behind the other; `out` may be `left`. */
export function hashPair(left , right , out ) {
  for (let i = 0; i < 8; i++) {
    W[i] = left[i] ;
    W[i + 8] = right[i] ;
  }
  expand(W);
  rounds(START, W, STATE);
  rounds(STATE, PAD64, STATE);
  hashWords(STATE, out);
}

export function wordsToBytes(words ) {
  const bytes = new Uint8Array(32);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < 8; i++) view.setInt32(4 * i, words[i] );
  return bytes;
}

export function bytesToWords(bytes ) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Int32Array.from({ length: bytes.length / 4 }, (_, i) => view.getInt32(4 * i));
}

export function sha256(message ) {
  const blocks = Math.floor(message.length / 64);
  const out = new Int32Array(8);
  finish(midstate(message, blocks), padded(message.subarray(64 * blocks), message.length), out);
  return wordsToBytes(out);
}

export function sha256d(message ) {
  return sha256(sha256(message));
}
