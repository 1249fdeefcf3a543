// Mints of Cashu: their URLs, their keys as somebody asked for them, and whether the keys are those of their keysets' ids
// (SPEC.md, "Ecash"; NUT-01, NUT-02).

import { Malformed, concat, fromHex, must, toHex, utf8 } from "./bytes.ts";
import { type Json, type JsonObject, isObject, parseStrict } from "./json.ts";
import { sha256 } from "./sha256.ts";

/**
 * Public keys (33 bytes in hex) by amount, of each keyset in sat, by what `keysetName` gives; none by that of `LISTED`: they are
 * all that the mint lists.
 */
export type MintKeys = ReadonlyMap<string, ReadonlyMap<bigint, string>>;

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
const DEFAULT_PORTS: Record<string, number> = { http: 80, https: 443 };
const HOST = /^(?:(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?|[0-9a-f.]{2,45})$/;
const NETLOC = /^(?:([^:[\]]*)|\[([0-9a-f:.]{2,45})\])(?::([0-9]*))?$/;
const SPACES = "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+";
const OUTER_SPACES = new RegExp(`^${SPACES}|${SPACES}$`, "g");

/** Whether a value is a compressed public key in hex, by its form. */
export function isPoint(value: unknown): value is string {
  return typeof value === "string" && POINT.test(value);
}

export function isUnit(text: string): boolean {
  return UNIT_NAME.test(text);
}

export function keysetName(url: string, id: string): string {
  return `${url} ${id}`;
}

/** A mint's URL as it is compared: scheme and host in lower case, no port that is the scheme's own, no slash at the end. */
export function mintUrl(written: string): string {
  const text = written.replace(OUTER_SPACES, "");
  must(text.length <= MAX_URL && /^[!-~]*$/.test(text), "a mint's URL is ASCII without spaces");
  const parts = /^(https?):\/\/([^/]*)(.*)$/i.exec(text);
  must(parts !== null && !/[@#?\\]/.test(text), "not the URL of a mint");
  const [scheme, netloc, path] = [(parts[1] as string).toLowerCase(), (parts[2] as string).toLowerCase(), parts[3] as string];
  const found = NETLOC.exec(netloc);
  must(found !== null, "the URL of a mint names no host");
  const [, name, address, digits] = found;
  if (address === undefined) must(HOST.test(name as string), "the URL of a mint names no host");
  else must(URL.canParse(`http://[${address}]`), "the URL of a mint names no host");
  const host = address === undefined ? (name as string) : `[${address}]`;
  const port = digits ? Number(digits) : DEFAULT_PORTS[scheme];
  must(port !== 0 && (port as number) <= 65535, "no port");
  const where = port === DEFAULT_PORTS[scheme] ? host : `${host}:${port}`;
  return `${scheme}://${where}${path.replace(/\/+$/, "")}`;
}

interface Keyset {
  readonly id: string;
  readonly unit: string;
  readonly feePpk: number;
  readonly finalExpiry: number | null;
}

/** null for a keyset of a form that is not known here. */
function readKeyset(row: Json): Keyset | null {
  if (!isObject(row)) return null;
  const { id, unit, active } = row;
  if (typeof id !== "string" || !ID.test(id) || typeof unit !== "string" || !isUnit(unit)) return null;
  const fee = row["input_fee_ppk"] ?? 0;
  must(typeof active === "boolean" && typeof fee === "number" && fee >= 0 && fee <= MAX_FEE_PPK, "a keyset is out of form");
  const expiry = row["final_expiry"];
  return { id, unit, feePpk: fee, finalExpiry: typeof expiry === "number" ? expiry : null };
}

/** The id that keys make, of the version that the keyset's own id has. */
function keysetId(keys: ReadonlyMap<bigint, string>, keyset: Keyset): string {
  const ordered = [...keys].sort(([a], [b]) => (a < b ? -1 : 1));
  if (keyset.id.startsWith("00")) return `00${toHex(sha256(concat(...ordered.map(([, key]) => fromHex(key))))).slice(0, 14)}`;
  let text = `${ordered.map(([amount, key]) => `${amount}:${key}`).join()}|unit:${keyset.unit}`;
  if (keyset.feePpk > 0) text += `|input_fee_ppk:${keyset.feePpk}`;
  if (keyset.finalExpiry !== null) text += `|final_expiry:${keyset.finalExpiry}`;
  return `01${toHex(sha256(utf8(text)))}`;
}

function readKeys(keys: Json | undefined, keyset: Keyset): Map<bigint, string> {
  must(isObject(keys), `no keys of keyset ${keyset.id}`);
  const rows = Object.entries(keys);
  must(rows.length > 0 && rows.length <= MAX_KEYS, `no keys of keyset ${keyset.id}`);
  const byAmount = new Map<bigint, string>();
  for (const [amount, key] of rows) {
    must(/^[1-9][0-9]{0,19}$/.test(amount) && isPoint(key), `keyset ${keyset.id} has what is no amount or no key`);
    if (BigInt(amount) <= MAX_AMOUNT) byAmount.set(BigInt(amount), key);
  }
  must(keysetId(byAmount, keyset) === keyset.id, `the keys shown are not those of keyset ${keyset.id}`);
  return byAmount;
}

function readMint(mint: JsonObject, into: Map<string, ReadonlyMap<bigint, string>>): void {
  const url = mintUrl(mint["mint"] as string);
  const rows = mint["keysets"];
  must(Array.isArray(rows) && rows.length <= MAX_KEYSETS, "a mint lists its keysets");
  const ids = new Set<string>();
  for (const row of rows) {
    const keyset = readKeyset(row);
    if (keyset === null) continue;
    must(!ids.has(keyset.id), `keyset ${keyset.id} stands twice`);
    ids.add(keyset.id);
    const keys = readKeys((row as JsonObject)["keys"], keyset);
    into.set(keysetName(url, LISTED), new Map());
    if (keyset.unit === UNIT) into.set(keysetName(url, keyset.id), keys);
  }
}

/** The keysets in sat of files of mints' keys, each id computed again from its keys. Throws Malformed. */
export function readMintKeys(...files: string[]): MintKeys {
  const known = new Map<string, ReadonlyMap<bigint, string>>();
  for (const file of files) {
    must(file.length <= MAX_FILE, "this is no file of mints' keys");
    let value: Json = null;
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
