"""What the pool promises: terms made, kept, followed."""
