// Compact bits, targets, work and Stratum difficulties (SPEC.md, "Targets and work").

import { Malformed, must } from "./bytes.ts";
import type { Network } from "./event.ts";

const DIFF1 = 0xffffn << 208n;

/** The target of compact bits in canonical form. */
export function targetFromBits(bits: number): bigint {
  const size = bits >>> 24;
  const mantissa = bits & 0xffffff;
  must(mantissa >= 0x8000 && mantissa <= 0x7fffff, "bits are not canonical");
  const target = size >= 3 ? BigInt(mantissa) << (8n * BigInt(size - 3)) : BigInt(mantissa >>> (8 * (3 - size)));
  must(size >= 3 || Number(target) * 2 ** (8 * (3 - size)) === mantissa, "bits of the mantissa fall off");
  must(target > 0n && target < 1n << 256n, "bits are no target");
  return target;
}

/** Expected hashes for one that is at or below the target. */
export function workFromTarget(target: bigint): bigint {
  return (1n << 256n) / (target + 1n);
}

const works = new Map<number, bigint>();

export function workFromBits(bits: number): bigint {
  let work = works.get(bits);
  if (work === undefined) works.set(bits, (work = workFromTarget(targetFromBits(bits))));
  return work;
}

/** The Stratum difficulty of bits, a number for display. */
export function difficultyFromBits(bits: number): number {
  // 2^32 keeps the fractions of difficulties below 1, which CPU miners are given.
  return Number((DIFF1 << 32n) / targetFromBits(bits)) / 2 ** 32;
}

/** The smallest canonical compact target at or above a target. */
export function bitsAtLeast(target: bigint): number {
  must(target > 0n && target < 1n << 256n, "no target");
  let size = Math.ceil(target.toString(16).length / 2);
  const cut = (t: bigint, s: number) => (s >= 3 ? t >> (8n * BigInt(s - 3)) : t << (8n * BigInt(3 - s)));
  let mantissa = cut(target, size);
  if (size > 3 && mantissa << (8n * BigInt(size - 3)) !== target) mantissa += 1n;
  while (mantissa > 0x7fffffn) {
    // A mantissa with its top bit set would be a sign: one byte less of it, rounded up.
    mantissa = (mantissa + 0xffn) >> 8n;
    size++;
  }
  const bits = size * 2 ** 24 + Number(mantissa);
  targetFromBits(bits);
  return bits;
}

/** share_bits of a Stratum difficulty: an integer from 1 to 2^208 or 1/2^k, k from 1 to 32, as text. */
export function bitsFromDifficulty(difficulty: string): number {
  const [whole, part] = difficulty.split("/");
  if (!/^[1-9][0-9]*$/.test(whole as string)) throw new Malformed("not a difficulty");
  if (part === undefined) {
    const d = BigInt(whole as string);
    must(d <= 1n << 208n, "not a difficulty");
    return bitsAtLeast(DIFF1 / d);
  }
  const k = Math.log2(Number(part));
  must(whole === "1" && /^[1-9][0-9]*$/.test(part) && Number.isInteger(k) && k >= 1 && k <= 32, "not a difficulty");
  return bitsAtLeast(DIFF1 << BigInt(k));
}

/** The easiest nbits a network's headers may have. */
export const EASIEST_NBITS: Record<Network, number> = {
  main: 0x1d00ffff,
  testnet4: 0x1d00ffff,
  signet: 0x1e0377ae,
  regtest: 0x207fffff,
};
