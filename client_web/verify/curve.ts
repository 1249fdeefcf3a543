// secp256k1 in BigInts: BIP-340 verification, x-only keys, the key behind an ECDSA signature (BOLT 11), and sums of points
// as Cashu's DLEQ proofs need them (NUT-12).
// Points are affine [x, y], or Jacobian [X, Y, Z] for x = X/Z^2, y = Y/Z^3; Z = 0 is infinity.
// Nothing here is secret, so nothing runs in constant time.

import { concat, from256, toBigInt, utf8 } from "./bytes.ts";
import { sha256 } from "./sha256.ts";

type Affine = readonly [bigint, bigint];
type Jacobian = readonly [bigint, bigint, bigint];

const P = 0xfffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2fn;
const N = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
const G: Affine = [
  0x79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798n,
  0x483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8n,
];
const INFINITY: Jacobian = [0n, 1n, 0n];

function mod(value: bigint, modulus: bigint): bigint {
  const rest = value % modulus;
  return rest < 0n ? rest + modulus : rest;
}

function invert(value: bigint, modulus: bigint): bigint {
  let [a, b] = [mod(value, modulus), modulus];
  let [x, y] = [1n, 0n];
  while (a > 1n) {
    const quotient = b / a;
    [a, b] = [b - quotient * a, a];
    [x, y] = [y - quotient * x, x];
  }
  return mod(x, modulus);
}

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  for (const bit of exponent.toString(2)) {
    result = (result * result) % P;
    if (bit === "1") result = (result * base) % P;
  }
  return result;
}

function double([x, y, z]: Jacobian): Jacobian {
  if (z === 0n) return INFINITY;
  const yy = (y * y) % P;
  const s = (4n * x * yy) % P;
  const m = (3n * x * x) % P;
  const x3 = mod(m * m - 2n * s, P);
  return [x3, mod(m * (s - x3) - 8n * yy * yy, P), (2n * y * z) % P];
}

/** A Jacobian point plus an affine one. */
function addMixed(p: Jacobian, [x2, y2]: Affine): Jacobian {
  const [x1, y1, z1] = p;
  if (z1 === 0n) return [x2, y2, 1n];
  const zz = (z1 * z1) % P;
  const h = mod(x2 * zz - x1, P);
  const r = mod(((y2 * z1) % P) * zz - y1, P);
  if (h === 0n) return r === 0n ? double(p) : INFINITY;
  const hh = (h * h) % P;
  const hhh = (h * hh) % P;
  const v = (x1 * hh) % P;
  const x3 = mod(r * r - hhh - 2n * v, P);
  return [x3, mod(r * (v - x3) - y1 * hhh, P), (z1 * h) % P];
}

/** Affine forms of many points, none at infinity, for one inversion. */
function toAffine(points: Jacobian[]): Affine[] {
  const before: bigint[] = [];
  let product = 1n;
  for (const [, , z] of points) {
    before.push(product);
    product = (product * z) % P;
  }
  let inverse = invert(product, P);
  const result = new Array<Affine>(points.length);
  for (let i = points.length - 1; i >= 0; i--) {
    const [x, y, z] = points[i] as Jacobian;
    const own = (inverse * (before[i] as bigint)) % P;
    inverse = (inverse * z) % P;
    const square = (own * own) % P;
    result[i] = [(x * square) % P, (((y * square) % P) * own) % P];
  }
  return result;
}

// Multiples of one point for sums without doublings: for each of 33 places of 8 bits the 1- to 128-fold, digits being
// signed. 65 ms to make, so only for a point that serves often.
const PLACES = 33;
const HALF = 128;

function makeTable(point: Affine): Affine[] {
  const points: Jacobian[] = [];
  let base = point;
  for (let place = 0; place < PLACES; place++) {
    let sum: Jacobian = [base[0], base[1], 1n];
    for (let i = 0; i < HALF; i++) {
      points.push(sum);
      sum = addMixed(sum, base);
    }
    base = toAffine([double(points[points.length - 1] as Jacobian)])[0] as Affine;
  }
  return toAffine(points);
}

/** sum + scalar * the table's point */
function addMultiple(sum: Jacobian, table: Affine[], scalar: bigint): Jacobian {
  const digits = scalar.toString(16).padStart(64, "0");
  let carry = 0;
  for (let place = 0; place < PLACES; place++) {
    const at = 62 - 2 * place;
    let digit = carry + (at < 0 ? 0 : parseInt(digits.slice(at, at + 2), 16));
    carry = digit > HALF ? 1 : 0;
    digit -= 256 * carry;
    if (digit === 0) continue;
    const [x, y] = table[place * HALF + Math.abs(digit) - 1] as Affine;
    sum = addMixed(sum, digit < 0 ? [x, P - y] : [x, y]);
  }
  return sum;
}

/** scalar * point, by doubling and adding 4 bits at a time. */
function multiply(point: Affine, scalar: bigint): Jacobian {
  const jacobian: Jacobian[] = [[point[0], point[1], 1n]];
  for (let i = 1; i < 15; i++) jacobian.push(addMixed(jacobian[i - 1] as Jacobian, point));
  const small = toAffine(jacobian);
  let sum = INFINITY;
  for (const digit of scalar.toString(16)) {
    sum = double(double(double(double(sum))));
    const value = parseInt(digit, 16);
    if (value !== 0) sum = addMixed(sum, small[value - 1] as Affine);
  }
  return sum;
}

let generator: Affine[] | null = null;

function timesGenerator(scalar: bigint): Jacobian {
  generator ??= makeTable(G);
  return addMultiple(INFINITY, generator, scalar);
}

// The few keys that sign a log get a table of their own from this use on; this many tables are kept (1 MB each).
const OFTEN = 40;
const MAX_TABLES = 16;
const seen = new Map<string, { point: Affine | null; uses: number; table: Affine[] | null }>();
const MAX_SEEN = 100_000;
let tables = 0;

/** The point with this x and an even y (BIP-340's lift_x), null if there is none. */
function lift(x: bigint): Affine | null {
  if (x >= P) return null;
  const square = (x * x * x + 7n) % P;
  const y = power(square, (P + 1n) / 4n);
  if ((y * y) % P !== square) return null;
  return [x, (y & 1n) === 0n ? y : P - y];
}

function keyOf(pubkey: string) {
  let key = seen.get(pubkey);
  if (key === undefined) {
    if (seen.size >= MAX_SEEN) seen.clear();
    key = { point: lift(BigInt(`0x${pubkey}`)), uses: 0, table: null };
    seen.set(pubkey, key);
  }
  return key;
}

/** Whether 64 hex digits are an x-only public key: the x of a point on the curve. */
export function isPublicKey(pubkey: string): boolean {
  return keyOf(pubkey).point !== null;
}

/** tagged_hash of BIP-340. */
export function taggedHash(tag: string, message: Uint8Array): Uint8Array {
  const prefix = sha256(utf8(tag));
  return sha256(concat(prefix, prefix, message));
}

/** BIP-340 verification of a signature (64 bytes) over a message by an x-only key (64 hex digits). */
export function verifySchnorr(pubkey: string, message: Uint8Array, signature: Uint8Array): boolean {
  const key = keyOf(pubkey);
  if (key.point === null || signature.length !== 64) return false;
  const r = toBigInt(signature.subarray(0, 32));
  const s = toBigInt(signature.subarray(32));
  if (r >= P || s >= N) return false;
  const challenge = taggedHash("BIP0340/challenge", concat(signature.subarray(0, 32), from256(key.point[0]), message));
  const minusE = mod(-toBigInt(challenge), N);
  if (++key.uses === OFTEN && tables < MAX_TABLES) {
    key.table = makeTable(key.point);
    tables++;
  }
  const sG = timesGenerator(s);
  const sum = key.table ? addMultiple(sG, key.table, minusE) : addJacobian(sG, multiply(key.point, minusE));
  if (sum[2] === 0n) return false;
  const [x, y] = toAffine([sum])[0] as Affine;
  return (y & 1n) === 0n && x === r;
}

function addJacobian(a: Jacobian, b: Jacobian): Jacobian {
  return b[2] === 0n ? a : addMixed(a, toAffine([b])[0] as Affine);
}

/** The key (compressed, hex) that made an ECDSA signature with this recovery id over a 32-byte hash, null if none did. */
export function recoverEcdsa(hash: Uint8Array, signature: Uint8Array, recovery: number): string | null {
  const r = toBigInt(signature.subarray(0, 32));
  const s = toBigInt(signature.subarray(32, 64));
  if (r === 0n || s === 0n || r >= N || s >= N || recovery > 3) return null;
  const even = lift(recovery >= 2 ? r + N : r);
  if (even === null) return null;
  const point: Affine = recovery % 2 === 1 ? [even[0], P - even[1]] : even;
  const inverse = invert(r, N);
  const sum = addJacobian(timesGenerator(mod(-toBigInt(hash) * inverse, N)), multiply(point, mod(s * inverse, N)));
  if (sum[2] === 0n) return null;
  const [x, y] = toAffine([sum])[0] as Affine;
  return ((y & 1n) === 0n ? "02" : "03") + x.toString(16).padStart(64, "0");
}

/** A point of the curve that is not infinity. */
export type Point = Affine;
/** How many points the group has. */
export const ORDER = N;

/** The point of a compressed public key (66 hex digits), null if there is none. */
export function pointOf(key: string): Point | null {
  const even = lift(BigInt(`0x${key.slice(2)}`));
  if (even === null || key.startsWith("02")) return even;
  return [even[0], P - even[1]];
}

/** a * p + b * q for 0 < a, b < ORDER, the generator for a p that is null; null if the sum is infinity. */
export function addMultiples(a: bigint, p: Point | null, b: bigint, q: Point): Point | null {
  const sum = addJacobian(p === null ? timesGenerator(a) : multiply(p, a), multiply(q, b));
  return sum[2] === 0n ? null : (toAffine([sum])[0] as Affine);
}

/** 65 bytes of a point, in hex. */
export function uncompressed([x, y]: Point): string {
  return `04${x.toString(16).padStart(64, "0")}${y.toString(16).padStart(64, "0")}`;
}
