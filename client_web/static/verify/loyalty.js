// Generated from client_web/verify/loyalty.ts by client_web/verify/build.ts: edit that.

// The loyalty bonus out of a pool's fee, in integers (SPEC.md, "Other schemes"): who was there, with what, and what it earns.

export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;
const DAY_S = 86_400;
const DAYS = 30;
/** So far back begins the first of the last 30 days that are over, at most: nothing before is looked at. */
export const REACH_MS = (DAYS + 1) * DAY_MS;
const PPM = 1_000_000n;
const MILLI = 1000;
const MAX_UPTIME = 2 * MILLI;
const MAX_ATTESTED = 1500;
/** M is a product of three thousandths. */
const ONE = BigInt(MILLI) ** 3n;
const MAX_FACTOR = 3n * ONE;
/** A model's hashrate is borne out by a measured one within a quarter of it, above or below. */
const TOLERANCE = 4n;

/** An attestation (4222) that stands in the log. */

/** Work of a worker that a statement counts. */

/** A worker by its name in the receipts; the same object wherever it is met, so that a month of many is summed fast. */

/** The workers that were met. */
export class Workers {
                   known = new Map ();

  of(miner , name ) {
    const key = `${miner} ${name}`;
    let worker = this.known.get(key);
    if (worker === undefined) this.known.set(key, (worker = { miner, name }));
    return worker;
  }
}

/** What miners did in the hours and days that count at a time. */

/** The hashrate of so much work in a day. */
export function measuredBy(work ) {
  return work / BigInt(DAY_S);
}

/** The same, put together share by share. */
export class Worked {
           endMs ;
           workers ;
  /** The first hour that counts, in UTC since 1970. */
           firstCounted ;
                   there = new Map ();
                   days = new Map ();
                   firstDay ;

  constructor(endMs , workers ) {
    this.endMs = endMs;
    this.workers = workers;
    this.firstDay = Math.floor(endMs / DAY_MS) - DAYS;
    this.firstCounted = Math.floor((endMs - DAYS * DAY_MS) / HOUR_MS) + 1;
  }

  /** The first hour of which anything is asked. */
  get firstHour() {
    return this.firstDay * 24;
  }

  get hours() {
    return new Map([...this.there].map(([miner, hours]) => [miner, hours.size]));
  }

  countsDay(day ) {
    return day >= this.firstDay && day < this.firstDay + DAYS;
  }

  /** Good shares of a worker in an hour; others are passed over. */
  add(hour , worker , work ) {
    if (hour >= this.firstCounted && hour * HOUR_MS <= this.endMs) {
      const hours = this.there.get(worker.miner);
      if (hours === undefined) this.there.set(worker.miner, new Set([hour]));
      else hours.add(hour);
    }
    const day = Math.floor(hour / 24);
    if (!this.countsDay(day)) return;
    let works = this.days.get(day);
    if (works === undefined) this.days.set(day, (works = new Map()));
    works.set(worker, (works.get(worker) ?? 0n) + work);
  }

  measured(miner , name , day ) {
    return measuredBy(this.days.get(day)?.get(this.workers.of(miner, name)) ?? 0n);
  }
}

/** What weighs the work of a statement: hours and days by miner; H in thousandths by "<miner> <worker>", where it is known. */

function bearsOut(measured , nominal ) {
  const off = measured > nominal ? measured - nominal : nominal - measured;
  return TOLERANCE * off <= nominal;
}

/** What the work done, and attestations in a chain, give. */
export function standingsOf(rules , worked , attested ) {
  const days = new Map ();
  const newest = new Map ();
  for (const each of attested) {
    const { miner, worker, model, second } = each;
    const day = Math.floor(second / DAY_S);
    const nominal = rules.hardware.get(model)?.hashrate ?? each.nominalHs;
    if (!worked.countsDay(day) || !bearsOut(worked.measured(miner, worker, day), nominal)) continue;
    days.set(miner, (days.get(miner) ?? new Set()).add(day));
    const known = newest.get(`${miner} ${worker}`);
    const isNewer = known === undefined || known.second < second || (known.second === second && each.id < known.id);
    if (isNewer) newest.set(`${miner} ${worker}`, each);
  }
  const counted = (sets ) => new Map([...sets].map(([miner, set]) => [miner, set.size]));
  // It was borne out by the hashrate of its model, if the terms know that.
  const hardware = new Map([...newest].map(([name, { model }]) => [name, rules.hardware.get(model)?.factor ?? MILLI]));
  return { hours: worked.hours, days: counted(days), hardware };
}

/** M in 10^-9, capped. */
function factor(rules , hours , days , hardware ) {
  const uptime = MILLI + Math.floor(((MAX_UPTIME - MILLI) * Math.min(hours, rules.fullHours)) / rules.fullHours);
  const attested = MILLI + Math.floor(((MAX_ATTESTED - MILLI) * Math.min(days, rules.fullDays)) / rules.fullDays);
  const product = BigInt(hardware) * BigInt(uptime) * BigInt(attested);
  return product < MAX_FACTOR ? product : MAX_FACTOR;
}

/** By miner: the bonus in msat, where there is any; of a reward whose fee by the terms is `feeMsat`. */
export function bonuses(feeMsat , rules , parts , standings ) {
  const pot = (feeMsat * BigInt(rules.partPpm)) / PPM;
  const weights = new Map ();
  for (const { miner, worker, work } of parts) {
    const { hours, days, hardware } = standings;
    const m = factor(rules, hours.get(miner) ?? 0, days.get(miner) ?? 0, hardware.get(`${miner} ${worker}`) ?? MILLI);
    weights.set(miner, (weights.get(miner) ?? 0n) + work * (m - ONE));
  }
  const total = [...weights.values()].reduce((sum, weight) => sum + weight, 0n);
  const paid = new Map ();
  if (total === 0n) return paid;
  for (const [miner, weight] of weights) {
    const msat = (pot * weight) / total;
    if (msat > 0n) paid.set(miner, msat);
  }
  return paid;
}
