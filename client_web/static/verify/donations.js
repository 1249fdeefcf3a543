// Generated from client_web/verify/donations.ts by client_web/verify/build.ts: edit that.

// What miners' settings give away: moved from their rows to another (SPEC.md, "Donations").

const PPM = 1_000_000n;

/** The settings that stand in the accounting chains. */
export class DonationsTold {
                   byId = new Map ();
  /** By the chain's key and the donor's. */
                   byDonor = new Map ();
  /** By key: the first number before which something of its chain is missing. */
                   incomplete ;

  constructor(accounting , incomplete ) {
    this.incomplete = incomplete;
    for (const each of accounting) {
      if (!("of" in each) || each.of !== "settings") continue;
      this.byId.set(each.settings.id, [...(this.byId.get(each.settings.id) ?? []), each]);
      const donor = `${each.event.pubkey} ${each.settings.pubkey}`;
      this.byDonor.set(donor, [...(this.byDonor.get(donor) ?? []), each]);
    }
  }

  /** Whether newer settings of the miner, dated in time, stand before a statement, too: the accounting knew of these. */
  isOutdated({ settings } , statement , endMs ) {
    return (this.byDonor.get(`${statement.event.pubkey} ${settings.pubkey}`) ?? []).some(
      (each) =>
        each.link.seq < statement.link.seq &&
        each.settings.created_at * 1000 <= endMs &&
        (each.settings.created_at > settings.created_at ||
          (each.settings.created_at === settings.created_at && each.settings.id < settings.id)),
    );
  }

  /** Settings that stand before a statement and its parts in its chain; "missing" if they may be on no relay asked. */
  find(settings , statement ) {
    const first = statement.link.seq - statement.parts;
    const { pubkey } = statement.event;
    const found = this.byId.get(settings)?.find((each) => each.event.pubkey === pubkey && each.link.seq < first);
    return found ?? ((this.incomplete.get(pubkey) ?? Infinity) <= statement.link.seq ? "missing" : null);
  }
}

/** The rows with the donations that a statement tells moved; or what is wrong with these. */
export function moveDonations(
  statement , endMs , rows , donateTo , told ,
) {
  const moved = new Map(rows.map((row) => [row.miner, { ...row }]));
  for (const { miner, settings, msat } of statement.donations) {
    const held = told.find(settings, statement);
    if (held === "missing") return "missing";
    if (donateTo === null) return "a donation, though the terms name nobody to get it";
    if (held === null) return "a donation by settings that do not stand in its chain";
    if (held.settings.pubkey !== miner || held.settings.created_at * 1000 > endMs) return "a donation by settings of another, or of later";
    if (told.isOutdated(held, statement, endMs)) return "a donation by settings that newer ones in its chain had replaced";
    const row = moved.get(miner);
    if (row === undefined || miner === donateTo) return "a donation by nobody, or to the giver";
    if (BigInt(msat) !== (row.msat * BigInt(held.donationPpm)) / PPM) return "a donation of another part of its row";
    row.msat -= BigInt(msat);
    const chest = moved.get(donateTo) ?? { miner: donateTo, work: 0n, msat: 0n, bonus: 0n };
    chest.msat += BigInt(msat);
    moved.set(donateTo, chest);
  }
  return [...moved.values()].sort((a, b) => (a.miner < b.miner ? -1 : 1));
}
