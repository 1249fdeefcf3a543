"""The parts of a pool as processes of their own."""
