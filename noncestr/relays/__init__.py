"""The relays of a pool: its own, the bridge to all of them, how they are."""
