"""The zapper's wiring: wallets, rails, policy, the operator's desk."""
