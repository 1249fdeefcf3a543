// A wallet out of @cashu/cashu-ts: `node wallet.mjs` reads {"token", "privkey"} or {"mint", "unit", "proofs", "privkey"}
// from stdin, redeems it at its mint and writes what it got to stdout; {"request"} is decoded only.
import { readFileSync } from "node:fs";
import { Wallet, decodePaymentRequest, getEncodedToken } from "@cashu/cashu-ts";

const asked = JSON.parse(readFileSync(0, "utf8"));

async function redeem() {
  const token = asked.token ?? getEncodedToken({ mint: asked.mint, unit: asked.unit, proofs: asked.proofs });
  const wallet = new Wallet(asked.mint, { unit: "sat" });
  await wallet.loadMint();
  // requireDleq: what comes without a good DLEQ is refused.
  const proofs = await wallet.receive(token, { privkey: asked.privkey, requireDleq: true });
  return proofs.reduce((sum, proof) => sum + Number(proof.amount), 0);
}

try {
  const answer = asked.request ? { mints: decodePaymentRequest(asked.request).mints } : { amount: await redeem() };
  process.stdout.write(JSON.stringify(answer));
} catch (error) {
  process.stdout.write(JSON.stringify({ error: String(error.message ?? error) }));
}
