"""Wafer maps: reading, drawing and fitting them, and whether their failures cluster."""
