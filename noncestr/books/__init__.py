"""The accounting's wiring: where books are kept, archives, rebuilding, treasury, settings."""
