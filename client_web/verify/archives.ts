// The heads of chains that archives name, against the chains (SPEC.md, "4220 archive").

import type { Chain, Ends } from "./chains.ts";
import type { Code, Findings } from "./findings.ts";
import type { Chained, Log } from "./intake.ts";
import type { Archive } from "./lasting.ts";
import type { Head } from "./statement.ts";

/** Check each archive that stands; one finding for each. `chains` by name. */
export function checkArchives(
  told: readonly Chained[], chains: ReadonlyMap<string, Chain<Chained>>, ends: Ends, log: Log, findings: Findings,
): void {
  for (const archive of told.filter((each): each is Archive => "archived" in each)) {
    for (const name of [...archive.archived.keys()].sort()) {
      const found = judge(archive, name, archive.archived.get(name) as Head, chains.get(name), ends, log);
      if (found === null) continue;
      findings.say("chains", found[0], `${name}: ${found[1]}`, [archive.event.id]);
      break;
    }
  }
}

function judge(
  archive: Archive, name: string, head: Head, chain: Chain<Chained> | undefined, ends: Ends, log: Log,
): [Code, string] | null {
  const [pubkey, end] = [name.slice(0, 64), ends.of(name)];
  if (pubkey !== log.address.pool && !log.roles.has(pubkey)) return ["archive", "none of the pool's keys"];
  // What it names is void since, or the word of a thief.
  if ((end !== undefined && head.seq > end.seq) || log.isRevoked(pubkey)) return null;
  const stands = chain?.events.find(({ link }) => link.seq === head.seq);
  if (stands === undefined) return ["gap", `the event numbered ${head.seq} is on no relay asked`];
  if (stands.event.id !== head.id) return ["archive", `another event is numbered ${head.seq}`];
  const { created_at } = stands.event;
  if (created_at < archive.fromS || created_at >= archive.untilS) return ["archive", "what it names is not of its time"];
  return null;
}
