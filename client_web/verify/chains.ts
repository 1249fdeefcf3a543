// Chains: every number once, each prev right, no date that falls back, ends that the terms set (SPEC.md, "Keys and
// chains"); and lanes, whose windows touch.

import type { Findings } from "./findings.ts";
import type { Chained, Log } from "./intake.ts";
import type { Receipt } from "./receipt.ts";
import type { End, Terms } from "./terms.ts";

/** The one order of a chain's events that stand, and what is missing of it. */
export interface Chain<T extends Chained> {
  readonly name: string;
  readonly events: T[];
  /** Numbers before which something is missing. */
  readonly gapsBefore: Set<number>;
  /** Those, and the numbers of what names another as the one before it: what it follows is on no relay asked. */
  readonly breaksBefore: Set<number>;
}

function bySeq<T extends Chained>(events: T[]): Map<number, T[]> {
  const numbered = new Map<number, T[]>();
  for (const each of [...events].sort((a, b) => a.link.seq - b.link.seq)) {
    const same = numbered.get(each.link.seq);
    if (same === undefined) numbered.set(each.link.seq, [each]);
    else same.push(each);
  }
  return numbered;
}

/** Note events beyond a chain's end, or beside the line that leads to it. */
function sayVoid(findings: Findings, name: string, ids: readonly string[]): void {
  if (ids.length > 0) findings.say("chains", "closed-chain", `${name} was closed: they are void`, ids, null, ids.length);
}

/** Ids on the line of prev that leads to a closed chain's end, as far as it is known. */
function lineTo<T extends Chained>(end: End, numbered: Map<number, T[]>): Map<number, string> {
  const line = new Map<number, string>();
  let id: string | null = end.id;
  for (let seq = end.seq; seq >= 0 && id !== null; seq--) {
    line.set(seq, id);
    id = numbered.get(seq)?.find((each) => each.event.id === id)?.link.prev ?? null;
  }
  return line;
}

/** Follow a chain; of a fork the branch that goes on is taken. `revoked`: the newest terms name its key in no role. */
export function followChain<T extends Chained>(
  name: string, events: T[], end: End | undefined, revoked: boolean, findings: Findings,
): Chain<T> {
  const chain: Chain<T> = { name, events: [], gapsBefore: new Set(), breaksBefore: new Set() };
  const numbered = bySeq(events);
  const line = end === undefined ? new Map<number, string>() : lineTo(end, numbered);
  const beyond: string[] = [];
  let next = 0;
  for (const [seq, same] of numbered) {
    findings.checked("chains", same.length);
    const ids = same.map((each) => each.event.id);
    if (end !== undefined && seq > end.seq) {
      beyond.push(...ids);
      continue;
    }
    const named = line.get(seq);
    const others = named === undefined ? [] : ids.filter((id) => id !== named);
    if (same.length > 1 && !(revoked && end !== undefined)) {
      findings.say("chains", "fork", `${name} has ${same.length} events numbered ${seq}`, ids);
    } else {
      beyond.push(...others);
    }
    const followers = numbered.get(seq + 1)?.map((each) => each.link.prev) ?? [];
    const chosen =
      named === undefined
        ? (same.find((each) => followers.includes(each.event.id)) ?? (same[0] as T))
        : same.find((each) => each.event.id === named);
    if (chosen === undefined) continue; // what stands at this number is missing
    if (seq > next) {
      chain.gapsBefore.add(seq);
      chain.breaksBefore.add(seq);
      sayGap(findings, name, next, seq - 1, [chosen.event.id]);
    }
    const before = chain.events[chain.events.length - 1];
    if (before !== undefined) {
      if (before.link.seq === seq - 1 && chosen.link.prev !== before.event.id) {
        chain.breaksBefore.add(seq);
        findings.say("chains", "broken-chain", `${name}/${seq} does not follow ${seq - 1}`, [before.event.id, chosen.event.id]);
      }
      if (chosen.event.created_at < before.event.created_at) {
        findings.say("chains", "backdated", `${name}/${seq} is dated before the one before it`, [chosen.event.id]);
      }
    }
    chain.events.push(chosen);
    next = seq + 1;
  }
  if (end !== undefined && end.seq >= next) sayGap(findings, name, next, end.seq, [end.id]);
  sayVoid(findings, name, beyond);
  return chain;
}

function sayGap(findings: Findings, name: string, from: number, to: number, ids: string[]): void {
  findings.say("chains", "gap", `${name} lacks ${to > from ? `${from} to ${to}` : from}`, ids, null, to - from + 1);
}

/** Where the terms, in their order, end chains: of two ends of one chain the earlier holds. */
export class Ends {
  private readonly named = new Map<string, End>();
  /** Keys all of whose chains ended, but for those named by then. */
  private readonly whole = new Map<string, Set<string>>();

  constructor(terms: Terms[]) {
    for (const each of terms) {
      for (const [name, end] of each.closed) {
        if (name.endsWith("/*")) continue;
        const known = this.named.get(name);
        if (known === undefined || end.seq < known.seq) this.named.set(name, end);
      }
      for (const name of each.closed.keys()) {
        const key = name.slice(0, 64);
        if (name.endsWith("/*") && !this.whole.has(key)) this.whole.set(key, new Set(this.named.keys()));
      }
    }
  }

  of(chain: string): End | undefined {
    const spared = this.whole.get(chain.slice(0, 64));
    if (spared !== undefined && !spared.has(chain)) return { seq: -1, id: "" };
    return this.named.get(chain);
  }
}

/** A key that new terms leave out must be closed, each of its chains. */
export function checkKeysClosed(terms: Terms[], log: Log, findings: Findings): void {
  const chains = new Map<string, Set<string>>();
  const add = (pubkey: string, role: string, chain: string) => {
    const key = `${pubkey} ${role}`;
    chains.set(key, (chains.get(key) ?? new Set()).add(`${pubkey}/${chain}`));
  };
  for (const receipt of log.receipts) add(receipt.event.pubkey, "edge", String(receipt.lane));
  for (const { event } of log.accounting) add(event.pubkey, "accounting", "accounting");
  for (const payout of log.payouts) add(payout.event.pubkey, "zapper", "payouts");
  for (let i = 1; i < terms.length; i++) {
    const [before, after] = [terms[i - 1] as Terms, terms[i] as Terms];
    const kept = new Set(after.keys.map((pair) => pair.join(" ")));
    const ends = new Ends(terms.slice(0, i + 1));
    for (const pair of before.keys) {
      const key = pair.join(" ");
      if (kept.has(key)) continue;
      for (const chain of chains.get(key) ?? []) {
        if (ends.of(chain) !== undefined) continue;
        findings.say("form, keys and roles", "key-not-closed", `${chain} was left out and not closed`, [after.event.id]);
      }
    }
  }
}

/** Whether the terms closed lanes that lived on, before these had been silent for their grace. */
export function checkLanesClosed(terms: Terms[], receipts: readonly Receipt[], findings: Findings): void {
  const byLane = new Map<string, Receipt[]>();
  for (const receipt of receipts) {
    const name = `${receipt.event.pubkey}/${receipt.lane}`;
    byLane.set(name, [...(byLane.get(name) ?? []), receipt]);
  }
  for (let i = 1; i < terms.length; i++) {
    const [before, after] = [terms[i - 1] as Terms, terms[i] as Terms];
    const earlier = new Ends(terms.slice(0, i));
    for (const [name, end] of after.closed) {
      const all = byLane.get(name);
      if (all === undefined || end.seq < 0 || earlier.of(name) !== undefined) continue;
      if (!after.keys.some(([pubkey, role]) => pubkey === name.slice(0, 64) && role === "edge")) continue;
      const last = all.find((receipt) => receipt.event.id === end.id);
      if (last === undefined || after.event.created_at * 1000 - last.toMs >= before.laneGraceMs) continue;
      const beyond = all.filter(({ link, event }) => link.seq > end.seq && event.created_at > after.event.created_at);
      if (beyond.length === 0) continue;
      const ids = [after.event.id, ...beyond.map((receipt) => receipt.event.id)];
      findings.say("chains", "lane-closed-early", `${name} was closed before it had been silent for its grace`, ids);
    }
  }
}

export interface Lane extends Chain<Receipt> {
  readonly edge: string;
  readonly lane: number;
  /** Whether it ended for good, by its own word or the terms'. */
  readonly ended: boolean;
}

/** Follow every lane. */
export function followLanes(receipts: Receipt[], ends: Ends, isRevoked: (pubkey: string) => boolean, findings: Findings): Map<string, Lane> {
  const byLane = new Map<string, Receipt[]>();
  for (const receipt of receipts) {
    const name = `${receipt.event.pubkey}/${receipt.lane}`;
    const same = byLane.get(name);
    if (same === undefined) byLane.set(name, [receipt]);
    else same.push(receipt);
  }
  const lanes = new Map<string, Lane>();
  for (const name of [...byLane.keys()].sort()) {
    const all = byLane.get(name) as Receipt[];
    const { pubkey } = (all[0] as Receipt).event;
    const chain = followChain(name, all, ends.of(name), isRevoked(pubkey), findings);
    const fin = chain.events.findIndex((receipt) => receipt.fin);
    if (fin >= 0 && fin < chain.events.length - 1) {
      const beyond = chain.events.splice(fin + 1).map((receipt) => receipt.event.id);
      findings.say("chains", "after-fin", `${name} had ended for good`, beyond, null, beyond.length);
    }
    chain.events.forEach((receipt, i) => {
      const before = chain.events[i - 1];
      if (before === undefined || chain.gapsBefore.has(receipt.link.seq) || before.toMs === receipt.fromMs) return;
      const text = `${name}/${receipt.link.seq} begins ${receipt.fromMs - before.toMs} ms off the end of the one before`;
      findings.say("chains", "window-gap", text, [before.event.id, receipt.event.id]);
    });
    if (chain.events.length === 0) continue;
    const ended = fin >= 0 || ends.of(name) !== undefined;
    lanes.set(name, { ...chain, edge: pubkey, lane: (all[0] as Receipt).lane, ended });
  }
  return lanes;
}
