// Compares the second verifier's running sums with every share looked at by itself, over random tables:
// node verify_attendance.mjs MODULES ts|js SEED RUNS. Prints {"runs", "whole", "apart"}: judged, with lanes whole, and not.

const [, , sources, extension, seed, runs] = process.argv;
const load = (name) => import(`${sources}/${name}.${extension}`);
const [{ Attendance }, { HOUR_MS, DAY_MS, Worked, Workers }, { ShareTable }, { workFromBits }, { Presence }] = await Promise.all(
  ["attendance", "loyalty", "shares", "targets", "presence"].map(load),
);
const MINERS = ["a".repeat(64), "b".repeat(64), "c".repeat(64)];
const NAMES = ["", "rig", "axe.1"];
const BITS = [0x207fffff, 0x1d00ffff, 0x1b0404cb];
const START = 20_000 * DAY_MS;

/** Of numbers below 2^32, the same for the same seed. */
let state = Number(seed);
function random(below) {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
}

/** Lanes of batches whose windows touch, of minutes up to days; a key's chain of attestations. */
function tell() {
  const table = new ShareTable();
  const lanes = [];
  for (let number = 0; number < 3; number++) {
    const events = [];
    let now = START + random(3) * random(40) * HOUR_MS;
    for (let seq = 0; seq < 30; seq++) {
      const length = [60_000, 20 * 60_000, HOUR_MS, 5 * HOUR_MS, 2 * DAY_MS][random(5)];
      const sessions = [0, 1, 2].map(() => ({ worker: NAMES[random(3)] }));
      events.push({ link: { seq }, sessions });
      const count = random(6);
      for (let index = 0; index < count; index++) {
        const t = now + [0, length - 1, random(length)][random(3)];
        const row = table.push(t, number, seq, index, random(3), BITS[random(3)], 0, 1, 0, random(3), 0);
        if (random(20) === 0) table.good[row] = 0;
      }
      now += length;
    }
    lanes.push({ edge: "edge", lane: number, events });
  }
  const attestations = [];
  for (const miner of MINERS.slice(0, 2)) for (const worker of NAMES.slice(0, 2)) attestations.push({ miner, worker });
  const told = { of: "attestations", link: { seq: 0 }, attestations };
  return { table, lanes, attendance: new Attendance({ table, lanes, miners: MINERS }, [{ name: "key", events: [told], gapsBefore: new Set() }]) };
}

function plain({ table, lanes }, cuts, endMs) {
  const worked = new Worked(endMs, new Workers());
  for (let row = 0; row < table.count; row++) {
    const lane = lanes[table.lane[row]];
    if (table.good[row] === 0 || table.t[row] > endMs || table.seq[row] > (cuts.get(`edge/${lane.lane}`) ?? -1)) continue;
    const { worker } = lane.events[table.seq[row]].sessions[table.session[row]];
    worked.add(Math.floor(table.t[row] / HOUR_MS), worked.workers.of(MINERS[table.miner[row]], worker), workFromBits(table.bits[row]));
  }
  return worked;
}

const done = { runs: 0, whole: 0, apart: 0 };
const serves = Presence.prototype.serves;
Presence.prototype.serves = function (...how) {
  const isWhole = serves.apply(this, how);
  done[isWhole ? "whole" : "apart"]++;
  return isWhole;
};
while (done.runs < Number(runs)) {
  const log = tell();
  for (let turn = 0; turn < 20; turn++, done.runs++) {
    const at = START + random(75 * 24) * HOUR_MS;
    const endMs = [at - 1, at, at + random(HOUR_MS), Math.floor(at / DAY_MS) * DAY_MS][random(4)];
    const cuts = new Map();
    for (const { lane, events } of log.lanes) {
      if (random(12) === 0) continue;
      cuts.set(`edge/${lane}`, random(4) === 0 ? random(events.length) : events.length - 1);
    }
    const [found, wanted] = [log.attendance.worked(cuts, endMs), plain(log, cuts, endMs)];
    const text = (hours) => JSON.stringify([...hours].sort());
    if (text(found.hours) !== text(wanted.hours)) throw new Error(`hours ${text(found.hours)}, not ${text(wanted.hours)}`);
    for (const miner of MINERS.slice(0, 2)) for (const name of NAMES.slice(0, 2)) {
      for (let day = 20_000; day < 20_080; day++) {
        const [is, should] = [found.measured(miner, name, day), wanted.measured(miner, name, day)];
        if (is !== should) throw new Error(`${name} on ${day}: ${is}, not ${should}`);
        if (found.countsDay(day) !== wanted.countsDay(day)) throw new Error(`day ${day}`);
      }
    }
  }
}
console.log(JSON.stringify(done));
