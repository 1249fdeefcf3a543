// What earlier statements of an offer hold, so that no share is counted twice (SPEC.md, "Other schemes").

import type { Status } from "./claims.ts";
import { Ends } from "./chains.ts";
import type { NostrEvent } from "./event.ts";
import { type Statement, endMs } from "./statement.ts";
import type { Terms } from "./terms.ts";

/** Up to where a lane's shares are held: in batches numbered at most so, at times of at most that. */
export interface Hold {
  readonly seq: number;
  readonly untilMs: number;
}

interface Placed {
  readonly event: NostrEvent;
  readonly link: { readonly seq: number };
}

export class Held {
  private readonly statements: readonly Statement[];
  private readonly statuses: readonly Status[];
  private readonly terms: readonly Terms[];
  /** By how many of the terms there were: where these end chains. */
  private readonly ends = new Map<number, Ends>();

  constructor(statements: readonly Statement[], statuses: readonly Status[], terms: readonly Terms[]) {
    this.statements = statements;
    this.statuses = statuses;
    this.terms = terms;
  }

  /** By lane: what statements before this one hold of its offer. */
  before(statement: Statement): Map<string, Hold> {
    const earlier = this.statements.filter(
      (each) =>
        each !== statement &&
        each.offer === statement.offer &&
        each.reward.type === statement.reward.type &&
        endMs(each) < endMs(statement) &&
        this.precedes(each, statement) &&
        !this.isUndone(each, (status) => this.precedes(status, statement)),
    );
    return holds(earlier);
  }

  /** By lane: what the periods' statements that stand and end before a time hold of an offer; and the greatest end. */
  standing(offer: string, beforeMs = Infinity): { held: Map<string, Hold>; untilMs: number } {
    const periods = this.periods(offer).filter((each) => endMs(each) < beforeMs);
    return { held: holds(periods), untilMs: Math.max(-Infinity, ...periods.map(endMs)) };
  }

  /** Whether a period's work is told by a statement that stands: of that end, or of a later one that held nothing of it. */
  isTold(offer: string, toMs: number): boolean {
    const following = this.periods(offer).filter((each) => endMs(each) >= toMs).sort((a, b) => endMs(a) - endMs(b))[0];
    if (following === undefined || endMs(following) === toMs) return following !== undefined;
    return [...this.before(following).values()].every(({ untilMs }) => untilMs < toMs);
  }

  private periods(offer: string): Statement[] {
    return this.statements.filter(
      (each) => each.offer === offer && each.reward.type === "period" && !this.isUndone(each, () => true),
    );
  }

  /** Whether an event stands before another: earlier in its chain, or in a chain that had been closed by then. */
  private precedes(one: Placed, other: Placed): boolean {
    if (one.event.pubkey === other.event.pubkey) return one.link.seq < other.link.seq;
    const count = this.terms.filter((terms) => terms.event.created_at <= other.event.created_at).length;
    let ends = this.ends.get(count);
    if (ends === undefined) this.ends.set(count, (ends = new Ends(this.terms.slice(0, count))));
    const end = ends.of(`${one.event.pubkey}/accounting`);
    return end !== undefined && one.link.seq <= end.seq;
  }

  /** Whether the statuses that count have orphaned a statement or made it void: void for good, a period only so. */
  private isUndone(statement: Statement, counts: (status: Status) => boolean): boolean {
    const own = this.statuses.filter((status) => status.statement === statement.event.id && counts(status));
    if (own.some(({ status }) => status === "void")) return true;
    return statement.reward.type === "block" && own.sort(inTime).at(-1)?.status === "orphaned";
  }
}

export function inTime(a: Placed, b: Placed): number {
  return a.event.created_at - b.event.created_at || a.link.seq - b.link.seq;
}

/** Of several that name a lane the one with the greatest end speaks for it, of those the one that came last. */
function holds(statements: Statement[]): Map<string, Hold> {
  const held = new Map<string, Hold>();
  for (const statement of statements.sort(inTime)) {
    const untilMs = endMs(statement);
    for (const [lane, { seq }] of statement.heads) {
      if (untilMs >= (held.get(lane)?.untilMs ?? -Infinity)) held.set(lane, { seq, untilMs });
    }
  }
  return held;
}
