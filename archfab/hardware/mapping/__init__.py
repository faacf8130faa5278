"""Spatial arrays: an architecture, a layer and a mapping are data; together they give energy, cycles and accesses."""
