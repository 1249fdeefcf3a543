"""Noncestr: the composition root of the pool (command line, configuration, wiring) and nothing else."""

__version__ = "0.1.0"
