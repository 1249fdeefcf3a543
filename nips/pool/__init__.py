"""The pool protocol: proof-bound share receipts over Nostr (SPEC.md), version 1.

What the edge, the accounting, the zapper, the web client and any stranger's verifier agree on. Events go in and out as
`nips.nip01` values; `parse_*` reads what others signed and raises InvalidPoolEvent, `build_*` makes what we sign.
"""
