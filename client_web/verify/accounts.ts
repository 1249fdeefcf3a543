// An accounting chain's claims put together: statements and summaries with the rows of the events before them (SPEC.md,
// "4214 reward statement" and "4221 hourly summary").

import type { Chain } from "./chains.ts";
import type { Status } from "./claims.ts";
import type { Findings } from "./findings.ts";
import type { Chained } from "./intake.ts";
import type { Archive, Part } from "./lasting.ts";
import { type Statement, type StatementPart, judgeParts } from "./statement.ts";
import type { Summary, SummaryPart, SummaryRow } from "./summary.ts";

export type Account = Statement | Status | Part | Archive | Summary;

/** A statement with all its rows; not whole if some are on no relay asked. */
export interface WholeStatement {
  readonly statement: Statement;
  readonly whole: boolean;
}

export interface WholeSummary {
  readonly summary: Summary;
  readonly rows: readonly SummaryRow[];
  /** What of its rows is on no relay asked. */
  readonly whole: boolean;
  /** Whether the events before it are the parts that it names. */
  readonly parted: boolean;
  /** Whether all that stands between it and the summary before it in its chain was read. */
  readonly follows: boolean;
}

export interface Accounts {
  readonly statements: WholeStatement[];
  readonly statuses: Status[];
  /** By key, in the order of its chain. */
  readonly summaries: Map<string, WholeSummary[]>;
  /** Ids of statements whose parts are others: they count nothing. */
  readonly refused: Set<string>;
}

/** The events of a chain that stand right before another, oldest first; null where one is missing. */
function before(bySeq: ReadonlyMap<number, Account>, seq: number, count: number): (Account | null)[] {
  return Array.from({ length: count }, (_, i) => bySeq.get(seq - count + i) ?? null);
}

function isPartOf<T extends "statement" | "summary">(of: T, each: Account | null): each is Extract<Part, { of: T }> {
  return each !== null && "of" in each && each.of === of;
}

function putTogether(statement: Statement, found: (Account | null)[]): WholeStatement | string {
  if (statement.link.seq < statement.parts) return "it names more parts than there are events before it";
  const known = found.filter((each) => each !== null);
  if (!known.every((each) => isPartOf("statement", each))) return "what stands before it are not its parts";
  if (known.length < found.length) return { statement, whole: false };
  const parts = known as StatementPart[];
  const problem = judgeParts(parts);
  if (problem !== null) return problem;
  const rows = parts.flatMap((part) => part.rows);
  return { statement: { ...statement, rows, donations: parts.flatMap((part) => part.donations) }, whole: true };
}

/** Sort out what the accounting chains tell. */
export function readAccounts(chains: readonly Chain<Chained & Account>[], findings: Findings): Accounts {
  const accounts: Accounts = { statements: [], statuses: [], summaries: new Map(), refused: new Set() };
  for (const { events } of chains) {
    const bySeq = new Map<number, Account>(events.map((each) => [each.link.seq, each]));
    let after = 0;
    for (const each of events) {
      if ("status" in each) accounts.statuses.push(each);
      if ("reward" in each) {
        const whole = each.parts === 0 ? { statement: each, whole: true } : putTogether(each, before(bySeq, each.link.seq, each.parts));
        if (typeof whole !== "string") accounts.statements.push(whole);
        else {
          accounts.refused.add(each.event.id);
          findings.say("form, keys and roles", "malformed", whole, [each.event.id]);
        }
      }
      if ("toMs" in each) {
        const found = before(bySeq, each.link.seq, each.parts);
        const parts = found.filter((part): part is SummaryPart => isPartOf("summary", part));
        const summary: WholeSummary = {
          summary: each,
          rows: each.parts === 0 ? each.rows : parts.flatMap((part) => part.rows),
          // What would stand before the chain's first event is not missing, there is no such place.
          whole: found.every((part, i) => part !== null || each.link.seq - each.parts + i < 0),
          follows: before(bySeq, each.link.seq, each.link.seq - after).every((one) => one !== null),
          parted: found.every((part, i) => part === null || (isPartOf("summary", part) && part.part === i)) && each.parts <= each.link.seq,
        };
        after = each.link.seq + 1;
        const own = accounts.summaries.get(each.event.pubkey) ?? [];
        accounts.summaries.set(each.event.pubkey, own);
        own.push(summary);
      }
    }
  }
  return accounts;
}
