"""The commands of `noncestr`, one module a group, and what they print."""
