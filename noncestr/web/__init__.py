"""The web's wiring: what the read API and the metrics are answered from."""
