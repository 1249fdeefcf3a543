// Shares that two statements which stand have both counted (SPEC.md, "Other schemes").

import type { Held, Hold } from "./held.ts";
import { type Statement, endMs } from "./statement.ts";
import type { Terms } from "./terms.ts";
import type { Window, Windows } from "./windows.ts";

function covers(held: Hold | undefined, { seq, untilMs }: Hold): boolean {
  return held !== undefined && held.seq >= seq && held.untilMs >= untilMs;
}

/** What a statement counts goes by those that stood before it and end earlier; so one that came out of order shows here. */
export class Overlaps {
  private readonly held: Held;
  private readonly windows: Windows;
  private readonly terms: readonly Terms[];

  constructor(held: Held, windows: Windows, terms: readonly Terms[]) {
    this.held = held;
    this.windows = windows;
    this.terms = terms;
  }

  /** Of statements that stand those that count what another one with another end has counted, each with one such. */
  *of(standing: readonly Statement[]): Generator<[ids: string[], text: string]> {
    const lines = new Map<string, Statement[]>();
    for (const statement of standing) {
      if (!this.holds(statement)) continue;
      const line = `${statement.reward.type} ${statement.offer}`;
      lines.set(line, [...(lines.get(line) ?? []), statement]);
    }
    for (const line of lines.values()) yield* this.ofLine(line.sort((a, b) => endMs(a) - endMs(b)));
  }

  private *ofLine(line: readonly Statement[]): Generator<[ids: string[], text: string]> {
    const reached = new Map<string, Hold>();
    let before = 0;
    for (const [i, statement] of line.entries()) {
      for (; endMs(line[before] as Statement) < endMs(statement); before++) reach(reached, line[before] as Statement);
      const held = this.held.before(statement);
      // Mostly it held all of them, and no share is looked at.
      if ([...statement.heads.keys()].every((lane) => !reached.has(lane) || covers(held.get(lane), reached.get(lane) as Hold))) continue;
      for (const other of line.slice(0, Math.min(before, i)).reverse()) {
        const lane = this.common(other, statement, held);
        if (lane === null) continue;
        yield [[other.event.id, statement.event.id], `shares of lane ${lane} up to ${endMs(other)} count in both`];
        break;
      }
    }
  }

  /** The lane of a share that two statements count, null if there is none; the first ends before the second. */
  private common(first: Statement, second: Statement, held: Map<string, Hold>): string | null {
    const heights = [first, second].flatMap(({ reward }) => (reward.type === "block" ? [reward.height] : []));
    const height = heights.length > 0 ? Math.min(...heights) : null;
    for (const [lane, { seq }] of first.heads) {
      const head = second.heads.get(lane);
      if (head === undefined || covers(held.get(lane), { seq, untilMs: endMs(first) })) continue;
      const cut = new Map([[lane, Math.min(seq, head.seq)]]);
      // What is held of a lane is all up to some share: a share counts in both if the newest that may does.
      const counts = (holds: Map<string, Hold>): boolean => {
        const window: Window = { offer: first.offer, endMs: endMs(first), height, held: holds, value: () => 0n };
        return this.windows.newestFirst(window, cut).next().done !== true;
      };
      if (counts(held) && counts(this.held.before(first))) return lane;
    }
    return null;
  }

  /** Whether it counts what none before it held: of an offer that is paid by period its blocks count no shares. */
  private holds({ reward, terms, offer }: Statement): boolean {
    const told = this.terms.find((each) => each.event.id === terms)?.offers.get(offer);
    if (told === undefined) return false;
    return reward.type === "period" ? told.periodS !== null : told.scheme === "prop";
  }
}

function reach(reached: Map<string, Hold>, statement: Statement): void {
  for (const [lane, { seq }] of statement.heads) {
    const known = reached.get(lane);
    reached.set(lane, { seq: Math.max(seq, known?.seq ?? -1), untilMs: Math.max(endMs(statement), known?.untilMs ?? 0) });
  }
}
