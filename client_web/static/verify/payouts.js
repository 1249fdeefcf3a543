// Generated from client_web/verify/payouts.ts by client_web/verify/build.ts: edit that.

// Payments: each proof, each used once, and never more than had matured (SPEC.md, "4215 payout record").

import { Malformed, fromHex, isHex64, toHex, utf8 } from "./bytes.js";
import { readInvoice } from "./bolt11.js";

import { checkEcash } from "./ecash.js";
import {
                KIND, UnknownVersion, hasGoodId, hasGoodSignature, readAddress, readContent, readEvent,
} from "./event.js";

import { statusOf } from "./rewards.js";
import { sha256 } from "./sha256.js";

/** Two keys' clocks may differ by this. */
const CLOCKS_S = 600;

const LIGHTNING = ["zap", "lnurl", "bolt11"];
const ECASH = ["nutzap", "cashu"];
/** An output's number has 32 bits. */
const MAX_VOUT = 2 ** 32 - 1;

/** What changes what a miner may be paid: what matured or was taken back, or a payment. */

/** The signed zap request as an object of a proof, as NIP-01 orders it, without white space. */
function requestText(request ) {
  const { id, pubkey, created_at, kind, tags, content, sig } = request;
  return JSON.stringify({ id, pubkey, created_at, kind, tags, content, sig });
}

export class Payouts {
           backings = new Map ();
  /** The same by method. */
           methods = new Map ();
           balances = new Map ();
                   log ;
                   terms ;
                   mintKeys ;
                   findings ;
                   names = new Map ();
                   served = new Map ();
                   reversed = new Map ();

  constructor(log , terms , mintKeys , findings ) {
    this.log = log;
    this.terms = terms;
    this.mintKeys = mintKeys;
    this.findings = findings;
  }

  judge(payouts , statements ) {
    const moves = this.credit(statements);
    const inTime = [...payouts].sort((a, b) => a.event.created_at - b.event.created_at || a.link.seq - b.link.seq);
    for (const payout of inTime) this.takeName(payout);
    let claimed = 0;
    for (const payout of inTime) {
      this.findings.checked("payouts");
      const counts = this.names.get(payout.payoutId) === payout;
      const backing = payout.reverses === null ? this.judgePayment(payout) : counts ? this.judgeReversal(payout) : "claimed";
      this.count(payout.method, backing);
      const borne = this.termsAt(payout.event.created_at)?.feeBearer === "miner" ? payout.networkFeeMsat : 0;
      if (backing === "claimed" || (counts && borne > 0)) claimed++;
      if (counts && borne > 0) this.checkFee(payout, borne);
      if (!counts) continue; // what takes another's name takes nothing from a balance
      const leaves = BigInt(payout.amountMsat) + BigInt(borne);
      this.balance(payout.miner).paid += leaves;
      moves.set(payout.miner, [
        ...(moves.get(payout.miner) ?? []),
        { second: payout.event.created_at, msat: -leaves, payout },
      ]);
    }
    for (const own of moves.values()) this.checkOwed(own);
    if (claimed > 0) {
      this.findings.say("payouts", "payout-claimed", `${claimed} payouts rest on the payer's own word`, [], null, claimed);
    }
  }

          count(method , backing ) {
    const own = this.methods.get(method) ?? new Map ();
    this.methods.set(method, own);
    for (const counts of [own, this.backings]) counts.set(backing, (counts.get(backing) ?? 0) + 1);
  }

  balance(miner ) {
    let balance = this.balances.get(miner);
    if (balance === undefined) this.balances.set(miner, (balance = { pending: 0n, earned: 0n, paid: 0n }));
    return balance;
  }

  /** Credit every row; what matured of each miner, and when. */
          credit(statements ) {
    const moves = new Map ();
    for (const judged of statements) {
      const { statement, statuses } = judged;
      const last = statusOf(judged);
      const matured = [];
      let state = statement.reward.type === "period" ? "matured" : "pending";
      // A period is payable at once.
      if (state === "matured") matured.push([statement.event.created_at - CLOCKS_S, 1n]);
      for (const { status, event } of statuses) {
        const sign = BigInt(status === "matured") - BigInt(state === "matured");
        // Only the first time: else a reward that goes to and fro would count twice in between.
        const second = state === "pending" ? event.created_at - CLOCKS_S : event.created_at;
        if (sign !== 0n) matured.push([second, sign]);
        state = status;
      }
      for (const { miner, msat } of statement.rows) {
        const balance = this.balance(miner);
        if (last === null) balance.pending += BigInt(msat);
        if (last === "matured") balance.earned += BigInt(msat);
        const own = moves.get(miner) ?? [];
        moves.set(miner, own);
        for (const [second, sign] of matured) own.push({ second: Math.max(second, 0), msat: sign * BigInt(msat), payout: null });
      }
    }
    return moves;
  }

  /** No miner's payouts pass what had matured by then: in a second statuses come first, then the largest payouts. */
          checkOwed(moves ) {
    const order = ({ payout } ) => (payout === null ? 0 : 1);
    moves.sort((a, b) => a.second - b.second || order(a) - order(b) || (a.msat < b.msat ? -1 : a.msat > b.msat ? 1 : 0));
    let owed = 0n;
    for (const { msat, payout } of moves) {
      owed += msat;
      // What an orphan took back after the payout is not the payout's fault.
      if (payout === null || msat >= 0n || owed >= 0n) continue;
      this.say("overpaid", payout, `paid ${-msat} msat, ${-owed} more than was owed`);
    }
  }

          termsAt(second ) {
    return this.terms.findLast((terms) => terms.event.created_at <= second) ?? this.terms[0];
  }

  /** A fee that the miner bore is the pool's word, but none passes the most that terms up to its date allow. */
          checkFee(payout , borne ) {
    const limits = this.terms
      .filter((terms, i) => i === 0 || terms.event.created_at <= payout.event.created_at)
      .map(({ maxFee }) => maxFee);
    let most = -1n;
    for (const limit of limits) {
      if (limit === null) return;
      const part = (BigInt(Math.abs(payout.amountMsat)) * BigInt(limit[0])) / 1_000_000n;
      for (const each of [part, BigInt(limit[1])]) if (each > most) most = each;
    }
    if (limits.length > 0 && BigInt(borne) > most) this.say("payout-fee", payout, `${borne} msat of fees, ${most} allowed`);
  }

          say(code , payout , text , ids = []) {
    this.findings.say("payouts", code, text, [payout.event.id, ...ids], payout.miner);
  }

          judgeReversal(payout ) {
    const paid = this.names.get(payout.reverses );
    const sum = (this.reversed.get(payout.reverses ) ?? 0) - payout.amountMsat;
    this.reversed.set(payout.reverses , sum);
    if (paid === undefined || paid.reverses !== null) this.say("payout-reversal", payout, "it reverses no payment");
    else if (paid.miner !== payout.miner) this.say("payout-reversal", payout, "it reverses another miner's payment", [paid.event.id]);
    else if (sum > paid.amountMsat) this.say("payout-reversal", payout, "more comes back than was paid", [paid.event.id]);
    return "claimed"; // that money came back is the payer's word, too
  }

  /** The first of its name takes it. */
          takeName(payout ) {
    const named = this.names.get(payout.payoutId);
    if (named === undefined) this.names.set(payout.payoutId, payout);
    else this.say("payout-twice", payout, `the name ${JSON.stringify(payout.payoutId)} serves twice`, [named.event.id]);
  }

          judgePayment(payout ) {
    try {
      if (ECASH.includes(payout.method)) return this.judgeEcash(payout);
      if (LIGHTNING.includes(payout.method)) return this.judgeLightning(payout);
      if (payout.method === "onchain") this.judgeOnchain(payout);
      return "claimed"; // whether it was paid the chain says, or nobody
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      this.say("payout-proof", payout, error.message);
      return "refuted";
    }
  }

          judgeLightning(payout ) {
    const invoice = this.checkInvoice(payout);
    const request = payout.method === "zap" ? this.checkZap(payout, invoice) : null;
    const backing = this.backing(payout, invoice, request);
    this.serve(payout, `payment ${invoice.paymentHash}`);
    return backing;
  }

          judgeEcash(payout ) {
    const { serves, own, asked, unlisted } = checkEcash(payout, this.mintKeys);
    for (const name of serves) this.serve(payout, name);
    // What the mint does not list it may have dropped since, or have since it was asked: no contradiction.
    if (!own || unlisted) return "claimed";
    return asked ? "proven" : "attested";
  }

  /** The form of its proof; what the chain says of the output needs the chain. */
          judgeOnchain(payout ) {
    const { txid, vout } = payout.proof;
    if (!isHex64(txid)) throw new Malformed("its proof has no txid");
    if (typeof vout !== "number" || vout < 0 || vout > MAX_VOUT) throw new Malformed("its proof has no vout");
    if (payout.amountMsat % 1000 !== 0) throw new Malformed("an output holds whole satoshis");
    this.serve(payout, `output ${txid}:${vout}`);
  }

  /** No payment, output, nutzap or Y serves two payouts. */
          serve(payout , name ) {
    const known = this.served.get(name);
    if (known === undefined) this.served.set(name, payout);
    else this.say("payout-twice", payout, `${name} serves twice`, [known.event.id]);
  }

          checkInvoice(payout ) {
    const { bolt11, preimage } = payout.proof;
    if (typeof bolt11 !== "string" || !isHex64(preimage)) throw new Malformed("no invoice or no preimage");
    const invoice = readInvoice(bolt11);
    if (invoice.network !== this.log.address.network) throw new Malformed("its invoice is of another network");
    if (invoice.amountMsat !== payout.amountMsat) throw new Malformed("its invoice is over another amount");
    if (toHex(sha256(fromHex(preimage))) !== invoice.paymentHash) throw new Malformed("the preimage is not its payment hash's");
    return invoice;
  }

          checkZap(payout , invoice ) {
    const request = readEvent(payout.proof["zap_request"]);
    if (request.kind !== KIND.ZAP_REQUEST || !hasGoodId(request) || !hasGoodSignature(request)) {
      throw new Malformed("its zap request is none, or not signed");
    }
    if (this.log.roles.get(request.pubkey)?.has("zapper") !== true) throw new Malformed("its zap request is no zapper's");
    const value = (name ) => request.tags.filter((tag) => tag[0] === name).map((tag) => tag[1]);
    if (value("p").join() !== payout.miner) throw new Malformed("its zap request is for another");
    if (value("amount").join() !== String(payout.amountMsat)) throw new Malformed("its zap request is over another amount");
    if (toHex(sha256(utf8(requestText(request)))) !== invoice.descriptionHash) {
      throw new Malformed("its invoice does not commit to its zap request");
    }
    return request;
  }

          backing(payout , invoice , request ) {
    if (invoice.payee === payout.miner) return "proven";
    const bolt11 = payout.proof["bolt11"] ;
    const asked = this.log.evidence.get(payout.to);
    if (asked !== undefined && asked.kind === KIND.WITHDRAWAL && asked.pubkey === payout.miner) {
      if (invoiceOf(asked, this.log.address)?.toLowerCase() === bolt11.toLowerCase()) return "proven";
    }
    const { receipt: named, provider } = payout.proof;
    if (request === null || typeof named !== "string" || typeof provider !== "string") return "claimed";
    if (provider === this.log.address.pool || this.log.roles.has(provider)) return "claimed";
    const receipt = this.log.evidence.get(named);
    if (receipt === undefined) return "claimed";
    checkReceipt(receipt, provider, payout, invoice, request);
    return "attested";
  }
}

/** The provider's word that this request was paid by this invoice (NIP-57, Appendix F): the record names it itself. */
function checkReceipt(receipt , provider , payout , invoice , request ) {
  const one = (name ) => {
    const values = receipt.tags.filter((tag) => tag[0] === name && tag.length > 1).map((tag) => tag[1]);
    if (values.length > 1) throw new Malformed(`its zap receipt has ${values.length} ${name} tags`);
    return values[0];
  };
  if (receipt.kind !== KIND.ZAP_RECEIPT) throw new Malformed("its zap receipt is of another kind");
  if (receipt.pubkey !== provider) throw new Malformed("its zap receipt is not signed by the provider it names");
  if (one("p") !== payout.miner) throw new Malformed("its zap receipt is for another");
  const sender = one("P");
  if (sender !== undefined && sender !== request.pubkey) throw new Malformed("its zap receipt names another sender");
  if (one("description") !== requestText(request)) throw new Malformed("its zap receipt describes another request");
  const bolt11 = payout.proof["bolt11"] ;
  if (one("bolt11")?.toLowerCase() !== bolt11.toLowerCase()) throw new Malformed("its zap receipt is about another invoice");
  const preimage = one("preimage");
  if (preimage === undefined) return;
  if (!isHex64(preimage) || toHex(sha256(fromHex(preimage))) !== invoice.paymentHash) {
    throw new Malformed("its zap receipt's preimage is not the invoice's");
  }
}

/** The invoice that a withdrawal request to this pool holds: what another was asked for it may have paid. */
function invoiceOf(withdrawal , address ) {
  try {
    const asked = readAddress(withdrawal);
    const value = readContent(withdrawal)["bolt11"];
    return asked.pool === address.pool && asked.network === address.network && typeof value === "string" ? value : undefined;
  } catch (error) {
    if (!(error instanceof Malformed || error instanceof UnknownVersion)) throw error;
    return undefined;
  }
}
