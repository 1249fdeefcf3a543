"""The event kinds of the pool protocol (SPEC.md, "Kinds")."""

TERMS = 4210
JOB = 4211
RECEIPT = 4212
BLOCK = 4213
STATEMENT = 4214
PAYOUT = 4215
STATUS = 4216
WITHDRAWAL = 4217
STATEMENT_PART = 4218
CLAIM = 4219
ARCHIVE = 4220
SUMMARY = 4221
ATTESTATION = 4222
ANNOUNCEMENT = 34210
BALANCE = 34214
STATISTICS = 34215
SETTINGS = 34216

# The log: what a verifier replays. Relays must never drop these for a deletion request (kind 5 or 62).
LEDGER_KINDS = frozenset({TERMS, JOB, RECEIPT, BLOCK, STATEMENT, PAYOUT, STATUS, STATEMENT_PART, ARCHIVE, SUMMARY})
# Conveniences that repeat what the log says, newest wins.
VIEW_KINDS = frozenset({ANNOUNCEMENT, BALANCE, STATISTICS})
# What miners sign.
MINER_KINDS = frozenset({WITHDRAWAL, CLAIM, ATTESTATION, SETTINGS})

NETWORKS = ("main", "testnet4", "signet", "regtest")
