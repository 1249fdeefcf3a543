"""LND, Core Lightning, LNbits and phoenixd as their documentation has them, over one scripted ledger.

LND: api.lightning.community, and the shapes of its errors as users found them (lightningnetwork/lnd#6751). Core
Lightning: its schemas of xpay, listpays and listpeerchannels, and clnrest's statuses. LNbits: 1.6.2's own OpenAPI page,
confirmed against that server (test_lnbits_server.py). phoenixd: phoenix.acinq.co/server/api.
"""

import base64
from collections.abc import Awaitable, Callable

from nips.bolt11 import decode_invoice
from tests.zapper.backends.scripted_http import Asked, Told
from tests.zapper.backends.scripted_ledger import Entry, ScriptedLedger

MACAROON, RUNE, KEY, PASSWORD = "0201036c6e64" + "ab" * 40, "rUnE" + "x" * 60 + "=", "c0ffee" * 5, "pa55word" * 8

Answer = Callable[[Asked], Awaitable[Told]]


def lnd(ledger: ScriptedLedger) -> Answer:
    def payment(key: str, entry: Entry) -> dict:
        status = {"pending": "IN_FLIGHT", "paid": "SUCCEEDED", "failed": "FAILED"}[entry.state]
        return {
            "result": {
                "payment_hash": key,
                "value_msat": str(entry.amount_msat),
                "payment_preimage": ledger.preimages[key] if entry.state == "paid" else "0" * 64,
                "fee_msat": str(entry.fee_msat if entry.state == "paid" else 0),
                "status": status,
                "failure_reason": "FAILURE_REASON_NO_ROUTE" if entry.state == "failed" else "FAILURE_REASON_NONE",
            }
        }

    def error(status: int, code: int, message: str) -> Told:
        return Told(status, {"error": {"code": code, "message": message, "details": []}})

    async def answer(asked: Asked) -> Told:
        if asked.headers.get("grpc-metadata-macaroon") != MACAROON:
            return Told(500, {"code": 2, "message": "verification failed: signature mismatch", "details": []})
        if asked.path == "/v1/balance/channels":
            return Told(200, {"balance": "1", "local_balance": {"sat": "1", "msat": str(ledger.balance_msat)}})
        if asked.path == "/v2/router/send":
            told = asked.json
            assert told["no_inflight_updates"] is True
            assert 0 < told["timeout_seconds"] < 60
            key = decode_invoice(told["payment_request"]).payment_hash
            match await ledger.pay(told["payment_request"], int(told["fee_limit_msat"])):
                case "exists":
                    return error(409, 6, "invoice is already paid")
                case "abandoned":
                    return error(500, 2, "router shutting down")
                case "poor":
                    result = payment(key, Entry(0, 0, 0, "failed"))
                    result["result"]["failure_reason"] = "FAILURE_REASON_INSUFFICIENT_BALANCE"
                    return Told(200, result)
                case "invalid":
                    return error(500, 2, "invoice not for current active network 'regtest'")
                case Entry() as entry:
                    return Told(200, payment(key, entry))
        if asked.path.startswith("/v2/router/track/"):
            key = base64.urlsafe_b64decode(asked.path.rpartition("/")[2]).hex()
            if key not in ledger.payments:
                return error(404, 5, "payment isn't initiated")
            return Told(200, payment(key, ledger.payments[key]), stays=True)
        return Told(404, {"code": 5, "message": "Not Found", "details": []})

    return answer


def cln(ledger: ScriptedLedger) -> Answer:
    def error(code: int, message: str) -> Told:
        return Told(500, {"code": code, "message": message, "data": None})

    async def answer(asked: Asked) -> Told:
        if asked.headers.get("rune") != RUNE:
            return Told(401, {"code": 1501, "message": "Not authorized: Not derived from master", "data": None})
        assert asked.method == "POST"
        if asked.path == "/v1/xpay":
            told = asked.json
            assert 0 < told["retry_for"] < 60
            match await ledger.pay(told["invstring"], told["maxfee"]):
                case "exists":
                    return error(219, "Already paid this invoice successfully")
                case "abandoned":
                    return error(209, "Timed out")
                case "poor":
                    return error(205, "We do not have sufficient funds to pay for the specified amount")
                case "invalid":
                    return error(203, "Unknown invoice")
                case Entry(state="failed", reason=reason):
                    return error(205, reason)
                case Entry() as entry:
                    key = decode_invoice(told["invstring"]).payment_hash
                    return Told(
                        201,
                        {
                            "payment_preimage": ledger.preimages[key],
                            "failed_parts": 0,
                            "successful_parts": 1,
                            "amount_msat": entry.amount_msat,
                            "amount_sent_msat": entry.amount_msat + entry.fee_msat,
                        },
                    )
        if asked.path == "/v1/listpays":
            key = asked.json["payment_hash"]
            entry = ledger.payments.get(key)
            if entry is None:
                return Told(201, {"pays": []})
            row: dict = {
                "payment_hash": key,
                "status": {"pending": "pending", "paid": "complete", "failed": "failed"}[entry.state],
                "created_at": entry.created_at,
                "created_index": 1,
                "amount_sent_msat": entry.amount_msat + entry.fee_msat,
            }
            if entry.state == "paid":
                row |= {"preimage": ledger.preimages[key], "amount_msat": entry.amount_msat}
            return Told(201, {"pays": [row]})
        if asked.path == "/v1/listpeerchannels":
            rows = [
                {"state": "CHANNELD_NORMAL", "spendable_msat": ledger.balance_msat},
                {"state": "ONCHAIN", "spendable_msat": 5},
            ]
            return Told(201, {"channels": rows})
        return Told(404, {"code": -32601, "message": "Unknown command", "data": None})

    return answer


def lnbits(ledger: ScriptedLedger) -> Answer:
    def payment(key: str, entry: Entry) -> dict:
        return {
            "checking_id": key,
            "payment_hash": key,
            "wallet_id": "w",
            "amount": -entry.amount_msat,
            "fee": -entry.fee_msat,
            "status": {"pending": "pending", "paid": "success", "failed": "failed"}[entry.state],
            "preimage": ledger.preimages[key] if entry.state == "paid" else None,
        }

    def error(message: str, status: str) -> Told:
        return Told(520, {"detail": message, "status": status})

    async def answer(asked: Asked) -> Told:
        known = asked.headers.get("x-api-key") == KEY
        if asked.path == "/api/v1/wallet":
            if not known:
                return Told(404, {"detail": "Wallet not found."})
            return Told(200, {"id": "w", "name": "pool", "balance": ledger.balance_msat})
        if asked.path == "/api/v1/payments/fee-reserve":
            return Told(200, {"fee_reserve": ledger.fee_msat})
        if asked.method == "POST" and asked.path == "/api/v1/payments":
            if not known:
                return Told(404, {"detail": "Wallet not found."})
            told = asked.json
            assert told["out"] is True
            match await ledger.pay(told["bolt11"]):
                case "exists":
                    return error("Payment already paid.", "success")
                case "abandoned":
                    return error("Payment failed: timeout", "failed")
                case "poor":
                    return error("Insufficient balance.", "failed")
                case "invalid":
                    return error("Payment failed: Only internal invoices can be used!", "failed")
                case Entry(state="failed", reason=reason):
                    return error(f"Payment failed: {reason}", "failed")
                case Entry() as entry:
                    return Told(201, payment(decode_invoice(told["bolt11"]).payment_hash, entry))
        if asked.path.startswith("/api/v1/payments/"):
            key = asked.path.rpartition("/")[2]
            entry = ledger.payments.get(key)
            if entry is None:
                return Told(404, {"detail": "Payment does not exist."})
            value: dict = {"paid": entry.state == "paid"}
            if entry.state == "failed":
                value["status"] = "failed"
            if entry.state == "paid":
                value["preimage"] = ledger.preimages[key]
            if known:
                value["details"] = payment(key, entry)
            return Told(200, value)
        return Told(404, {"detail": "Not Found"})

    return answer


def phoenixd(ledger: ScriptedLedger) -> Answer:
    good = "Basic " + base64.b64encode(f":{PASSWORD}".encode()).decode()

    async def answer(asked: Asked) -> Told:
        if asked.headers.get("authorization") != good:
            return Told(401, b"Invalid authentication (use basic auth with the http password set in phoenix.conf)")
        if asked.path == "/getbalance":
            return Told(200, {"balanceSat": ledger.balance_msat // 1000, "feeCreditSat": 0})
        if asked.method == "POST" and asked.path == "/payinvoice":
            text = asked.form["invoice"]
            key = decode_invoice(text).payment_hash
            match await ledger.pay(text):
                case "exists":
                    return Told(200, {"paymentHash": key, "reason": "this invoice has already been paid"})
                case "abandoned":
                    return Told(200, {"paymentHash": key, "reason": "payment is already in progress"})
                case "poor":
                    return Told(200, {"paymentHash": key, "reason": "not enough funds in wallet to afford payment"})
                case "invalid":
                    return Told(400, b"invoice: invalid format")
                case Entry(state="failed", reason=reason):
                    return Told(200, {"paymentHash": key, "reason": reason})
                case Entry() as entry:
                    return Told(
                        200,
                        {
                            "recipientAmountSat": entry.amount_msat // 1000,
                            "routingFeeSat": entry.fee_msat // 1000,
                            "paymentId": "1",
                            "paymentHash": key,
                            "paymentPreimage": ledger.preimages[key],
                        },
                    )
        if asked.path.startswith("/payments/outgoingbyhash/"):
            key = asked.path.rpartition("/")[2]
            entry = ledger.payments.get(key)
            if entry is None:
                return Told(404, b"Not found")
            value: dict = {
                "paymentHash": key,
                # As versions before 0.6 have it: true for all that has come to an end.
                "isPaid": entry.state != "pending",
                "sent": entry.amount_msat // 1000,
                "fees": entry.fee_msat,
                "createdAt": entry.created_at * 1000,
            }
            if entry.state != "pending":
                value["completedAt"] = entry.created_at * 1000
            if entry.state == "paid":
                value["preimage"] = ledger.preimages[key]
            return Told(200, value)
        return Told(404, b"Unknown endpoint (check api doc)")

    return answer
