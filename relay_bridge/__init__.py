"""Relays: the client dialogue, a durable outbox, a verifying inbox, and the embedded relay."""
