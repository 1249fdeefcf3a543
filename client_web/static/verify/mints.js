// Generated from client_web/verify/mints.ts by client_web/verify/build.ts: edit that.

// Mints of Cashu: their URLs, their keys as somebody asked for them, and whether the keys are those of their keysets' ids
// (SPEC.md, "Ecash"; NUT-01, NUT-02).

import { Malformed, concat, fromHex, must, toHex, utf8 } from "./bytes.js";
import { isObject, parseStrict } from "./json.js";
import { sha256 } from "./sha256.js";

/**
 * Public keys (33 bytes in hex) by amount, of each keyset in sat, by what `keysetName` gives; none by that of `LISTED`: they are
 * all that the mint lists.
 */

export const LISTED = "";
export const UNIT = "sat";
// A mint that rotates each week for ten years has 500 keysets of 64 keys, 5 KB each.
const MAX_FILE = 16 * 1024 * 1024;
const MAX_URL = 255;
export const MAX_KEYS = 256;
const MAX_KEYSETS = 1000;
// Thousandths of a unit for each proof.
const MAX_FEE_PPK = 100_000;
const MAX_AMOUNT = 2n ** 63n;
const ID = /^(?:00[0-9a-f]{14}|01[0-9a-f]{64})$/;
const UNIT_NAME = /^[a-z0-9_-]{1,16}$/;
const POINT = /^0[23][0-9a-f]{64}$/;
const DEFAULT_PORTS = { http: 80, https: 443 };
const HOST = /^(?:(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?|[0-9a-f.]{2,45})$/;
const NETLOC = /^(?:([^:[\]]*)|\[([0-9a-f:.]{2,45})\])(?::([0-9]*))?$/;
const SPACES = "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+";
const OUTER_SPACES = new RegExp(`^${SPACES}|${SPACES}$`, "g");

/** Whether a value is a compressed public key in hex, by its form. */
export function isPoint(value ) {
  return typeof value === "string" && POINT.test(value);
}

export function isUnit(text ) {
  return UNIT_NAME.test(text);
}

export function keysetName(url , id ) {
  return `${url} ${id}`;
}

/** A mint's URL as it is compared: scheme and host in lower case, no port that is the scheme's own, no slash at the end. */
export function mintUrl(written ) {
  const text = written.replace(OUTER_SPACES, "");
  must(text.length <= MAX_URL && /^[!-~]*$/.test(text), "a mint's URL is ASCII without spaces");
  const parts = /^(https?):\/\/([^/]*)(.*)$/i.exec(text);
  must(parts !== null && !/[@#?\\]/.test(text), "not the URL of a mint");
  const [scheme, netloc, path] = [(parts[1] ).toLowerCase(), (parts[2] ).toLowerCase(), parts[3] ];
  const found = NETLOC.exec(netloc);
  must(found !== null, "the URL of a mint names no host");
  const [, name, address, digits] = found;
  if (address === undefined) must(HOST.test(name ), "the URL of a mint names no host");
  else must(URL.canParse(`http://[${address}]`), "the URL of a mint names no host");
  const host = address === undefined ? (name ) : `[${address}]`;
  const port = digits ? Number(digits) : DEFAULT_PORTS[scheme];
  must(port !== 0 && (port ) <= 65535, "no port");
  const where = port === DEFAULT_PORTS[scheme] ? host : `${host}:${port}`;
  return `${scheme}://${where}${path.replace(/\/+$/, "")}`;
}

/** null for a keyset of a form that is not known here. */
function readKeyset(row ) {
  if (!isObject(row)) return null;
  const { id, unit, active } = row;
  if (typeof id !== "string" || !ID.test(id) || typeof unit !== "string" || !isUnit(unit)) return null;
  const fee = row["input_fee_ppk"] ?? 0;
  must(typeof active === "boolean" && typeof fee === "number" && fee >= 0 && fee <= MAX_FEE_PPK, "a keyset is out of form");
  const expiry = row["final_expiry"];
  return { id, unit, feePpk: fee, finalExpiry: typeof expiry === "number" ? expiry : null };
}

/** The id that keys make, of the version that the keyset's own id has. */
function keysetId(keys , keyset ) {
  const ordered = [...keys].sort(([a], [b]) => (a < b ? -1 : 1));
  if (keyset.id.startsWith("00")) return `00${toHex(sha256(concat(...ordered.map(([, key]) => fromHex(key))))).slice(0, 14)}`;
  let text = `${ordered.map(([amount, key]) => `${amount}:${key}`).join()}|unit:${keyset.unit}`;
  if (keyset.feePpk > 0) text += `|input_fee_ppk:${keyset.feePpk}`;
  if (keyset.finalExpiry !== null) text += `|final_expiry:${keyset.finalExpiry}`;
  return `01${toHex(sha256(utf8(text)))}`;
}

function readKeys(keys , keyset ) {
  must(isObject(keys), `no keys of keyset ${keyset.id}`);
  const rows = Object.entries(keys);
  must(rows.length > 0 && rows.length <= MAX_KEYS, `no keys of keyset ${keyset.id}`);
  const byAmount = new Map ();
  for (const [amount, key] of rows) {
    must(/^[1-9][0-9]{0,19}$/.test(amount) && isPoint(key), `keyset ${keyset.id} has what is no amount or no key`);
    if (BigInt(amount) <= MAX_AMOUNT) byAmount.set(BigInt(amount), key);
  }
  must(keysetId(byAmount, keyset) === keyset.id, `the keys shown are not those of keyset ${keyset.id}`);
  return byAmount;
}

function readMint(mint , into ) {
  const url = mintUrl(mint["mint"] );
  const rows = mint["keysets"];
  must(Array.isArray(rows) && rows.length <= MAX_KEYSETS, "a mint lists its keysets");
  const ids = new Set ();
  for (const row of rows) {
    const keyset = readKeyset(row);
    if (keyset === null) continue;
    must(!ids.has(keyset.id), `keyset ${keyset.id} stands twice`);
    ids.add(keyset.id);
    const keys = readKeys((row )["keys"], keyset);
    into.set(keysetName(url, LISTED), new Map());
    if (keyset.unit === UNIT) into.set(keysetName(url, keyset.id), keys);
  }
}

/** The keysets in sat of files of mints' keys, each id computed again from its keys. Throws Malformed. */
export function readMintKeys(...files ) {
  const known = new Map ();
  for (const file of files) {
    must(file.length <= MAX_FILE, "this is no file of mints' keys");
    let value = null;
    try {
      value = parseStrict(file);
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
    }
    must(isObject(value) && value["v"] === 1 && Array.isArray(value["mints"]), "this is no file of mints' keys");
    for (const mint of value["mints"]) {
      must(isObject(mint) && typeof mint["mint"] === "string", "a mint of the file has no URL");
      readMint(mint, known);
    }
  }
  return known;
}
