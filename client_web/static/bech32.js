// Bech32 (BIP 173) as NIP-19 and BOLT 11 use it: without its limit of 90 characters.

import { fromHex, toHex } from "./sha256.js";

const ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const GENERATOR = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3];
// An invoice is a few hundred characters; nothing longer is worth the time.
const MAX_LENGTH = 5000;

function polymod(values) {
  let checksum = 1;
  for (const value of values) {
    const top = checksum >>> 25;
    checksum = ((checksum & 0x1ffffff) << 5) ^ value;
    for (let i = 0; i < 5; i++) if ((top >>> i) & 1) checksum ^= GENERATOR[i];
  }
  return checksum >>> 0;
}

function expand(prefix) {
  const codes = Array.from(prefix, (letter) => letter.charCodeAt(0));
  return [...codes.map((code) => code >> 5), 0, ...codes.map((code) => code & 31)];
}

function regroup(values, from, to, pad) {
  let held = 0;
  let bits = 0;
  const out = [];
  for (const value of values) {
    held = ((held << from) | value) & 0xfff;
    bits += from;
    while (bits >= to) {
      bits -= to;
      out.push((held >> bits) & ((1 << to) - 1));
    }
  }
  if (pad && bits > 0) out.push((held << (to - bits)) & ((1 << to) - 1));
  if (!pad && (bits >= from || (held & ((1 << bits) - 1)) !== 0)) throw new Error("bech32 text with bad padding");
  return out;
}

/** `[prefix, 5-bit groups]` of a bech32 string; throws if it is not one. */
export function decodeGroups(text) {
  const lower = text.toLowerCase();
  if (text !== lower && text !== text.toUpperCase()) throw new Error("bech32 text of mixed case");
  const at = lower.lastIndexOf("1");
  if (at < 1 || lower.length - at < 7 || lower.length > MAX_LENGTH) throw new Error("not bech32 text");
  const groups = Array.from(lower.slice(at + 1), (letter) => ALPHABET.indexOf(letter));
  const prefix = lower.slice(0, at);
  if (groups.includes(-1) || polymod([...expand(prefix), ...groups]) !== 1) throw new Error("bech32 checksum is wrong");
  return [prefix, groups.slice(0, -6)];
}

function encode(prefix, bytes) {
  const groups = regroup(bytes, 8, 5, true);
  const checksum = polymod([...expand(prefix), ...groups, 0, 0, 0, 0, 0, 0]) ^ 1;
  for (let i = 5; i >= 0; i--) groups.push((checksum >>> (5 * i)) & 31);
  return `${prefix}1${groups.map((group) => ALPHABET[group]).join("")}`;
}

/** NIP-19 npub of a public key in hex. */
export function npub(pubkey) {
  return encode("npub", fromHex(pubkey));
}

/** NIP-19 nevent of an event id in hex, without relay hints. */
export function nevent(id) {
  return encode("nevent", [0, 32, ...fromHex(id)]);
}

/** The public key in hex of an npub; throws if it is not one. */
export function decodeNpub(text) {
  const [prefix, groups] = decodeGroups(text);
  const bytes = regroup(groups, 5, 8, false);
  if (prefix !== "npub" || bytes.length !== 32) throw new Error("not an npub");
  return toHex(bytes);
}

/** The payment hash in hex of a BOLT 11 invoice; throws if there is none. The invoice's signature is not checked. */
export function paymentHash(invoice) {
  const [prefix, groups] = decodeGroups(invoice);
  if (!prefix.startsWith("ln")) throw new Error("not a Lightning invoice");
  // 7 groups of timestamp, then tagged fields (type, length in two groups, data), then 104 groups of signature.
  const end = groups.length - 104;
  for (let at = 7; at + 3 <= end; ) {
    const size = groups[at + 1] * 32 + groups[at + 2];
    if (groups[at] === 1 && size === 52) return toHex(regroup(groups.slice(at + 3, at + 55), 5, 8, false));
    at += 3 + size;
  }
  throw new Error("an invoice without a payment hash");
}
