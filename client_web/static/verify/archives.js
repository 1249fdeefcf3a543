// Generated from client_web/verify/archives.ts by client_web/verify/build.ts: edit that.

// The heads of chains that archives name, against the chains (SPEC.md, "4220 archive").

/** Check each archive that stands; one finding for each. `chains` by name. */
export function checkArchives(
  told , chains , ends , log , findings ,
) {
  for (const archive of told.filter((each) => "archived" in each)) {
    for (const name of [...archive.archived.keys()].sort()) {
      const found = judge(archive, name, archive.archived.get(name) , chains.get(name), ends, log);
      if (found === null) continue;
      findings.say("chains", found[0], `${name}: ${found[1]}`, [archive.event.id]);
      break;
    }
  }
}

function judge(
  archive , name , head , chain , ends , log ,
) {
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
