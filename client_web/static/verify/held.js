// Generated from client_web/verify/held.ts by client_web/verify/build.ts: edit that.

// What earlier statements of an offer hold, so that no share is counted twice (SPEC.md, "Other schemes").

import { Ends } from "./chains.js";

import { endMs } from "./statement.js";

/** Up to where a lane's shares are held: in batches numbered at most so, at times of at most that. */

export class Held {
                   statements ;
                   statuses ;
                   terms ;
  /** By how many of the terms there were: where these end chains. */
                   ends = new Map ();

  constructor(statements , statuses , terms ) {
    this.statements = statements;
    this.statuses = statuses;
    this.terms = terms;
  }

  /** By lane: what statements before this one hold of its offer. */
  before(statement ) {
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
  standing(offer , beforeMs = Infinity) {
    const periods = this.periods(offer).filter((each) => endMs(each) < beforeMs);
    return { held: holds(periods), untilMs: Math.max(-Infinity, ...periods.map(endMs)) };
  }

  /** Whether a period's work is told by a statement that stands: of that end, or of a later one that held nothing of it. */
  isTold(offer , toMs ) {
    const following = this.periods(offer).filter((each) => endMs(each) >= toMs).sort((a, b) => endMs(a) - endMs(b))[0];
    if (following === undefined || endMs(following) === toMs) return following !== undefined;
    return [...this.before(following).values()].every(({ untilMs }) => untilMs < toMs);
  }

          periods(offer ) {
    return this.statements.filter(
      (each) => each.offer === offer && each.reward.type === "period" && !this.isUndone(each, () => true),
    );
  }

  /** Whether an event stands before another: earlier in its chain, or in a chain that had been closed by then. */
          precedes(one , other ) {
    if (one.event.pubkey === other.event.pubkey) return one.link.seq < other.link.seq;
    const count = this.terms.filter((terms) => terms.event.created_at <= other.event.created_at).length;
    let ends = this.ends.get(count);
    if (ends === undefined) this.ends.set(count, (ends = new Ends(this.terms.slice(0, count))));
    const end = ends.of(`${one.event.pubkey}/accounting`);
    return end !== undefined && one.link.seq <= end.seq;
  }

  /** Whether the statuses that count have orphaned a statement or made it void: void for good, a period only so. */
          isUndone(statement , counts ) {
    const own = this.statuses.filter((status) => status.statement === statement.event.id && counts(status));
    if (own.some(({ status }) => status === "void")) return true;
    return statement.reward.type === "block" && own.sort(inTime).at(-1)?.status === "orphaned";
  }
}

export function inTime(a , b ) {
  return a.event.created_at - b.event.created_at || a.link.seq - b.link.seq;
}

/** Of several that name a lane the one with the greatest end speaks for it, of those the one that came last. */
function holds(statements ) {
  const held = new Map ();
  for (const statement of statements.sort(inTime)) {
    const untilMs = endMs(statement);
    for (const [lane, { seq }] of statement.heads) {
      if (untilMs >= (held.get(lane)?.untilMs ?? -Infinity)) held.set(lane, { seq, untilMs });
    }
  }
  return held;
}
