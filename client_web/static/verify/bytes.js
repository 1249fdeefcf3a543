// Generated from client_web/verify/bytes.ts by client_web/verify/build.ts: edit that.

// Bytes as text and numbers. Every reader here refuses what is not in the one form SPEC.md, "Encoding", allows.

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
const HEX64 = /^[0-9a-f]{64}$/;
const encoder = new TextEncoder();

/** What every reader of this verifier throws on material that breaks a form. */
export class Malformed extends Error {}

export function must(holds , what ) {
  if (!holds) throw new Malformed(what);
}

export function utf8(text ) {
  return encoder.encode(text);
}

export function toHex(bytes ) {
  let text = "";
  for (const byte of bytes) text += HEX[byte];
  return text;
}

/** Bytes of lowercase hex. */
export function fromHex(text ) {
  must(text.length % 2 === 0 && /^[0-9a-f]*$/.test(text), "not lowercase hex");
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

export function isHex64(value ) {
  return typeof value === "string" && HEX64.test(value);
}

export function reversed(bytes ) {
  return bytes.slice().reverse();
}

export function concat(...parts ) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export function equal(a , b ) {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** The big-endian integer of these bytes. */
export function toBigInt(bytes ) {
  return bytes.length === 0 ? 0n : BigInt(`0x${toHex(bytes)}`);
}

/** 32 big-endian bytes of an integer below 2^256. */
export function from256(value ) {
  return fromHex(value.toString(16).padStart(64, "0"));
}

/** Bytes of padded, canonical base64 (RFC 4648, standard alphabet). */
export function fromBase64(text ) {
  must(text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text), "not base64");
  const letters = atob(text);
  // atob forgives bits behind the last byte; only one spelling is canonical.
  if (text.endsWith("=")) must(btoa(letters.slice(-(letters.length % 3))) === text.slice(-4), "base64 is not canonical");
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}
