// Bech32 (BIP 173) without a limit of length, for npub and nprofile (NIP-19) and BOLT 11 invoices.

import { concat, fromHex, isHex64, must, toHex } from "./bytes.ts";
import { isPublicKey } from "./curve.ts";

const ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const GENERATOR = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3];

function checksum(values: number[]): number {
  let sum = 1;
  for (const value of values) {
    const top = sum >>> 25;
    sum = ((sum & 0x1ffffff) << 5) ^ value;
    for (let i = 0; i < 5; i++) if ((top >>> i) & 1) sum ^= GENERATOR[i] as number;
  }
  return sum;
}

function expand(prefix: string): number[] {
  const codes = [...prefix].map((letter) => letter.charCodeAt(0));
  return [...codes.map((code) => code >>> 5), 0, ...codes.map((code) => code & 31)];
}

/** The prefix and the 5-bit words of a bech32 text, its checksum checked. */
export function decodeBech32(text: string): { prefix: string; words: number[] } {
  must(text === text.toLowerCase() || text === text.toUpperCase(), "mixed case");
  const lower = text.toLowerCase();
  const split = lower.lastIndexOf("1");
  must(split >= 1 && split + 7 <= lower.length, "not bech32");
  const prefix = lower.slice(0, split);
  const words = [...lower.slice(split + 1)].map((letter) => ALPHABET.indexOf(letter));
  must(words.every((word) => word >= 0), "a letter is not in bech32's alphabet");
  must(checksum([...expand(prefix), ...words]) === 1, "a wrong checksum");
  return { prefix, words: words.slice(0, -6) };
}

/**
 * Bytes of 5-bit words. What is left over at the end must be fewer than 5 bits, all zero ("strict"), is dropped ("cut"),
 * or becomes a byte filled with zeros ("pad", for what a BOLT 11 signature is over).
 */
export function bytesFromWords(words: number[], rest: "strict" | "cut" | "pad" = "strict"): Uint8Array {
  const bytes: number[] = [];
  let [held, count] = [0, 0];
  for (const word of words) {
    held = (held << 5) | word;
    count += 5;
    if (count >= 8) {
      count -= 8;
      bytes.push((held >>> count) & 0xff);
      held &= (1 << count) - 1;
    }
  }
  must(rest !== "strict" || (count < 5 && held === 0), "bits are left over");
  if (rest === "pad" && count > 0) bytes.push((held << (8 - count)) & 0xff);
  return Uint8Array.from(bytes);
}

function wordsOf(bytes: Uint8Array): number[] {
  const words: number[] = [];
  let [held, count] = [0, 0];
  for (const byte of bytes) {
    held = (held << 8) | byte;
    count += 8;
    for (; count >= 5; count -= 5) words.push((held >>> (count - 5)) & 31);
    held &= (1 << count) - 1;
  }
  if (count > 0) words.push((held << (5 - count)) & 31);
  return words;
}

function encodeBech32(prefix: string, bytes: Uint8Array): string {
  const words = wordsOf(bytes);
  const sum = checksum([...expand(prefix), ...words, 0, 0, 0, 0, 0, 0]) ^ 1;
  for (let i = 5; i >= 0; i--) words.push((sum >>> (5 * i)) & 31);
  return `${prefix}1${words.map((word) => ALPHABET[word]).join("")}`;
}

/** NIP-19 npub of a public key. */
export function npub(pubkey: string): string {
  return encodeBech32("npub", fromHex(pubkey));
}

/** NIP-19 nevent of an event id, without relay hints. */
export function nevent(id: string): string {
  return encodeBech32("nevent", concat(Uint8Array.of(0, 32), fromHex(id)));
}

/** The public key of an npub. */
export function decodeNpub(text: string): string {
  must(text.toLowerCase().startsWith("npub1"), "not an npub");
  return parsePubkey(text);
}

/** A pool's public key of what a person types: npub, nprofile or 64 hex digits. */
export function parsePubkey(text: string): string {
  if (isHex64(text)) {
    must(isPublicKey(text), "not on the curve");
    return text;
  }
  const { prefix, words } = decodeBech32(text);
  const bytes = bytesFromWords(words);
  if (prefix === "npub") {
    must(bytes.length === 32, "an npub has 32 bytes");
    return onCurve(bytes);
  }
  must(prefix === "nprofile", "not an npub or nprofile");
  return onCurve(readTlv(bytes).key);
}

function onCurve(bytes: Uint8Array): string {
  const pubkey = toHex(bytes);
  must(isPublicKey(pubkey), "not on the curve");
  return pubkey;
}

/** The key and relays of an nprofile's TLV. */
export function readTlv(bytes: Uint8Array): { key: Uint8Array; relays: string[] } {
  let key: Uint8Array | null = null;
  const relays: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const [type, length] = [bytes[at], bytes[at + 1]];
    must(length !== undefined && at + 2 + length <= bytes.length, "an nprofile is cut short");
    const value = bytes.slice(at + 2, at + 2 + length);
    if (type === 0) key ??= value;
    if (type === 1) relays.push(String.fromCharCode(...value));
    at += 2 + length;
  }
  must(key !== null && key.length === 32, "an nprofile without a key");
  return { key, relays };
}
