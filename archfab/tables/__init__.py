"""Benchmark tables: what every architecture of a space scored, read from files by a mapping."""

from archfab.tables.mapping import find_mappings
from archfab.tables.reader import read_table
from archfab.tables.table import Table

__all__ = ["Table", "find_mappings", "read_table"]
