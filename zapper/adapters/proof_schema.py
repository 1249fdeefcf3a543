"""The tables of the treasury's file, and how their rows are read."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from nips.nut00 import Proof
from nips.nut03 import Output
from zapper.ecash import Kind, Operation, OpState
from zapper.ecash_ports import Handed

SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (name TEXT PRIMARY KEY, secret TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS operations (
    reference TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    mint TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('begun', 'done', 'void')),
    created_ms INTEGER NOT NULL,
    outputs TEXT NOT NULL,
    sent INTEGER NOT NULL,
    inputs TEXT NOT NULL,
    cancel TEXT NOT NULL,
    quote TEXT NOT NULL,
    amount INTEGER NOT NULL,
    fee INTEGER NOT NULL,
    preimage TEXT NOT NULL,
    reason TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS begun ON operations (mint, created_ms) WHERE state = 'begun';
CREATE TABLE IF NOT EXISTS proofs (
    y TEXT PRIMARY KEY,
    mint TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount > 0),
    proof TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('free', 'reserved', 'spent', 'lost')),
    operation TEXT REFERENCES operations (reference)
);
CREATE INDEX IF NOT EXISTS free ON proofs (mint) WHERE state = 'free';
CREATE INDEX IF NOT EXISTS reserved ON proofs (operation) WHERE state = 'reserved';
CREATE TABLE IF NOT EXISTS handed (
    reference TEXT PRIMARY KEY REFERENCES operations (reference),
    payout_id TEXT NOT NULL UNIQUE,
    miner TEXT NOT NULL,
    method TEXT NOT NULL,
    mint TEXT NOT NULL,
    locktime INTEGER NOT NULL,
    event TEXT NOT NULL,
    relays TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    delivered_ms INTEGER,
    settled_ms INTEGER
);
CREATE INDEX IF NOT EXISTS unsettled ON handed (mint, locktime) WHERE settled_ms IS NULL;
CREATE TABLE IF NOT EXISTS sent (
    y TEXT PRIMARY KEY,
    mint TEXT NOT NULL,
    reference TEXT NOT NULL REFERENCES operations (reference),
    amount INTEGER NOT NULL CHECK (amount > 0),
    proof TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('out', 'returning', 'claimed', 'returned')),
    operation TEXT REFERENCES operations (reference)
);
CREATE INDEX IF NOT EXISTS sent_by ON sent (reference);
CREATE TABLE IF NOT EXISTS abandoned (reference TEXT PRIMARY KEY, mint TEXT NOT NULL, reason TEXT NOT NULL);
"""
OPERATION = (
    "SELECT reference, kind, mint, state, created_ms, outputs, sent, inputs, cancel, quote, amount, fee, preimage,"
    " reason FROM operations"
)
HANDED = (
    "SELECT reference, payout_id, miner, method, mint, locktime, event, relays, created_ms, delivered_ms, settled_ms"
    " FROM handed"
)


def dump(values: Sequence[Output] | Sequence[Proof] | Proof) -> str:
    """As a column keeps them."""
    return msgspec.json.encode(values).decode()


def operation_of(row: Sequence[Any]) -> Operation:
    """From a row of OPERATION."""
    return Operation(
        reference=row[0],
        kind=Kind(row[1]),
        mint=row[2],
        state=OpState(row[3]),
        created_ms=row[4],
        outputs=msgspec.json.decode(row[5], type=tuple[Output, ...]),
        sent=row[6],
        inputs=msgspec.json.decode(row[7], type=tuple[Proof, ...]),
        cancel=msgspec.json.decode(row[8], type=tuple[Output, ...]),
        quote=row[9],
        amount=row[10],
        fee=row[11],
        preimage=row[12],
        reason=row[13],
    )


def handed_of(row: Sequence[Any]) -> Handed:
    """From a row of HANDED."""
    values = list(row)
    values[7] = tuple(json.loads(values[7]))
    return Handed(*values)
