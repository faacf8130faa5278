"""Figures of merit that two or more parts use."""
