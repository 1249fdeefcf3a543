// What the proof of a payout by ecash shows without its mint, and with its keys (SPEC.md, "Ecash").

import { Malformed, concat, isHex64, must, toHex, utf8 } from "./bytes.ts";
import type { Payout } from "./claims.ts";
import { ORDER, type Point, addMultiples, isPublicKey, pointOf, uncompressed } from "./curve.ts";
import { KIND, hasGoodId, hasGoodSignature, readEvent, values } from "./event.ts";
import { type Json, isObject, parseStrict } from "./json.ts";
import { LISTED, MAX_KEYS, type MintKeys, UNIT, isPoint, isUnit, keysetName, mintUrl } from "./mints.ts";
import { sha256 } from "./sha256.ts";

const MAX_URL = 255;
const MAX_PROOFS = 64;
const MAX_SECRET = 1024;
const MAX_MINTS = 20;
const MAX_TAGS = 200;
const KEYSET = /^(?:[0-9a-f]{16}|[0-9a-f]{66}|[A-Za-z0-9+/]{12})$/;
const DOMAIN = utf8("Secp256k1_HashToCurve_Cashu_");
const ONE = 1n;

export interface Ecash {
  /** Names of the payment, of which none may serve twice. */
  readonly serves: readonly string[];
  /** Whether the lock key is the miner's, by its own word. */
  readonly own: boolean;
  /** Whether the keys that signed it are known to be the mint's. */
  readonly asked: boolean;
  /** Whether the mint was asked, and does not list the keyset. */
  readonly unlisted: boolean;
}

interface Proof {
  readonly id: string;
  readonly amount: number;
  readonly secret: string;
  readonly C: string;
  readonly dleq: { readonly e: bigint; readonly s: bigint; readonly r: bigint };
}

interface Lock {
  readonly pubkey: string;
  readonly locktime: number | null;
  /** All of the lock as one text: equal locks are equal text. */
  readonly name: string;
}

/** Judge the ecash of a payout. Throws Malformed with why it is refuted. */
export function checkEcash(payout: Payout, asked: MintKeys): Ecash {
  const { mint, unit } = payout.proof;
  must(typeof mint === "string" && mint.length > 0 && [...mint].length <= MAX_URL, "the proof names no mint");
  must(unit === UNIT, `the ecash is not in ${UNIT}`);
  if (payout.method === "cashu" && !("proofs" in payout.proof)) return checkUnlocked(payout);

  const proofs = readProofs(payout.proof["proofs"]);
  const keys = readKeys(payout.proof["keys"]);
  const lock = commonLock(proofs, payout.event.created_at);
  if (payout.method === "nutzap") checkInfo(payout, mint, lock);
  must(new Set(proofs.map(({ id }) => id)).size === 1, "the ecash is of several keysets");
  const points = proofs.map(({ secret }) => hashToCurve(secret));
  proofs.forEach((proof, i) => checkDleq(proof, keys.get(String(proof.amount)), points[i] as Point));
  checkAmount(payout, proofs.reduce((sum, { amount }) => sum + BigInt(amount), 0n));
  const own = payout.method === "nutzap" || lock.pubkey === `02${payout.miner}`;
  const serves = points.map((point) => `ecash ${compressed(point)}`);
  if (payout.method === "nutzap") {
    const { nutzap } = payout.proof;
    must(isHex64(nutzap), "the proof names no nutzap");
    serves.push(`nutzap ${nutzap}`);
  }
  return { serves, own, ...checkKeys(mint, proofs, keys, asked) };
}

function checkAmount(payout: Payout, amount: bigint): void {
  must(amount * 1000n === BigInt(payout.amountMsat), `the ecash is worth ${amount} sat, the payout is over ${payout.amountMsat} msat`);
}

/** A token without a lock: named by its Y values alone. */
function checkUnlocked(payout: Payout): Ecash {
  const { ys, amount } = payout.proof;
  must(Array.isArray(ys) && ys.length > 0 && ys.length <= MAX_PROOFS && ys.every(isPoint), "neither proofs nor Y values");
  must(ys.every((y, i) => i === 0 || (ys[i - 1] as string) < (y as string)), "the Y values are not sorted, or one stands twice");
  must(typeof amount === "number" && amount >= 1, "the proof names no amount of ecash");
  checkAmount(payout, BigInt(amount));
  return { serves: ys.map((y) => `ecash ${y as string}`), own: false, asked: false, unlisted: false };
}

function readProofs(value: Json | undefined): Proof[] {
  must(Array.isArray(value) && value.length > 0 && value.length <= MAX_PROOFS, `proofs are an array of 1 to ${MAX_PROOFS}`);
  const proofs = value.map(readProof);
  must(new Set(proofs.map(({ secret }) => secret)).size === proofs.length, "the same ecash stands twice");
  return proofs;
}

function readProof(value: Json): Proof {
  must(isObject(value), "ecash is an object");
  const { id, amount, secret, C, dleq } = value;
  must(typeof id === "string" && KEYSET.test(id), "the ecash names no keyset");
  must(typeof amount === "number" && amount > 0, "the ecash is worth nothing");
  must(typeof secret === "string" && secret.length > 0 && [...secret].length <= MAX_SECRET, "the ecash has no secret, or too long a one");
  must(isPoint(C), "the C of ecash is no public key");
  must(isObject(dleq), "the ecash comes without a DLEQ: only its mint can tell whether it is good");
  return { id, amount, secret, C, dleq: { e: scalar(dleq["e"]), s: scalar(dleq["s"]), r: scalar(dleq["r"]) } };
}

function scalar(value: Json | undefined): bigint {
  must(isHex64(value), "a number of the DLEQ is not 64 hex digits");
  const number = BigInt(`0x${value}`);
  must(number > 0n && number < ORDER, "a number of the DLEQ lies outside of the group");
  return number;
}

function readKeys(value: Json | undefined): Map<string, string> {
  must(isObject(value), "the proof shows no keys of the mint");
  const keys = Object.entries(value);
  must(keys.length > 0 && keys.length <= MAX_KEYS, "the proof shows no keys of the mint");
  must(keys.every(([amount, key]) => /^[0-9]{1,20}$/.test(amount) && isPoint(key)), "the mint's keys are not amounts and public keys");
  return new Map(keys as [string, string][]);
}

/** The one lock of all (NUT-11), which none but its key opens at that second. */
function commonLock(proofs: Proof[], second: number): Lock {
  const locks = proofs.map(({ secret }) => readLock(secret));
  const lock = locks[0] as Lock;
  must(locks.every(({ name }) => name === lock.name), "the ecash is locked in different ways");
  must(lock.locktime === null || lock.locktime > second, "the lock had run out before the payout");
  return lock;
}

function readLock(secret: string): Lock {
  const value = parseStrict(secret);
  must(Array.isArray(value) && value.length === 2 && value[0] === "P2PK" && isObject(value[1]), "the ecash is not locked to a key");
  const pubkey = value[1]["data"];
  must(isPoint(pubkey), "the lock names no public key");
  const tags = readTags(value[1]["tags"]);
  const only = (name: string, text: string) => {
    const found = tags.get(name);
    must(found === undefined || (found.length === 1 && found[0] === text), `the lock has another ${name}`);
  };
  only("sigflag", "SIG_INPUTS");
  only("n_sigs", "1");
  only("n_sigs_refund", "1");
  must(!tags.has("pubkeys"), "the lock lets other keys spend, too");
  const refund = tags.get("refund") ?? [];
  must(refund.every(isPoint), "the lock's refund keys are no public keys");
  const time = tags.get("locktime");
  must(time === undefined || (time.length === 1 && /^[0-9]{1,11}$/.test(time[0] as string)), "the lock's time is no number of seconds");
  const locktime = time === undefined ? null : Number(time[0]);
  return { pubkey, locktime, name: JSON.stringify([pubkey, locktime, refund]) };
}

function readTags(value: Json | undefined): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const tag of Array.isArray(value) ? value : []) {
    must(Array.isArray(tag) && tag.length >= 2, "a tag of a lock has a name and values");
    must(tag.every((item) => typeof item === "string" || typeof item === "number"), "a tag of a lock is not of text");
    const [name, ...items] = tag.map(String) as [string, ...string[]];
    must(!found.has(name), `the lock has two ${name} tags`);
    found.set(name, items);
  }
  return found;
}

/** Whether the miner's own 10019 asks for ecash of that mint, locked so (NIP-61). */
function checkInfo(payout: Payout, mint: string, lock: Lock): void {
  const info = readEvent(payout.proof["info"]);
  must(info.kind === KIND.NUTZAP_INFO && hasGoodId(info) && hasGoodSignature(info), "the nutzap info is none, or not signed");
  must(info.pubkey === payout.miner && info.id === payout.to, "the nutzap info is not the miner's that the payout names");
  const keys = values({ ...info, tags: info.tags.filter((tag) => tag.length > 1) }, "pubkey");
  must(keys.length === 1, "the nutzap info names not one key");
  const written = keys[0] as string;
  const key = written.length === 66 && written.startsWith("02") ? written.slice(2) : written;
  must(isHex64(key) && isPublicKey(key) && key !== info.pubkey, "the nutzap info names no key of a wallet");
  must(lock.pubkey === `02${key}`, "the ecash is locked to another key than the nutzap info names");
  const mints = new Map<string, string[]>();
  for (const [name, url, ...units] of info.tags.slice(0, MAX_TAGS)) {
    if (name !== "mint" || url === undefined) continue;
    const normal = maybeUrl(url);
    if (normal === null || mints.has(normal)) continue;
    mints.set(normal, units.map((unit) => unit.toLowerCase()).filter(isUnit));
  }
  const normal = maybeUrl(mint);
  const units = [...mints].slice(0, MAX_MINTS).find(([url]) => url === normal)?.[1];
  must(units !== undefined && (units.length === 0 || units.includes(UNIT)), "the nutzap info does not name that mint");
}

function maybeUrl(text: string): string | null {
  try {
    return mintUrl(text);
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    return null;
  }
}

/** Whether the mint's keys are known, and whether it lists no such keyset; throws if the proof shows others. */
function checkKeys(mint: string, proofs: Proof[], keys: Map<string, string>, asked: MintKeys): { asked: boolean; unlisted: boolean } {
  const url = maybeUrl(mint);
  const known = url === null ? undefined : asked.get(keysetName(url, (proofs[0] as Proof).id));
  if (known === undefined) return { asked: false, unlisted: url !== null && asked.has(keysetName(url, LISTED)) };
  const same = proofs.every(({ amount }) => known.get(BigInt(amount)) === keys.get(String(amount)));
  must(same, "the keys that the proof shows are not the mint's");
  return { asked: true, unlisted: false };
}

function compressed([x, y]: Point): string {
  return ((y & ONE) === 0n ? "02" : "03") + x.toString(16).padStart(64, "0");
}

/** The point Y of a secret (NUT-00). */
export function hashToCurve(secret: string): Point {
  const hashed = sha256(concat(DOMAIN, utf8(secret)));
  const counter = new Uint8Array(4);
  for (let tries = 0; tries < 2 ** 16; tries++) {
    new DataView(counter.buffer).setUint32(0, tries, true);
    const point = pointOf(`02${toHex(sha256(concat(hashed, counter)))}`);
    if (point !== null) return point;
  }
  throw new Error("no point in 2^16 tries: this does not happen");
}

/** NUT-12, as the receiver of a token checks it: whether the mint's key has signed the ecash whose secret has the point y. */
function checkDleq({ amount, C, dleq: { e, s, r } }: Proof, key: string | undefined, y: Point): void {
  must(key !== undefined, `the mint's key for ${amount} is not shown`);
  const [mint, signature] = [pointOf(key), pointOf(C)];
  must(mint !== null && signature !== null, "the ecash or its key is no point of the curve");
  // C' = C + r*A and B' = Y + r*G, as who asked the mint had them; R1 = s*G - e*A, R2 = s*B' - e*C'.
  const blindSignature = addMultiples(ONE, signature, r, mint);
  const blinded = addMultiples(r, null, ONE, y);
  must(blindSignature !== null && blinded !== null, "the ecash's points add up to none");
  const first = addMultiples(s, null, ORDER - e, mint);
  const second = addMultiples(s, blinded, ORDER - e, blindSignature);
  must(first !== null && second !== null, "the ecash's points add up to none");
  const hash = sha256(utf8([first, second, mint, blindSignature].map(uncompressed).join("")));
  must(BigInt(`0x${toHex(hash)}`) === e, "the mint's key has not signed this ecash (DLEQ)");
}
