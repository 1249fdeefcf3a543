// Generated from client_web/verify/overlaps.ts by client_web/verify/build.ts: edit that.

// Shares that two statements which stand have both counted (SPEC.md, "Other schemes").

import { endMs } from "./statement.js";

function covers(held , { seq, untilMs } ) {
  return held !== undefined && held.seq >= seq && held.untilMs >= untilMs;
}

/** What a statement counts goes by those that stood before it and end earlier; so one that came out of order shows here. */
export class Overlaps {
                   held ;
                   windows ;
                   terms ;

  constructor(held , windows , terms ) {
    this.held = held;
    this.windows = windows;
    this.terms = terms;
  }

  /** Of statements that stand those that count what another one with another end has counted, each with one such. */
  *of(standing ) {
    const lines = new Map ();
    for (const statement of standing) {
      if (!this.holds(statement)) continue;
      const line = `${statement.reward.type} ${statement.offer}`;
      lines.set(line, [...(lines.get(line) ?? []), statement]);
    }
    for (const line of lines.values()) yield* this.ofLine(line.sort((a, b) => endMs(a) - endMs(b)));
  }

  ; *ofLine(line ) {
    const reached = new Map ();
    let before = 0;
    for (const [i, statement] of line.entries()) {
      for (; endMs(line[before] ) < endMs(statement); before++) reach(reached, line[before] );
      const held = this.held.before(statement);
      // Mostly it held all of them, and no share is looked at.
      if ([...statement.heads.keys()].every((lane) => !reached.has(lane) || covers(held.get(lane), reached.get(lane) ))) continue;
      for (const other of line.slice(0, Math.min(before, i)).reverse()) {
        const lane = this.common(other, statement, held);
        if (lane === null) continue;
        yield [[other.event.id, statement.event.id], `shares of lane ${lane} up to ${endMs(other)} count in both`];
        break;
      }
    }
  }

  /** The lane of a share that two statements count, null if there is none; the first ends before the second. */
          common(first , second , held ) {
    const heights = [first, second].flatMap(({ reward }) => (reward.type === "block" ? [reward.height] : []));
    const height = heights.length > 0 ? Math.min(...heights) : null;
    for (const [lane, { seq }] of first.heads) {
      const head = second.heads.get(lane);
      if (head === undefined || covers(held.get(lane), { seq, untilMs: endMs(first) })) continue;
      const cut = new Map([[lane, Math.min(seq, head.seq)]]);
      // What is held of a lane is all up to some share: a share counts in both if the newest that may does.
      const counts = (holds ) => {
        const window = { offer: first.offer, endMs: endMs(first), height, held: holds, value: () => 0n };
        return this.windows.newestFirst(window, cut).next().done !== true;
      };
      if (counts(held) && counts(this.held.before(first))) return lane;
    }
    return null;
  }

  /** Whether it counts what none before it held: of an offer that is paid by period its blocks count no shares. */
          holds({ reward, terms, offer } ) {
    const told = this.terms.find((each) => each.event.id === terms)?.offers.get(offer);
    if (told === undefined) return false;
    return reward.type === "period" ? told.periodS !== null : told.scheme === "prop";
  }
}

function reach(reached , statement ) {
  for (const [lane, { seq }] of statement.heads) {
    const known = reached.get(lane);
    reached.set(lane, { seq: Math.max(seq, known?.seq ?? -1), untilMs: Math.max(endMs(statement), known?.untilMs ?? 0) });
  }
}
