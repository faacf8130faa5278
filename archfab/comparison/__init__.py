"""Strategies against each other on benchmark tables: runs in memory, curves, statistics, a report."""
