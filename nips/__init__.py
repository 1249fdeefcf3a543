"""Nostr Implementation Possibilities, one module per NIP, and the pool protocol in `nips.pool`.

Everything under `nips` is pure: no sockets, no disks, no clock, no randomness of its own.
"""
