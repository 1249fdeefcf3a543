// 4210 terms (SPEC.md, "4210 terms").

import { isHex64, must } from "./bytes.ts";
import { isPublicKey } from "./curve.ts";
import {
  type Address, type Link, type NostrEvent,
  bits, decimal, id, integer, list, object, readAddress, readContent, readLink, text, work,
} from "./event.ts";
import { targetFromBits } from "./targets.ts";

export const SCHEMES = ["pplns", "prop", "solo", "pps", "fpps"] as const;
export const ROLES = ["edge", "accounting", "zapper"] as const;
export type Role = (typeof ROLES)[number];
export const MAX_LANE = 65535;

/** How a bonus is computed. */
export interface Loyalty {
  /** The most of the fee that it takes. */
  readonly partPpm: number;
  readonly fullHours: number;
  readonly fullDays: number;
  /** By model: hashes a second, and what its work counts in thousandths. */
  readonly hardware: ReadonlyMap<string, { readonly hashrate: bigint; readonly factor: number }>;
}

export interface Offer {
  readonly scheme: string;
  readonly feePpm: number;
  readonly windowMilli: number;
  readonly windowMinWork: bigint;
  readonly windowMaxMs: number;
  /** How long a period lasts, in seconds; null for what is not paid by period. */
  readonly periodS: number | null;
  /** The bonus that is paid out of the fee; null without one. */
  readonly loyalty: Loyalty | null;
}

/** The last event of a chain that counts; number -1 and no id before its first. */
export interface End {
  readonly seq: number;
  readonly id: string;
}

export interface Terms {
  readonly event: NostrEvent;
  readonly address: Address;
  readonly link: Link;
  readonly offers: ReadonlyMap<string, Offer>;
  readonly keys: readonly (readonly [string, Role])[];
  /** By "<pubkey>/<chain>" or "<pubkey>/*": where that chain ends. */
  readonly closed: ReadonlyMap<string, End>;
  readonly anchorMs: number;
  readonly staleMs: number;
  readonly jobMs: number;
  readonly statementMs: number;
  /** How long a lane may be silent before the pool may close it; 0 if the terms don't say. */
  readonly laneGraceMs: number;
  readonly easiestBits: number;
  readonly blockBits: number | null;
  readonly minimumMsat: number;
  readonly feeBearer: string;
  /** The most that a payment may cost in network fees: millionths of the amount, or msat; null if they don't say. */
  readonly maxFee: readonly [ppm: number, msat: number] | null;
  /** Whose rows get what miners give away. */
  readonly donateTo: string | null;
}

/** A chain's name: "terms", "accounting", "payouts" or a lane. */
function isChain(name: string): boolean {
  return ["terms", "accounting", "payouts"].includes(name) || (/^(?:0|[1-9][0-9]{0,4})$/.test(name) && Number(name) <= MAX_LANE);
}

function readLoyalty(loyalty: ReturnType<typeof object>): Loyalty {
  const hardware = Object.entries(object(loyalty["hardware"], "hardware")).map(([name, pair]) => {
    const model = list(pair, "a model");
    must(model.length === 2, "a model is not [hashrate, factor]");
    const hashrate = work(model[0], "a model's hashrate");
    must(hashrate > 0n, "a model without a hashrate");
    return [name, { hashrate, factor: integer(model[1], "a model's factor", 1000, 1500) }] as const;
  });
  return {
    partPpm: integer(loyalty["part_ppm"], "part_ppm", 0, 250_000),
    fullHours: integer(loyalty["full_hours"], "full_hours", 1, 720),
    fullDays: integer(loyalty["full_days"], "full_days", 1, 30),
    hardware: new Map(hardware),
  };
}

function readOffer(name: string, value: ReturnType<typeof object>): Offer {
  const scheme = text(value["scheme"], "scheme");
  must((SCHEMES as readonly string[]).includes(scheme), `${name}: an unknown scheme`);
  const byPeriod = scheme === "pps" || scheme === "fpps";
  must(byPeriod === "period_s" in value, "period_s stands with pps and fpps, and only there");
  must(!(byPeriod && "loyalty" in value), "no loyalty with pps and fpps");
  return {
    scheme,
    feePpm: integer(value["fee_ppm"], "fee_ppm", 0, 1_000_000),
    windowMilli: integer(value["window_milli"], "window_milli"),
    windowMinWork: work(value["window_min_work"], "window_min_work"),
    windowMaxMs: integer(value["window_max_ms"], "window_max_ms"),
    periodS: byPeriod ? integer(value["period_s"], "period_s", 60, 86_400) : null,
    loyalty: "loyalty" in value ? readLoyalty(object(value["loyalty"], "loyalty")) : null,
  };
}

/** What payouts may promise besides; `max_fee`, if any: the most that a payment may cost, in millionths of it and in msat. */
function readPromises(payouts: ReturnType<typeof object>): readonly [ppm: number, msat: number] | null {
  for (const name of ["coinbase", "schedule"]) if (name in payouts) text(payouts[name], name);
  for (const name of ["per_day_msat", "onchain_msat", "idle_days", "give_up_days"]) if (name in payouts) integer(payouts[name], name);
  if ("methods" in payouts) for (const method of list(payouts["methods"], "methods")) text(method, "a method");
  if (!("max_fee" in payouts)) return null;
  const [ppm, msat, ...more] = list(payouts["max_fee"], "max_fee");
  must(more.length === 0, "max_fee is not of two");
  return [integer(ppm, "max_fee"), integer(msat, "max_fee")];
}

export function readTerms(event: NostrEvent): Terms {
  must(event.kind === 4210, "another kind");
  const fields = readContent(event);
  const address = readAddress(event);
  const link = readLink(event);

  const offers = new Map<string, Offer>();
  for (const [name, value] of Object.entries(object(fields["offers"], "offers"))) {
    offers.set(name, readOffer(name, object(value, "an offer")));
  }
  must(offers.size > 0, "no offers");

  const keys = list(fields["keys"], "keys").map((pair): [string, Role] => {
    const [pubkey, role] = list(pair, "a key");
    must((pair as unknown[]).length === 2 && isHex64(pubkey) && isPublicKey(pubkey), "not a public key");
    must((ROLES as readonly unknown[]).includes(role), "an unknown role");
    return [pubkey, role as Role];
  });

  let donateTo: string | null = null;
  if ("donate_to" in fields) {
    donateTo = id(fields["donate_to"], "donate_to");
    must(isPublicKey(donateTo), "donate_to is no public key");
  }

  const closed = new Map<string, End>();
  for (const [name, value] of Object.entries(object(fields["closed"], "closed"))) {
    const [pubkey, chain, more] = name.split("/");
    must(isHex64(pubkey) && chain !== undefined && more === undefined, "not a chain's name");
    const head = list(value, "a closed chain's end");
    must(head.length === 0 || (head.length === 2 && chain !== "*"), "a closed chain's end is not [seq, id]");
    must(chain === "*" || isChain(chain), "not a chain's name");
    closed.set(name, head.length === 0 ? { seq: -1, id: "" } : { seq: integer(head[0], "seq"), id: id(head[1], "id") });
  }

  const limits = object(fields["limits"], "limits");
  for (const name of ["batch_seconds", "heartbeat_seconds", "maturity_blocks"]) integer(limits[name], name);
  const easiestBits = bits(limits["easiest_bits"], "easiest_bits");
  targetFromBits(easiestBits);
  let blockBits: number | null = null;
  if ("block_bits" in limits) {
    must(address.network === "regtest", "block_bits outside regtest");
    blockBits = bits(limits["block_bits"], "block_bits");
    targetFromBits(blockBits);
  }

  const payouts = object(fields["payouts"], "payouts");
  integer(payouts["interval_s"], "interval_s");
  const feeBearer = text(payouts["network_fee"], "network_fee");
  must(feeBearer === "pool" || feeBearer === "miner", "someone else bears the fee");
  const maxFee = readPromises(payouts);

  const log = object(fields["log"], "log");
  for (const name of ["relays", "archives"]) for (const url of list(log[name], name)) text(url, name);
  integer(log["retention_days"], "retention_days");

  return {
    event,
    address,
    link,
    offers,
    keys,
    closed,
    anchorMs: integer(limits["anchor_ms"], "anchor_ms"),
    staleMs: integer(limits["stale_ms"], "stale_ms"),
    jobMs: integer(limits["job_ms"], "job_ms"),
    statementMs: integer(limits["statement_ms"], "statement_ms"),
    laneGraceMs: "lane_grace_ms" in limits ? integer(limits["lane_grace_ms"], "lane_grace_ms") : 0,
    easiestBits,
    blockBits,
    minimumMsat: integer(payouts["minimum_msat"], "minimum_msat"),
    feeBearer,
    maxFee,
    donateTo,
  };
}

/** Terms, in their order, that change the scheme of an offer that earlier ones name; what each changes. */
export function checkSchemes(terms: readonly Terms[]): [NostrEvent, string][] {
  const known = new Map<string, string>();
  const found: [NostrEvent, string][] = [];
  for (const { event, offers } of terms) {
    for (const [name, { scheme }] of offers) {
      const before = known.get(name);
      if (before !== undefined && before !== scheme) found.push([event, `${name} was ${before} and is ${scheme}`]);
      known.set(name, scheme);
    }
  }
  return found;
}

/** A lane's number in a tag or a name. */
export function readLane(value: string | undefined): number {
  return decimal(value, MAX_LANE);
}
