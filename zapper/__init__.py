"""The zapper: payout planning, the payout state machine, Lightning and the proofs of payment."""
