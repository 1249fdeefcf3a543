"""Accounting: windows, schemes, ledger and the verifier; folds of the signed event log."""
