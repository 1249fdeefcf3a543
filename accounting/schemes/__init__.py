"""Reward schemes: pure integer functions from work to millisatoshi."""
