"""The configuration: every key, its check, and how it is read."""
