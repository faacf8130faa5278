"""What is kept of a run, and queries on it."""

from archfab.runs.log import Log, unfinished
from archfab.runs.run import Member, Run
from archfab.runs.store import Store

__all__ = ["Log", "Member", "Run", "Store", "unfinished"]
