// NIP-01 events, and the tags and content every event of a pool has (SPEC.md, "Encoding").

import { fromHex, isHex64, must, toHex, utf8 } from "./bytes.ts";
import { verifySchnorr } from "./curve.ts";
import { type Json, type JsonObject, isObject, parseStrict } from "./json.ts";
import { sha256 } from "./sha256.ts";

export interface NostrEvent {
  readonly id: string;
  readonly pubkey: string;
  readonly created_at: number;
  readonly kind: number;
  readonly tags: readonly (readonly string[])[];
  readonly content: string;
  readonly sig: string;
}

export const KIND = Object.freeze({
  PROFILE: 0,
  TERMS: 4210,
  JOB: 4211,
  RECEIPT: 4212,
  BLOCK: 4213,
  STATEMENT: 4214,
  PAYOUT: 4215,
  STATUS: 4216,
  WITHDRAWAL: 4217,
  PART: 4218,
  ARCHIVE: 4220,
  SUMMARY: 4221,
  ATTESTATION: 4222,
  ZAP_REQUEST: 9734,
  ZAP_RECEIPT: 9735,
  NUTZAP_INFO: 10019,
  ANNOUNCEMENT: 34210,
  BALANCE: 34214,
  STATISTICS: 34215,
  SETTINGS: 34216,
});

export const NETWORKS = ["main", "testnet4", "signet", "regtest"] as const;
export type Network = (typeof NETWORKS)[number];

/** A content whose version is an integer other than 1. */
export class UnknownVersion extends Error {}

/** The form of NIP-01; neither id nor signature is looked at. */
export function readEvent(value: unknown): NostrEvent {
  must(typeof value === "object" && value !== null && !Array.isArray(value), "not an event");
  const { id, pubkey, created_at, kind, tags, content, sig } = value as Record<string, unknown>;
  must(isHex64(id) && isHex64(pubkey), "an id or key is not 64 hex digits");
  must(typeof sig === "string" && /^[0-9a-f]{128}$/.test(sig), "a signature is not 128 hex digits");
  must(Number.isSafeInteger(created_at) && (created_at as number) >= 0, "created_at is not a second");
  must(Number.isInteger(kind) && (kind as number) >= 0 && (kind as number) <= 65535, "no kind");
  must(typeof content === "string" && content.isWellFormed(), "content is not text");
  must(Array.isArray(tags), "no tags");
  for (const tag of tags as unknown[]) {
    must(Array.isArray(tag) && tag.length > 0, "an empty tag");
    must(tag.every((item) => typeof item === "string" && item.isWellFormed()), "a tag is not of text");
  }
  return { id, pubkey, created_at: created_at as number, kind: kind as number, tags: tags as string[][], content, sig };
}

/** The text whose SHA-256 is the id. */
export function serialize(event: NostrEvent): string {
  return JSON.stringify([0, event.pubkey, event.created_at, event.kind, event.tags, event.content]);
}

export function hasGoodId(event: NostrEvent): boolean {
  return toHex(sha256(utf8(serialize(event)))) === event.id;
}

export function hasGoodSignature(event: NostrEvent): boolean {
  return verifySchnorr(event.pubkey, fromHex(event.id), fromHex(event.sig));
}

/** The value of a tag that stands exactly once; undefined if it does not stand. */
export function maybeTag(event: NostrEvent, name: string): readonly string[] | undefined {
  const found = event.tags.filter((tag) => tag[0] === name);
  must(found.length <= 1, `two ${name} tags`);
  must(found.length === 0 || (found[0] as string[]).length > 1, `a ${name} tag without a value`);
  return found[0];
}

export function theTag(event: NostrEvent, name: string): readonly string[] {
  const tag = maybeTag(event, name);
  must(tag !== undefined, `no ${name} tag`);
  return tag;
}

/** All values of the tags of one name. */
export function values(event: NostrEvent, name: string): string[] {
  return event.tags.filter((tag) => tag[0] === name).map((tag) => tag[1] ?? "");
}

/** The ids of `e` tags with a marker. */
export function marked(event: NostrEvent, marker: string): string[] {
  return event.tags.filter((tag) => tag[0] === "e" && tag[3] === marker).map((tag) => tag[1] as string);
}

export function theMarked(event: NostrEvent, marker: string): string {
  const found = marked(event, marker);
  must(found.length === 1 && isHex64(found[0]), `not one e tag of a ${marker}`);
  return found[0];
}

/** A number in a tag or a name: decimal, no sign, no leading zeros. */
export function decimal(text: string | undefined, max = Number.MAX_SAFE_INTEGER): number {
  must(text !== undefined && /^(?:0|[1-9][0-9]{0,15})$/.test(text) && Number(text) <= max, "not a decimal number");
  return Number(text);
}

export interface Address {
  readonly pool: string;
  readonly network: Network;
}

/** The pool and network of the `a` tag. */
export function readAddress(event: NostrEvent): Address {
  const parts = (theTag(event, "a")[1] as string).split(":");
  const [kind, pool, network] = parts;
  must(parts.length === 3 && kind === "34210" && isHex64(pool), "not a pool's address");
  must((NETWORKS as readonly string[]).includes(network as string), "an unknown network");
  return { pool, network: network as Network };
}

/** Number in a chain and id of the event before; `null` at 0. */
export interface Link {
  readonly seq: number;
  readonly prev: string | null;
}

export function readLink(event: NostrEvent): Link {
  const seq = decimal(theTag(event, "seq")[1]);
  const prev = maybeTag(event, "prev")?.[1] ?? null;
  must(seq === 0 ? prev === null : isHex64(prev), "seq and prev do not fit");
  return { seq, prev };
}

/** The content of an event of this protocol's version 1. */
export function readContent(event: NostrEvent): JsonObject {
  const fields = parseStrict(event.content);
  must(isObject(fields), "the content is not an object");
  must(Number.isInteger(fields["v"]), "the version is not an integer");
  if (fields["v"] !== 1) throw new UnknownVersion(`version ${String(fields["v"])}`);
  return fields;
}

export function integer(value: Json | undefined, what: string, min = 0, max = Number.MAX_SAFE_INTEGER): number {
  must(typeof value === "number" && value >= min && value <= max, `${what} is out of its bounds`);
  return value;
}

export function text(value: Json | undefined, what: string): string {
  must(typeof value === "string", `${what} is not text`);
  return value;
}

export function id(value: Json | undefined, what: string): string {
  must(isHex64(value), `${what} is not 64 hex digits`);
  return value;
}

export function work(value: Json | undefined, what: string): bigint {
  must(typeof value === "string" && /^(?:0|[1-9][0-9]{0,99})$/.test(value), `${what} is no amount of work`);
  return BigInt(value);
}

/** 8 hex digits as a number: bits or a mask. */
export function bits(value: Json | undefined, what: string): number {
  must(typeof value === "string" && /^[0-9a-f]{8}$/.test(value), `${what} is not 8 hex digits`);
  return parseInt(value, 16);
}

export function list(value: Json | undefined, what: string): Json[] {
  must(Array.isArray(value), `${what} is not an array`);
  return value;
}

export function object(value: Json | undefined, what: string): JsonObject {
  must(isObject(value), `${what} is not an object`);
  return value;
}

export function hexBytes(value: Json | undefined, what: string, size?: number): Uint8Array {
  const bytes = fromHex(text(value, what));
  must(size === undefined || bytes.length === size, `${what} has another length`);
  return bytes;
}
