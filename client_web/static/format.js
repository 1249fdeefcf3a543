// Figures as people read them.

const PREFIXES = ["", "k", "M", "G", "T", "P", "E", "Z"];

function significant(value) {
  return value >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

/** A number with a metric prefix, three digits: [digits, prefix]. */
export function metric(value) {
  let power = 0;
  while (value >= 999.5 && power < PREFIXES.length - 1) {
    value /= 1000;
    power += 1;
  }
  return [significant(value), PREFIXES[power]];
}

/** Hashes per second. */
export function hashrate(perSecond) {
  if (perSecond === null) return "–";
  const [digits, prefix] = metric(perSecond);
  return `${digits} ${prefix}H/s`;
}

/** Work, a BigInt of expected hashes. */
export function work(hashes) {
  const [digits, prefix] = metric(Number(hashes));
  return `${digits} ${prefix}H`;
}

/** A Stratum difficulty; those below 1 are powers of two and stand as 1/2^k would be read: 0.000122. */
export function difficulty(value) {
  if (value >= 1) {
    const [digits, prefix] = metric(value);
    return `${digits}${prefix ? ` ${prefix}` : ""}`;
  }
  return value >= 0.0001 ? Number(value.toPrecision(3)).toString() : value.toExponential(2);
}

/** Millisatoshi as satoshi, thousands parted, with up to three decimals and no rounding. */
export function sats(msat) {
  const [whole, rest] = [Math.trunc(Math.abs(msat) / 1000), Math.abs(msat) % 1000];
  const decimals = rest === 0 ? "" : `.${String(rest).padStart(3, "0").replace(/0+$/, "")}`;
  return `${msat < 0 ? "−" : ""}${count(whole)}${decimals}`;
}

/** A whole number, thousands parted. */
export function count(value) {
  return value.toLocaleString("en-US").replaceAll(",", "\u2009");
}

/** A share of one, in per cent. */
export function percent(ratio) {
  return `${significant(ratio * 100)} %`;
}

/** How long ago, in the largest unit. */
export function ago(ms, now) {
  const seconds = Math.max(0, Math.round((now - ms) / 1000));
  if (seconds < 5) return "now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

/** The two ends of a long name. */
export function shorten(text, head = 10, tail = 4) {
  return text.length <= head + tail + 1 ? text : `${text.slice(0, head)}…${text.slice(-tail)}`;
}
