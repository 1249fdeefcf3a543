// Generated from client_web/verify/terms.ts by client_web/verify/build.ts: edit that.

// 4210 terms (SPEC.md, "4210 terms").

import { isHex64, must } from "./bytes.js";
import { isPublicKey } from "./curve.js";
import {

  bits, decimal, id, integer, list, object, readAddress, readContent, readLink, text, work,
} from "./event.js";
import { targetFromBits } from "./targets.js";

export const SCHEMES = ["pplns", "prop", "solo", "pps", "fpps"] ;
export const ROLES = ["edge", "accounting", "zapper"] ;

export const MAX_LANE = 65535;

/** How a bonus is computed. */

/** The last event of a chain that counts; number -1 and no id before its first. */

/** A chain's name: "terms", "accounting", "payouts" or a lane. */
function isChain(name ) {
  return ["terms", "accounting", "payouts"].includes(name) || (/^(?:0|[1-9][0-9]{0,4})$/.test(name) && Number(name) <= MAX_LANE);
}

function readLoyalty(loyalty ) {
  const hardware = Object.entries(object(loyalty["hardware"], "hardware")).map(([name, pair]) => {
    const model = list(pair, "a model");
    must(model.length === 2, "a model is not [hashrate, factor]");
    const hashrate = work(model[0], "a model's hashrate");
    must(hashrate > 0n, "a model without a hashrate");
    return [name, { hashrate, factor: integer(model[1], "a model's factor", 1000, 1500) }] ;
  });
  return {
    partPpm: integer(loyalty["part_ppm"], "part_ppm", 0, 250_000),
    fullHours: integer(loyalty["full_hours"], "full_hours", 1, 720),
    fullDays: integer(loyalty["full_days"], "full_days", 1, 30),
    hardware: new Map(hardware),
  };
}

function readOffer(name , value ) {
  const scheme = text(value["scheme"], "scheme");
  must((SCHEMES ).includes(scheme), `${name}: an unknown scheme`);
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
function readPromises(payouts ) {
  for (const name of ["coinbase", "schedule"]) if (name in payouts) text(payouts[name], name);
  for (const name of ["per_day_msat", "onchain_msat", "idle_days", "give_up_days"]) if (name in payouts) integer(payouts[name], name);
  if ("methods" in payouts) for (const method of list(payouts["methods"], "methods")) text(method, "a method");
  if (!("max_fee" in payouts)) return null;
  const [ppm, msat, ...more] = list(payouts["max_fee"], "max_fee");
  must(more.length === 0, "max_fee is not of two");
  return [integer(ppm, "max_fee"), integer(msat, "max_fee")];
}

export function readTerms(event ) {
  must(event.kind === 4210, "another kind");
  const fields = readContent(event);
  const address = readAddress(event);
  const link = readLink(event);

  const offers = new Map ();
  for (const [name, value] of Object.entries(object(fields["offers"], "offers"))) {
    offers.set(name, readOffer(name, object(value, "an offer")));
  }
  must(offers.size > 0, "no offers");

  const keys = list(fields["keys"], "keys").map((pair) => {
    const [pubkey, role] = list(pair, "a key");
    must((pair ).length === 2 && isHex64(pubkey) && isPublicKey(pubkey), "not a public key");
    must((ROLES ).includes(role), "an unknown role");
    return [pubkey, role ];
  });

  let donateTo = null;
  if ("donate_to" in fields) {
    donateTo = id(fields["donate_to"], "donate_to");
    must(isPublicKey(donateTo), "donate_to is no public key");
  }

  const closed = new Map ();
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
  let blockBits = null;
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
export function checkSchemes(terms ) {
  const known = new Map ();
  const found = [];
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
export function readLane(value ) {
  return decimal(value, MAX_LANE);
}
