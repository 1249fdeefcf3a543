// The binding, the coinbase's one shape, the merkle root and the header (SPEC.md, "The binding").

import { concat, fromHex, must, toHex } from "./bytes.ts";
import { taggedHash } from "./curve.ts";
import { bytesToWords, hashPair, sha256d, wordsToBytes } from "./sha256.ts";

export const BINDING_SIZE = 32;
export const EXTRANONCE_SIZE = 4 + 8;
const CLOSING_PUSH = BINDING_SIZE + EXTRANONCE_SIZE;
const MAX_SCRIPT = 100;
const MAX_SAT = 21_000_000n * 100_000_000n;

/** 32 bytes that bind work to a job, a miner (64 hex digits each) and a target. */
export function binding(job: string, miner: string, shareBits: number): Uint8Array {
  const bits = new Uint8Array(4);
  new DataView(bits.buffer).setUint32(0, shareBits);
  const [jobBytes, minerBytes] = [fromHex(job), fromHex(miner)];
  must(jobBytes.length === 32 && minerBytes.length === 32, "a job id or key is not 32 bytes");
  return taggedHash("noncestr/share/1", concat(jobBytes, minerBytes, bits));
}

/** The push with which a coinbase's script begins, by BIP 34. */
export function pushHeight(height: number): Uint8Array {
  must(Number.isInteger(height) && height >= 1 && height <= 0x7fffffff, "no height");
  if (height <= 16) return Uint8Array.of(0x50 + height);
  const bytes: number[] = [];
  for (let rest = height; rest > 0; rest = Math.floor(rest / 256)) bytes.push(rest % 256);
  if ((bytes[bytes.length - 1] as number) & 0x80) bytes.push(0);
  return Uint8Array.of(bytes.length, ...bytes);
}

/** Whether a script holds whole pushes only, of the opcodes allowed before the binding. */
function holdsPushesOnly(script: Uint8Array): boolean {
  let at = 0;
  while (at < script.length) {
    const opcode = script[at++] as number;
    if (opcode >= 0x01 && opcode <= 0x4b) at += opcode;
    else if (opcode === 0x4c) at += 1 + (script[at] ?? script.length);
    else if (opcode !== 0x00 && opcode !== 0x4f && !(opcode >= 0x51 && opcode <= 0x60)) return false;
  }
  return at === script.length;
}

function checkCoinb1(coinb1: Uint8Array, height: number): void {
  const head = concat(Uint8Array.of(1), new Uint8Array(32), Uint8Array.of(0xff, 0xff, 0xff, 0xff));
  must(coinb1.length > 42, "coinb1 is cut short");
  must(toHex(coinb1.subarray(4, 41)) === toHex(head), "not one null input");
  const length = coinb1[41] as number;
  const prefix = coinb1.subarray(42, coinb1.length - 1);
  must(length === prefix.length + 1 + CLOSING_PUSH && length <= MAX_SCRIPT, "another length of the scriptSig");
  must(coinb1[coinb1.length - 1] === CLOSING_PUSH, "the closing push is not of 44 bytes");
  const pushed = pushHeight(height);
  must(toHex(prefix.subarray(0, pushed.length)) === toHex(pushed), "another height");
  must(holdsPushesOnly(prefix), "more than pushes stand before the binding");
}

export interface Output {
  readonly sat: bigint;
  readonly script: Uint8Array;
}

/** The outputs of a coinb2, which they must fill exactly. */
function readOutputs(coinb2: Uint8Array): Output[] {
  const view = new DataView(coinb2.buffer, coinb2.byteOffset, coinb2.byteLength);
  let at = 4;
  const need = (count: number) => must(at + count <= coinb2.length, "coinb2 is cut short");
  const size = (): number => {
    need(1);
    const first = coinb2[at++] as number;
    if (first < 0xfd) return first;
    const width = first === 0xfd ? 2 : first === 0xfe ? 4 : 8;
    need(width);
    const value = width === 2 ? view.getUint16(at, true) : width === 4 ? view.getUint32(at, true) : Number(view.getBigUint64(at, true));
    at += width;
    must(value >= (width === 2 ? 0xfd : width === 4 ? 0x10000 : 2 ** 32), "a length not in its shortest form");
    return value;
  };
  need(0);
  const outputs: Output[] = [];
  const count = size();
  must(count > 0, "no outputs");
  for (let i = 0; i < count; i++) {
    need(8);
    const sat = view.getBigUint64(at, true);
    at += 8;
    const length = size();
    need(length);
    outputs.push({ sat, script: coinb2.slice(at, at + length) });
    at += length;
  }
  must(at + 4 === coinb2.length, "bytes missing or left behind the outputs");
  return outputs;
}

/** Check a coinbase's shape; its outputs. */
export function checkCoinbase(coinb1: Uint8Array, coinb2: Uint8Array, height: number): Output[] {
  checkCoinb1(coinb1, height);
  const outputs = readOutputs(coinb2);
  must(outputs.every((output) => output.sat <= MAX_SAT), "more than all bitcoin");
  must(totalSat(outputs) <= MAX_SAT, "more than all bitcoin");
  return outputs;
}

export function totalSat(outputs: Output[]): bigint {
  return outputs.reduce((sum, output) => sum + output.sat, 0n);
}

/** Fold a leaf with branches to the merkle root; all in serialisation order. */
export function merkleRoot(leaf: Uint8Array, branches: Uint8Array[]): Uint8Array {
  const root = bytesToWords(leaf);
  for (const branch of branches) hashPair(root, bytesToWords(branch), root);
  return wordsToBytes(root);
}

export interface HeaderFields {
  readonly version: number;
  readonly prevhash: Uint8Array;
  readonly root: Uint8Array;
  readonly ntime: number;
  readonly nbits: number;
  readonly nonce: number;
}

export function header(fields: HeaderFields): Uint8Array {
  const bytes = new Uint8Array(80);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, fields.version, true);
  bytes.set(fields.prevhash, 4);
  bytes.set(fields.root, 36);
  view.setUint32(68, fields.ntime, true);
  view.setUint32(72, fields.nbits, true);
  view.setUint32(76, fields.nonce, true);
  return bytes;
}

/** The name of a header's block: its hash in the order RPC uses. */
export function blockName(bytes: Uint8Array): string {
  return toHex(sha256d(bytes).reverse());
}
