"""Bias temperature instability: how far thresholds shift, and what that does to timing."""
