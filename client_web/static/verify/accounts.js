// Generated from client_web/verify/accounts.ts by client_web/verify/build.ts: edit that.

// An accounting chain's claims put together: statements and summaries with the rows of the events before them (SPEC.md,
// "4214 reward statement" and "4221 hourly summary").

import { judgeParts } from "./statement.js";

/** A statement with all its rows; not whole if some are on no relay asked. */

/** The events of a chain that stand right before another, oldest first; null where one is missing. */
function before(bySeq , seq , count ) {
  return Array.from({ length: count }, (_, i) => bySeq.get(seq - count + i) ?? null);
}

function isPartOf (of , each ) {
  return each !== null && "of" in each && each.of === of;
}

function putTogether(statement , found ) {
  if (statement.link.seq < statement.parts) return "it names more parts than there are events before it";
  const known = found.filter((each) => each !== null);
  if (!known.every((each) => isPartOf("statement", each))) return "what stands before it are not its parts";
  if (known.length < found.length) return { statement, whole: false };
  const parts = known ;
  const problem = judgeParts(parts);
  if (problem !== null) return problem;
  const rows = parts.flatMap((part) => part.rows);
  return { statement: { ...statement, rows, donations: parts.flatMap((part) => part.donations) }, whole: true };
}

/** Sort out what the accounting chains tell. */
export function readAccounts(chains , findings ) {
  const accounts = { statements: [], statuses: [], summaries: new Map(), refused: new Set() };
  for (const { events } of chains) {
    const bySeq = new Map (events.map((each) => [each.link.seq, each]));
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
        const parts = found.filter((part) => isPartOf("summary", part));
        const summary = {
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
