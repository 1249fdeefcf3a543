"""The pool as a citizen of Nostr: its profile, its notes, its status, its answers."""
